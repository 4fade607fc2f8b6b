"""An effect that is a line in its modifiers, as plain numbers: it is served without EconML and without a pickle."""

from typing import TYPE_CHECKING

from pydantic import Field

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.domain.causal.estimates import Z_95

if TYPE_CHECKING:
    import numpy as np


class LinearEffect(Contract):
    """The effect of a treatment, or of a further point of it, as a line in the modifiers.

    Attributes:
        names: Modifier columns, in order; empty where the effect is one number.
        coefficients: Intercept, then one per column, on the outcome's scale.
        covariance: Of the coefficients, as rows.
        low: Smallest value of each column in the rows that it was fitted on.
        high: Largest.
    """

    names: tuple[str, ...]
    coefficients: tuple[float, ...] = Field(min_length=1)
    covariance: tuple[tuple[float, ...], ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def effect(self, modifiers: "np.ndarray") -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
        """Effects with their intervals of 95 %.

        Args:
            modifiers: (rows, columns) in the order of `names`.

        Returns:
            Effect, lower and upper end, each (rows,).
        """
        import numpy as np

        design = np.column_stack([np.ones(len(modifiers)), modifiers])
        value = design @ np.array(self.coefficients)
        error = np.sqrt(np.einsum("ij,jk,ik->i", design, np.array(self.covariance), design))
        return value, value - Z_95 * error, value + Z_95 * error

    def is_supported(self, modifiers: "np.ndarray") -> "np.ndarray":
        """Whether each row (rows,) lies within what the effect was fitted on; outside it is an extrapolation."""
        import numpy as np

        if not self.names:
            return np.ones(len(modifiers), dtype=bool)
        return np.all((modifiers >= np.array(self.low)) & (modifiers <= np.array(self.high)), axis=1)
