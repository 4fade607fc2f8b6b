"""Whether a probability means what it says: recalibration by logistic regression, and the error per bin.

Discrimination, costs and criteria belong in `metrics`.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

BINS = 10
"""Bins of equal mass; ten is the usual number (Niculescu-Mizil and Caruana, 2005)."""

_EDGE = 1e-7  # a float32 probability of exactly 0 or 1 has no log-odds
_ITERATIONS = 100


class Recalibration(NamedTuple):
    """The line that maps the model's log-odds to the observed ones.

    Attributes:
        slope: 1 where the spread is right, < 1 where predictions are too extreme (overfitting), > 1 too timid.
        intercept: 0 where the level is right, given the slope; < 0 where predictions are too high.
    """

    slope: float
    intercept: float


class Bins(NamedTuple):
    """Predicted against observed, per bin of about equal mass, by rising prediction.

    Attributes:
        predicted: Mean probability (bins,).
        observed: Share with the outcome (bins,).
        rows: Rows (bins,).
    """

    predicted: "np.ndarray"
    observed: "np.ndarray"
    rows: "np.ndarray"


def recalibrate(y: "np.ndarray", p: "np.ndarray") -> Recalibration:
    """Fits logit P(y = 1) = intercept + slope * logit(p) by maximum likelihood.

    Cox, D. R. (1958), Two further applications of a model for binary regression, Biometrika 45, 562-565. Newton's
    method on the two parameters.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Predicted probabilities (rows,), 0..1.

    Returns:
        Slope and intercept; both NaN where they are not determined: one class only, all predictions equal, or
        predictions that separate the classes.
    """
    import numpy as np

    z = np.clip(p, _EDGE, 1 - _EDGE).astype(np.float64)
    z = np.log(z) - np.log1p(-z)
    undetermined = Recalibration(math.nan, math.nan)
    if not 0 < y.sum() < len(y) or np.ptp(z) == 0:
        return undetermined
    negative, positive = z[y == 0], z[y == 1]
    if negative.max() <= positive.min() or positive.max() <= negative.min():
        return undetermined
    mean, scale = z.mean(), z.std()
    design = np.column_stack([np.ones_like(z), (z - mean) / scale])
    beta = _newton(design, y.astype(np.float64))
    if beta is None:
        return undetermined
    slope = float(beta[1] / scale)
    return Recalibration(slope, float(beta[0] - slope * mean))


def calibration_bins(y: "np.ndarray", p: "np.ndarray", bins: int = BINS) -> Bins:
    """Bins the predictions at their quantiles; equal predictions share a bin, so there may be fewer than asked for.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Predicted probabilities (rows,), 0..1.
        bins: Bins to make, >= 1.

    Returns:
        The bins that hold rows.
    """
    import numpy as np

    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    index = np.searchsorted(edges, p, side="left")
    rows = np.bincount(index, minlength=len(edges) + 1)
    is_filled = rows > 0
    predicted = np.bincount(index, p, minlength=len(rows))[is_filled] / rows[is_filled]
    observed = np.bincount(index, y, minlength=len(rows))[is_filled] / rows[is_filled]
    return Bins(predicted, observed, rows[is_filled])


def expected_calibration_error(y: "np.ndarray", p: "np.ndarray", bins: int = BINS) -> float:
    """The mean absolute difference of predicted and observed over bins of equal mass, weighted by rows, 0..1.

    Naeini, Cooper and Hauskrecht (2015); of equal mass, because scores of a rare outcome crowd into one or two bins of
    equal width. Biased upwards in small samples: for a perfect model whose bins hold m rows each, it is about
    sqrt(2 * p * (1 - p) / (pi * m)).

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Predicted probabilities (rows,), 0..1.
        bins: Bins to make, >= 1.
    """
    import numpy as np

    table = calibration_bins(y, p, bins)
    return float(np.average(np.abs(table.predicted - table.observed), weights=table.rows))


def _newton(design: "np.ndarray", y: "np.ndarray") -> "np.ndarray | None":
    """Maximum-likelihood coefficients of a logistic regression; None where Newton's method does not converge."""
    import numpy as np

    def loss(beta: "np.ndarray") -> float:
        eta = design @ beta
        return float(np.logaddexp(0, eta).sum() - y @ eta)

    beta = np.zeros(design.shape[1])
    for _ in range(_ITERATIONS):
        fitted = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (y - fitted)
        hessian = (design * (fitted * (1 - fitted))[:, None]).T @ design
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            return None
        while loss(beta + step) > loss(beta) and np.abs(step).max() > 1e-12:
            step /= 2
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            return beta
    return None
