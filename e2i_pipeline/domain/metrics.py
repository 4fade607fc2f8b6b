"""How good predictions are: discrimination, loss, what a team with limited capacity gains, slices and curves.

Calibration belongs in `calibration`, success criteria in `criteria`; which split is judged is decided elsewhere.
Everything is independent of the order of rows, ties included.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.domain.calibration import calibration_bins, expected_calibration_error, recalibrate
from e2i_pipeline.domain.small_cells import MINIMUM_CELL, untold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

CURVE_POINTS = 200
"""Points of a curve for plotting, at most."""

COUNTED = ("positives", "base_rate", "precision_at_k", "lift_at_k", "recall_at_k", "fpr")
"""Metrics of a slice from which its outcomes can be counted."""

_EPSILON = 1e-15  # as scikit-learn once clipped: a certain and wrong prediction costs 34.5, not infinity


class Slices(NamedTuple):
    """Metrics per value of a column.

    Attributes:
        metrics: Value to metrics, the largest slice first.
        suppressed: Values left out because they have fewer rows than the minimum cell.
        suppressed_rows: Rows of these, if at least the minimum cell in all; else None.
    """

    metrics: dict[str, dict[str, float]]
    suppressed: int
    suppressed_rows: int | None


def evaluate(y: "ArrayLike", p: "ArrayLike", capacity: float, threshold: float | None = None) -> dict[str, float]:
    """All metrics of one set of predictions.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Predicted probabilities (rows,), 0..1.
        capacity: Share of the rows that a team can act on, 0 < capacity < 1.
        threshold: Score at or above which a row is flagged; None takes `threshold_for(p, capacity)`.

    Returns:
        `rows`, `positives`, `base_rate`; `auc`, `pr_auc` (average precision), `brier`, `log_loss` (nats);
        `precision_at_k`, `lift_at_k` (precision over base rate) and `recall_at_k` among the top `capacity` share;
        `threshold`, and at it `fpr`, `flagged` (share of rows); `calibration_slope`, `calibration_intercept`, `ece`.
        NaN where a metric is not defined: with one class only `auc`, the slope and intercept, with no positive
        `pr_auc`, `lift_at_k`, `recall_at_k`, with no negative `fpr`.

    Raises:
        ValueError: The arrays are empty, of different lengths, not 0 or 1, or not probabilities.
    """
    import numpy as np

    outcome, score = checked(y, p)
    hits, flagged = cumulated(outcome, score)  # one sorting for all that depends on the order of scores
    base_rate, positives = float(outcome.mean()), float(outcome.sum())
    cut = threshold_for(score, capacity) if threshold is None else threshold
    k, line = top(len(score), capacity), recalibrate(outcome, score)
    at_first = float(hits[0]) * k / float(flagged[0])
    precision = float(np.interp(k, flagged, hits, left=at_first)) / k
    above = score >= cut
    return {
        "rows": float(len(outcome)),
        "positives": positives,
        "base_rate": base_rate,
        "auc": _area(hits, flagged),
        "pr_auc": _average_precision(hits, flagged),
        "brier": float(np.mean((score - outcome) ** 2)),
        "log_loss": _log_loss(outcome, score),
        "precision_at_k": precision,
        "lift_at_k": precision / base_rate if base_rate else math.nan,
        "recall_at_k": precision * k / positives if base_rate else math.nan,
        "threshold": float(cut),
        "fpr": _share(above.sum() - outcome[above].sum(), len(outcome) - positives),
        "flagged": float(above.mean()),
        "calibration_slope": line.slope,
        "calibration_intercept": line.intercept,
        "ece": expected_calibration_error(outcome, score),
    }


def auc(y: "ArrayLike", p: "ArrayLike") -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, a tie counting half.

    The trapezoids under the ROC curve, one per distinct score (Hanley and McNeil, 1982).

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Scores (rows,), 0..1.

    Returns:
        0..1; NaN with one class only.
    """
    return _area(*cumulated(*checked(y, p)))


