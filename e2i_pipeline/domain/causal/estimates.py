"""An average with its uncertainty, where rows of one patient or physician are not independent."""

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution: two-sided intervals of 95 %."""


class Estimate(NamedTuple):
    """An estimate with its interval of 95 %, by the normal approximation.

    Attributes:
        value: The estimate.
        standard_error: >= 0; NaN where fewer than two groups are there.
        rows: Rows behind it.
        groups: Independent groups behind it.
    """

    value: float
    standard_error: float
    rows: int
    groups: int

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - Z_95 * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + Z_95 * self.standard_error

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of 0."""
        return self.low > 0 or self.high < 0


def average(values: "np.ndarray", groups: "np.ndarray | None" = None) -> Estimate:
    """The mean, with a standard error that holds where rows of one group depend on each other.

    The cluster-robust variance of a mean (Liang and Zeger, 1986), with the usual factor g / (g - 1) for g groups.

    Args:
        values: (rows,).
        groups: (rows,), whole numbers from 0, the group of each row; None takes each row for its own.

    Raises:
        ValueError: There are no rows, or groups of another length.
    """
    import numpy as np

    if not len(values):
        raise ValueError("there are no rows to average")
    mean = float(np.mean(values))
    return Estimate(mean, error_of(values - mean, groups), len(values), group_count(len(values), groups))


def partially_linear(
    outcome_residual: "np.ndarray", treatment_residual: "np.ndarray", groups: "np.ndarray | None" = None
) -> Estimate:
    """The effect of a further point of treatment, one for all: E[Cov(T, Y | X)] / E[Var(T | X)] (Robinson, 1988).

    Args:
        outcome_residual: Y - E[Y|X], (rows,), by models that did not see the row.
        treatment_residual: T - E[T|X], (rows,), likewise.
        groups: As for `average`.

    Raises:
        ValueError: There are no rows, or the treatment does not vary.
    """
    import numpy as np

    if not len(treatment_residual) or not np.any(treatment_residual):
        raise ValueError("the treatment does not vary given the covariates")
    strength = float(np.mean(treatment_residual**2))
    effect = float(np.mean(outcome_residual * treatment_residual)) / strength
    influence = treatment_residual * (outcome_residual - effect * treatment_residual) / strength
    rows = len(treatment_residual)
    return Estimate(effect, error_of(influence, groups), rows, group_count(rows, groups))


def error_of(influence: "np.ndarray", groups: "np.ndarray | None" = None) -> float:
    """The standard error of an estimate whose influence function, of mean 0, is given per row.

    Args:
        influence: (rows,): by how much each row moves the estimate, times the number of rows.
        groups: As for `average`.

    Returns:
        >= 0; NaN with fewer than two groups.

    Raises:
        ValueError: Groups are of another length.
    """
    import numpy as np

    rows = len(influence)
    if groups is not None and len(groups) != rows:
        raise ValueError(f"{len(groups)} groups for {rows} rows")
    sums = influence if groups is None else np.bincount(groups, influence)
    count = group_count(rows, groups)
    if count < 2:
        return math.nan
    return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / rows)


def group_count(rows: int, groups: "np.ndarray | None") -> int:
    """How many groups are there."""
    import numpy as np

    return rows if groups is None else len(np.unique(groups))
