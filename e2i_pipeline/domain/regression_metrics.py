"""How good predictions of a number are: error, explained variance and calibration.

Classification's counterpart is `metrics`; which split is judged and what a failed criterion leads to is decided
elsewhere. Everything is independent of the order of rows.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike


def evaluate_regression(y: "ArrayLike", p: "ArrayLike") -> dict[str, float]:
    """All metrics of one set of predictions.

    Args:
        y: Outcomes (rows,), finite numbers in the target's unit.
        p: Predicted values (rows,), finite numbers in the same unit.

    Returns:
        `rows`, `mean` and `std` of the outcomes; `rmse` and `mae` in the target's unit; `r2`, at most 1;
        `calibration_slope` and `calibration_intercept` of the line that maps predictions to outcomes by least squares
        (1 and 0 where predictions are right on average at every level). NaN where a metric is not defined: `r2` where
        all outcomes are equal, slope and intercept where all predictions are.

    Raises:
        ValueError: The arrays are empty, of different lengths, or not finite.
    """
    outcome, predicted = _checked(y, p)
    slope, intercept = _line(outcome, predicted)
    return {
        "rows": float(len(outcome)),
        "mean": float(outcome.mean()),
        "std": float(outcome.std()),
        "rmse": rmse(outcome, predicted),
        "mae": mae(outcome, predicted),
        "r2": r2(outcome, predicted),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }


def rmse(y: "ArrayLike", p: "ArrayLike") -> float:
    """Root of the mean squared error, >= 0, in the target's unit.

    Args:
        y: Outcomes (rows,).
        p: Predicted values (rows,).

    Raises:
        ValueError: As for `evaluate_regression`.
    """
    import numpy as np

    outcome, predicted = _checked(y, p)
    return math.sqrt(float(np.mean((predicted - outcome) ** 2)))


def mae(y: "ArrayLike", p: "ArrayLike") -> float:
    """Mean absolute error, >= 0, in the target's unit.

    Args:
        y: Outcomes (rows,).
        p: Predicted values (rows,).

    Raises:
        ValueError: As for `evaluate_regression`.
    """
    import numpy as np

    outcome, predicted = _checked(y, p)
    return float(np.mean(np.abs(predicted - outcome)))


def r2(y: "ArrayLike", p: "ArrayLike") -> float:
    """Share of the outcomes' variance that the predictions explain: 1 - squared error over that of the mean.

    Args:
        y: Outcomes (rows,).
        p: Predicted values (rows,).

    Returns:
        At most 1, below 0 where the mean would predict better; NaN where all outcomes are equal.

    Raises:
        ValueError: As for `evaluate_regression`.
    """
    import numpy as np

    outcome, predicted = _checked(y, p)
    total = float(np.sum((outcome - outcome.mean()) ** 2))
    return 1 - float(np.sum((predicted - outcome) ** 2)) / total if total else math.nan


def _line(outcome: "np.ndarray", predicted: "np.ndarray") -> tuple[float, float]:
    """Slope and intercept of outcome on prediction by least squares."""
    centred = predicted - predicted.mean()
    spread = float(centred @ centred)
    if not spread:
        return math.nan, math.nan
    slope = float(centred @ (outcome - outcome.mean())) / spread
    return slope, float(outcome.mean() - slope * predicted.mean())


def _checked(y: "ArrayLike", p: "ArrayLike") -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np

    outcome, predicted = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if outcome.ndim != 1 or outcome.shape != predicted.shape or not len(outcome):
        raise ValueError(f"outcomes and predictions must be two arrays (rows,); got {outcome.shape}, {predicted.shape}")
    odd = int(np.sum(~np.isfinite(outcome) | ~np.isfinite(predicted)))
    if odd:
        raise ValueError(f"{odd} of {len(outcome)} rows have an outcome or a prediction that is no finite number")
    return outcome, predicted