def average_precision(y: "ArrayLike", p: "ArrayLike") -> float:
    """Area under the precision-recall curve as average precision: precision summed over the steps of recall.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Scores (rows,), 0..1.

    Returns:
        Base rate..1 in expectation; NaN with no positive.
    """
    return _average_precision(*cumulated(*checked(y, p)))


def log_loss(y: "ArrayLike", p: "ArrayLike") -> float:
    """Mean negative log-likelihood in nats, >= 0; probabilities are clipped to 1e-15.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Predicted probabilities (rows,), 0..1.
    """
    return _log_loss(*checked(y, p))


def threshold_for(p: "ArrayLike", capacity: float) -> float:
    """The score at or above which the top `capacity` share lies.

    Args:
        p: Scores (rows,), 0..1.
        capacity: Share of the rows, 0 < capacity < 1.

    Returns:
        The k-th largest score, k = rows * capacity rounded down, at least 1. Ties at it flag more than k rows.
    """
    import numpy as np

    score = np.asarray(p, dtype=np.float64)
    k = top(len(score), capacity)
    return float(np.partition(score, len(score) - k)[len(score) - k])


def evaluate_slices(
    y: "ArrayLike",
    p: "ArrayLike",
    values: "ArrayLike",
    capacity: float,
    threshold: float,
    minimum_cell: int = MINIMUM_CELL,
) -> Slices:
    """Metrics per value of a column; small slices are suppressed.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Predicted probabilities (rows,), 0..1.
        values: The column (rows,); null is a slice of its own, named `missing`.
        capacity: Share of the rows that a team can act on, 0 < capacity < 1.
        threshold: Score at or above which a row is flagged, the same for every slice.
        minimum_cell: Rows that a slice must have.

    Returns:
        Metrics as of `evaluate`, per value as text; those of `COUNTED` are NaN where they would tell of fewer outcomes,
        or rows without one, than `MINIMUM_CELL` (`small_cells.untold`).

    Raises:
        ValueError: As for `evaluate`.
    """
    import numpy as np
    import pandas as pd

    outcome, score = checked(y, p)
    column = pd.Series(np.asarray(values, dtype=object))
    names = column.map(str, na_action="ignore").where(column.notna(), "missing")
    if len(names) != len(outcome):
        raise ValueError(f"{len(names)} slice values for {len(outcome)} rows")
    sizes = sorted(((str(name), int(rows)) for name, rows in names.value_counts().items()), key=lambda s: (-s[1], s[0]))
    metrics: dict[str, dict[str, float]] = {}
    for name, rows in sizes:
        if rows >= minimum_cell:
            is_in = (names == name).to_numpy()
            metrics[name] = evaluate(outcome[is_in], score[is_in], capacity, threshold)
    _mask(metrics, float(len(outcome)), float(outcome.sum()))
    small = [rows for _, rows in sizes if rows < minimum_cell]
    return Slices(metrics, len(small), sum(small) if not small or sum(small) >= minimum_cell else None)


def _mask(metrics: dict[str, dict[str, float]], rows: float, positives: float) -> None:
    """Takes out of slices, in place, what counts too few outcomes; the sums over all slices are known."""
    names = list(metrics)
    cells = [(metrics[name]["positives"], metrics[name]["rows"] - metrics[name]["positives"]) for name in names]
    shown = [sum(cell[side] for cell in cells) for side in (0, 1)]
    for place in untold(cells, (positives - shown[0], rows - positives - shown[1])):
        metrics[names[place]].update(dict.fromkeys(COUNTED, math.nan))


