"""Candidate against champion on the same rows: how much better, and whether that is more than chance.

For a classification the AUC, by DeLong's paired test; for a regression the explained variance, by a paired test on
squared errors (Diebold and Mariano, 1995, on rows in place of times). What follows from it is decided in `promotion`.
"""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.evaluation import Comparison, Interval
from e2i_pipeline.domain.delong import compare_aucs
from e2i_pipeline.domain.regression_metrics import r2

if TYPE_CHECKING:
    import numpy as np


def compare(
    problem_type: str,
    champion: str,
    outcome: "np.ndarray",
    candidate_scores: "np.ndarray",
    champion_scores: "np.ndarray",
    confidence: float,
    clusters: "np.ndarray | None" = None,
) -> Comparison | None:
    """Compares two models.

    Args:
        problem_type: `classification` or `regression`.
        champion: The champion's version number.
        outcome: Outcomes (rows,).
        candidate_scores: The candidate's predictions (rows,).
        champion_scores: The champion's on the same rows.
        confidence: Of the interval of the gain, 0..1.
        clusters: Which patient each row is of (rows,); None takes the rows as independent.

    Returns:
        None where nothing can be compared: one class only, or outcomes that are all equal.

    Raises:
        ValueError: As for `metrics.evaluate` or `regression_metrics.evaluate_regression`.
    """
    if problem_type == "regression":
        return _by_errors(champion, outcome, candidate_scores, champion_scores, confidence, clusters)
    found = compare_aucs(outcome, candidate_scores, champion_scores, confidence, clusters)
    if found is None:
        return None
    return Comparison(
        champion=champion,
        metric="auc",
        candidate_value=found.first,
        champion_value=found.second,
        gain=found.gain,
        p_value=found.p_value,
        test="DeLong's paired test",
        rows=len(outcome),
    )


def _by_errors(
    champion: str,
    outcome: "np.ndarray",
    ours: "np.ndarray",
    theirs: "np.ndarray",
    confidence: float,
    clusters: "np.ndarray | None",
) -> Comparison | None:
    import numpy as np

    variance = float(np.var(outcome))
    if not variance:
        return None
    saved = ((theirs - outcome) ** 2 - (ours - outcome) ** 2) / variance  # its mean is the gain in R2
    gain, rows = float(saved.mean()), len(outcome)
    member = np.arange(rows) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sums = np.bincount(member, saved - gain)
    error = math.sqrt(float(sums @ sums) * len(sums) / max(len(sums) - 1, 1)) / rows
    p_value = 2 * NormalDist().cdf(-abs(gain) / error) if error else float(gain == 0)
    width = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return Comparison(
        champion=champion,
        metric="r2",
        candidate_value=r2(outcome, ours),
        champion_value=r2(outcome, theirs),
        gain=Interval(estimate=gain, low=gain - width, high=gain + width),
        p_value=p_value,
        test="a paired test on squared errors",
        rows=rows,
    )
