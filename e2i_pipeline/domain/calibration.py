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
_DRAWS = 2000
_SMALL_STEP = 1e-3  # of a standardized variable
_CONVERGED = 1e-10


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

    z = log_odds(p)
    undetermined = Recalibration(math.nan, math.nan)
    if not 0 < y.sum() < len(y) or np.ptp(z) == 0:
        return undetermined
    negative, positive = z[y == 0], z[y == 1]
    if negative.max() <= positive.min() or positive.max() <= negative.min():
        return undetermined
    mean, scale = float(z.mean()), float(z.std())
    found = _newton((z - mean) / scale, y.astype(np.float64))
    if found is None:
        return undetermined
    slope = found[1] / scale
    return Recalibration(slope, found[0] - slope * mean)


def log_odds(p: "np.ndarray") -> "np.ndarray":
    """Log-odds (rows,) of probabilities, which are kept 1e-7 away from 0 and 1."""
    import numpy as np

    kept = np.clip(p, _EDGE, 1 - _EDGE).astype(np.float64)
    return np.log(kept) - np.log1p(-kept)


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


def highest_error(p: "np.ndarray", off: float, seed: int, share: float = 0.95, bins: int = BINS) -> float:
    """The expected calibration error that a model shows at most, so often, whose every bin is `off` by so much.

    What is found above it is more than chance adds to a true error of `off`. Drawn 2,000 times from the normal
    approximation of each bin's observed share.

    Args:
        p: Predicted probabilities (rows,), 0..1.
        off: Difference of predicted and true share in each bin, 0..1.
        seed: Seed of the draws, >= 0.
        share: How often, 0..1.
        bins: Bins, as for `expected_calibration_error`.
    """
    import numpy as np

    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    index = np.searchsorted(edges, p, side="left")
    rows = np.bincount(index, minlength=len(edges) + 1)
    true = np.where(p < 0.5, np.minimum(p + off, 0.5), np.maximum(p - off, 0.5))  # off to where chance adds most
    spread = np.sqrt(np.bincount(index, true * (1 - true), len(rows)))  # of the number with the outcome in each bin
    noise = np.random.default_rng(seed).normal(size=(_DRAWS, len(rows))) * spread
    errors = np.abs(off * rows + noise).sum(axis=1) / len(p)
    return float(np.quantile(errors, share))


def _newton(x: "np.ndarray", y: "np.ndarray") -> "tuple[float, float] | None":
    """Maximum-likelihood intercept and slope of a logistic regression on one standardized variable.

    None where Newton's method does not converge. The likelihood is looked at only where a step is large: near the
    maximum a full step never lowers it.
    """
    import numpy as np

    def terms(at: "np.ndarray") -> "tuple[np.ndarray, float]":
        """Fitted probabilities, and the negative log-likelihood, of one exponential per row."""
        eta = at[0] + at[1] * x
        e = np.exp(-np.abs(eta))
        loss = float(np.maximum(eta, 0).sum() + np.log1p(e).sum() - y @ eta)
        return np.where(eta >= 0, 1.0, e) / (1 + e), loss

    beta = np.zeros(2)
    fitted, loss = terms(beta)
    for _ in range(_ITERATIONS):
        miss, weight = y - fitted, fitted * (1 - fitted)
        weighted = weight * x
        cross = weighted.sum()
        hessian = np.array([[weight.sum(), cross], [cross, weighted @ x]])
        try:
            step = np.linalg.solve(hessian, np.array([miss.sum(), miss @ x]))
        except np.linalg.LinAlgError:
            return None
        trial, trial_loss = terms(beta + step)
        while trial_loss > loss and np.abs(step).max() > _SMALL_STEP:
            step /= 2
            trial, trial_loss = terms(beta + step)
        beta, fitted, loss = beta + step, trial, trial_loss
        if np.abs(step).max() < _CONVERGED:
            return float(beta[0]), float(beta[1])
    return None