def curves(y: "ArrayLike", p: "ArrayLike", points: int = CURVE_POINTS) -> dict[str, dict[str, list[float]]]:
    """Curves for plotting, each as equally long lists of at most `points` numbers.

    Args:
        y: Outcomes (rows,), 0 or 1; both classes must be there.
        p: Predicted probabilities (rows,), 0..1.
        points: Points of a curve, >= 2.

    Returns:
        `roc` (`fpr`, `tpr`), `pr` (`recall`, `precision`), `lift` (`flagged`, `lift`) and `calibration` (`predicted`,
        `observed`, `rows`). Scores themselves are left out: of few rows they would point at persons.

    Raises:
        ValueError: As for `evaluate`, or one class is missing.
    """
    import numpy as np

    outcome, score = checked(y, p)
    hits, flagged = cumulated(outcome, score)
    positives, rows = hits[-1], len(outcome)
    if not 0 < positives < rows:
        raise ValueError(f"curves need both classes; got {int(positives)} positives in {rows} rows")
    keep = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), points - 1)).round().astype(int))
    hits, flagged = hits[keep], flagged[keep]
    bins = calibration_bins(outcome, score)
    from_origin = {
        "fpr": (flagged - hits) / (rows - positives),
        "tpr": hits / positives,
    }
    return {
        "roc": {name: [0.0, *values.tolist()] for name, values in from_origin.items()},
        "pr": {"recall": (hits / positives).tolist(), "precision": (hits / flagged).tolist()},
        "lift": {"flagged": (flagged / rows).tolist(), "lift": (hits / flagged * rows / positives).tolist()},
        "calibration": {
            "predicted": bins.predicted.tolist(),
            "observed": bins.observed.tolist(),
            "rows": bins.rows.astype(float).tolist(),
        },
    }


def checked(y: "ArrayLike", p: "ArrayLike") -> "tuple[np.ndarray, np.ndarray]":
    """Outcomes and scores as float64 (rows,) each.

    Raises:
        ValueError: As for `evaluate`.
    """
    import numpy as np

    outcome, score = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if outcome.ndim != 1 or outcome.shape != score.shape or not len(outcome):
        raise ValueError(f"outcomes and scores must be two arrays (rows,); got {outcome.shape} and {score.shape}")
    odd = int(np.sum((outcome != 0) & (outcome != 1)))
    if odd:
        raise ValueError(f"{odd} of {len(outcome)} outcomes are neither 0 nor 1")
    odd = int(np.sum(~((score >= 0) & (score <= 1))))
    if odd:
        raise ValueError(f"{odd} of {len(score)} scores are no probabilities (0..1)")
    return outcome, score


def cumulated(outcome: "np.ndarray", score: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Positives and rows at or above each distinct score, by falling score, (distinct scores,) each."""
    import numpy as np

    order = np.argsort(score)[::-1]  # within a tie the order does not matter: only its end is read
    ranked = score[order]
    last_of_tie = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(score) - 1)
    return np.cumsum(outcome[order])[last_of_tie], last_of_tie + 1.0


def top(rows: int, capacity: float) -> int:
    """How many rows the top `capacity` share is: rounded down, at least 1.

    Raises:
        ValueError: `capacity` does not lie between 0 and 1.
    """
    if not 0 < capacity < 1:
        raise ValueError(f"capacity must lie between 0 and 1; got {capacity}")
    return max(1, int(rows * capacity + 1e-9))


def _area(hits: "np.ndarray", flagged: "np.ndarray") -> float:
    import numpy as np

    false, positives = flagged - hits, float(hits[-1])
    negatives = float(false[-1])
    if not positives or not negatives:
        return math.nan
    area = np.sum(np.diff(false, prepend=0.0) * (hits + np.append(0.0, hits[:-1]))) / 2
    return float(area / (positives * negatives))


def _average_precision(hits: "np.ndarray", flagged: "np.ndarray") -> float:
    import numpy as np

    if not hits[-1]:
        return math.nan
    return float(np.sum(np.diff(hits, prepend=0.0) * hits / flagged) / hits[-1])


def _log_loss(outcome: "np.ndarray", score: "np.ndarray") -> float:
    import numpy as np

    clipped = np.clip(score, _EPSILON, 1 - _EPSILON)
    return float(-np.mean(np.log(np.where(outcome == 1, clipped, 1 - clipped))))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan
