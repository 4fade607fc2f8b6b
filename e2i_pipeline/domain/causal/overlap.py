"""Whether like can be compared with like: who has a real chance of either treatment, and how balanced they are.

Without overlap an effect is an extrapolation of a model. Trimming changes whom the effect is about, so what is left is
described beside what was there.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

BALANCED = 0.1
"""Standardized mean differences, and correlations with a continuous treatment, up to this are called balance (Austin,
2009; Zhu, Coffman and Ghosh, 2015)."""


class Balance(NamedTuple):
    """How a covariate differs with the treatment.

    Attributes:
        covariate: Its name.
        before: Standardized mean difference, or correlation with a continuous treatment, unweighted; signed.
        after: The same, weighted.
    """

    covariate: str
    before: float
    after: float


def crump_bounds(propensity: "np.ndarray") -> tuple[float, float]:
    """The bounds of the propensity within which the average effect is estimated most precisely.

    Crump, Hotz, Imbens and Mitnik (2009), Dealing with limited overlap: the smallest a such that, among rows with
    propensity from a to 1 - a, 1 / (a (1 - a)) is at most twice the mean of 1 / (e (1 - e)).

    Args:
        propensity: (rows,), 0..1.

    Returns:
        Lower and upper bound; 0 and 1 where nobody has to go.
    """
    import numpy as np

    inverse = 1 / np.clip(propensity * (1 - propensity), 1e-12, None)
    ordered = np.sort(inverse)
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    if ordered[-1] <= 2 * means[-1]:
        return 0.0, 1.0
    kept = int(np.flatnonzero(ordered <= 2 * means)[-1])
    bound = 0.5 - float(np.sqrt(max(0.0, 0.25 - 1 / (2 * means[kept]))))
    return bound, 1 - bound


def binary_weights(treatment: "np.ndarray", propensity: "np.ndarray") -> "np.ndarray":
    """Inverse propensity weights (rows,) for the average effect, each arm's with mean 1 (Hajek).

    Args:
        treatment: (rows,), 0 or 1; both arms are there.
        propensity: Probability of treatment (rows,), strictly between 0 and 1.
    """
    import numpy as np

    weight = np.where(treatment == 1, 1 / propensity, 1 / (1 - propensity))
    for arm in (0, 1):
        weight[treatment == arm] /= weight[treatment == arm].mean()
    return weight


def continuous_weights(treatment: "np.ndarray", expected: "np.ndarray", variance: "np.ndarray") -> "np.ndarray":
    """Stabilized weights (rows,) f(T) / f(T|X), both densities normal (Robins, Hernan and Brumback, 2000).

    Args:
        treatment: (rows,).
        expected: E[T|X], (rows,).
        variance: Var(T|X), (rows,), > 0.
    """
    import numpy as np

    def log_density(mean: "np.ndarray | float", spread: "np.ndarray | float") -> "np.ndarray":
        return -0.5 * ((treatment - mean) ** 2 / spread + np.log(spread))

    marginal = log_density(float(treatment.mean()), float(treatment.var()))
    return np.exp(marginal - log_density(expected, variance))


def effective_sample_size(weight: "np.ndarray") -> float:
    """How many equally weighted rows would give as precise a mean (Kish, 1965): (sum w)^2 / sum w^2."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def binary_balance(
    covariates: "np.ndarray", names: Sequence[str], treatment: "np.ndarray", weight: "np.ndarray"
) -> tuple[Balance, ...]:
    """Standardized mean differences, the worst after weighting first.

    The scale is the same before and after: the root of the mean of both arms' unweighted variances (Austin and Stuart,
    2015), so that weighting cannot look good by widening the spread.

    Args:
        covariates: (rows, columns).
        names: One per column.
        treatment: (rows,), 0 or 1; both arms are there.
        weight: (rows,).
    """
    import numpy as np

    treated, untreated = covariates[treatment == 1], covariates[treatment == 0]
    spread = np.sqrt((treated.var(0) + untreated.var(0)) / 2)
    before = treated.mean(0) - untreated.mean(0)
    after = np.average(treated, axis=0, weights=weight[treatment == 1]) - np.average(
        untreated, axis=0, weights=weight[treatment == 0]
    )
    return _worst_first(names, _over(before, spread), _over(after, spread))


def continuous_balance(
    covariates: "np.ndarray", names: Sequence[str], treatment: "np.ndarray", weight: "np.ndarray"
) -> tuple[Balance, ...]:
    """Correlations of the covariates with a continuous treatment, the worst after weighting first.

    Args:
        covariates: (rows, columns).
        names: One per column.
        treatment: (rows,).
        weight: (rows,).
    """
    import numpy as np

    def correlations(w: "np.ndarray") -> "np.ndarray":
        x = covariates - np.average(covariates, axis=0, weights=w)
        t = treatment - np.average(treatment, weights=w)
        together = np.average(x * t[:, None], axis=0, weights=w)
        return _over(together, np.sqrt(np.average(x**2, axis=0, weights=w) * np.average(t**2, weights=w)))

    return _worst_first(names, correlations(np.ones(len(treatment))), correlations(weight))


def _over(difference: "np.ndarray", spread: "np.ndarray") -> "np.ndarray":
    """The quotient; 0 where a covariate does not vary."""
    import numpy as np

    return np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)


def _worst_first(names: Sequence[str], before: "np.ndarray", after: "np.ndarray") -> tuple[Balance, ...]:
    found = (Balance(name, float(b), float(a)) for name, b, a in zip(names, before, after, strict=True))
    return tuple(sorted(found, key=lambda balance: (-abs(balance.after), balance.covariate)))
