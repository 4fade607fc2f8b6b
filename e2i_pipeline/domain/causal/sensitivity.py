"""How strong an unobserved common cause would have to be to explain an effect away.

Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis (2022), Long Story Short: Omitted Variable Bias in Causal Machine
Learning; for a partially linear model it is the measure of Cinelli and Hazlett (2020). A common cause that explains the
share r of what is left of the outcome, and the share r of what is left of the treatment, moves the estimate by at most
S * r / sqrt(1 - r), where S^2 is the outcome's residual variance over the treatment's.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.domain.causal.estimates import Z_95

if TYPE_CHECKING:
    import numpy as np


class Robustness(NamedTuple):
    """How much hidden confounding an effect withstands.

    Attributes:
        of_estimate: The share r (0..1) at which the estimate could be 0.
        of_interval: The share at which the interval of 95 % could reach 0; 0 where it does so by itself.
    """

    of_estimate: float
    of_interval: float


def robustness(outcome_residual: "np.ndarray", treatment_residual: "np.ndarray") -> Robustness:
    """The robustness values of the partially linear effect.

    Args:
        outcome_residual: Y - E[Y|X], (rows,), from models that did not see the row.
        treatment_residual: T - E[T|X], (rows,), likewise; it varies.

    Returns:
        Both values. The interval's width is that of the bound itself, since the bound's scale is estimated too.
    """
    import numpy as np

    strength = float(np.mean(treatment_residual**2))
    effect = float(np.mean(outcome_residual * treatment_residual)) / strength
    left = outcome_residual - effect * treatment_residual
    noise = float(np.mean(left**2))
    # Influence functions of the effect, of the outcome's residual variance, and of 1 over the treatment's.
    influence = np.column_stack(
        [left * treatment_residual / strength, left**2 - noise, (1 - treatment_residual**2 / strength) / strength]
    )
    covariance = influence.T @ influence / len(left) ** 2
    scale = math.sqrt(noise / strength)

    def bound_nearest_zero(share: float) -> float:
        bias = _bias(share)
        # d(scale)/d(noise) and d(scale)/d(1 / strength), times the bias.
        slope = np.array([1.0, 0.0, 0.0]) - math.copysign(bias / 2, effect) * np.array(
            [0.0, scale / noise, scale * strength]
        )
        return abs(effect) - bias * scale - Z_95 * math.sqrt(float(slope @ covariance @ slope))

    of_estimate = _share_of((abs(effect) / scale) ** 2)
    return Robustness(of_estimate, _root(bound_nearest_zero))


def strength_of(full: float, without: float) -> float:
    """How much of what is left a covariate explains: (R^2 with it - R^2 without it) / (1 - R^2 without it), 0..1.

    What the strongest observed covariate explains is what a robustness value is held against: a hidden cause as strong
    as that one is one that somebody can imagine.

    Args:
        full: Share of the variance explained with all covariates, out of sample.
        without: The same without the one asked about.
    """
    return max(0.0, (full - without) / (1 - without)) if without < 1 else 0.0


def _bias(share: float) -> float:
    return share / math.sqrt(1 - share) if share < 1 else math.inf


def _share_of(squared: float) -> float:
    """The share r with r / sqrt(1 - r) = sqrt(squared)."""
    return (math.sqrt(squared**2 + 4 * squared) - squared) / 2


def _root(bound: Callable[[float], float]) -> float:
    """The share at which a falling bound reaches 0, to 1e-9."""
    low, high = 0.0, 1.0 - 1e-12
    if bound(low) <= 0:
        return 0.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if bound(middle) > 0 else (low, middle)
    return low
