"""Where a fitted model is operated: probabilities recalibrated where that helps, then the threshold for the capacity.

Both are set on the validation split, in this order: a threshold on other probabilities would flag another share.
"""

from typing import TYPE_CHECKING

from e2i_pipeline.contracts.evaluation import Recalibrated
from e2i_pipeline.contracts.evaluation_rules import RecalibrationRules
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain.metrics import threshold_for
from e2i_pipeline.domain.recalibration import choose

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike

    from e2i_pipeline.domain.algorithms import ScoringModel


def set_operating_point(
    model: "ScoringModel",
    frame: "pd.DataFrame",
    outcome: "np.ndarray",
    scope: ExperimentScope,
    rules: RecalibrationRules,
    seed: int,
    patients: "ArrayLike | None" = None,
) -> "tuple[ScoringModel, Recalibrated]":
    """Recalibrates and sets the threshold; a regression has neither.

    Args:
        model: The fitted model.
        frame: Raw features of the validation split.
        outcome: Its outcomes (rows,).
        scope: The capacity.
        rules: When to recalibrate.
        seed: Seed of the folds.
        patients: Patient of each row (rows,), whose rows are in one fold; by default each row is one.

    Returns:
        The model as it is operated, and what was decided about recalibration.
    """
    if scope.problem_type == "regression":
        return model, Recalibrated(rows=len(outcome), reason="A regression gives no probabilities to recalibrate.")
    scores = model.scores(frame)
    recalibrator, found = choose(outcome, scores, rules, seed, patients)
    operated = model.with_recalibration(recalibrator)
    return operated.with_threshold(threshold_for(operated.recalibrated(scores), scope.capacity)), found
