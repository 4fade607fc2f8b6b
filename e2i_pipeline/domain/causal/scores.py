"""The doubly robust score of each row: a noisy, unbiased measure of what the treatment changes for rows like it.

Averages of scores over rows are estimates of average effects, right if either the outcome's or the treatment's model
is. Nuisance values must come from models that did not see the row (cross-fitting).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SMALLEST_PROPENSITY = 0.01
"""A propensity counts as no less than this, nor as more than 1 minus it: no row weighs as more than a hundred. As in
EconML's DRTester."""


def binary_scores(
    outcome: "np.ndarray",
    treatment: "np.ndarray",
    untreated: "np.ndarray",
    treated: "np.ndarray",
    propensity: "np.ndarray",
) -> "np.ndarray":
    """Augmented inverse propensity weighting (Robins, Rotnitzky and Zhao, 1994): Y(1) - Y(0) per row.

    Args:
        outcome: (rows,).
        treatment: (rows,), 0 or 1.
        untreated: Expected outcome without treatment (rows,).
        treated: Expected outcome with it (rows,).
        propensity: Probability of treatment (rows,), 0..1; clipped, see `SMALLEST_PROPENSITY`.

    Returns:
        (rows,), on the outcome's scale.
    """
    return potential_scores(outcome, treatment, treated, propensity) - potential_scores(
        outcome, 1 - treatment, untreated, 1 - propensity
    )


def potential_scores(
    outcome: "np.ndarray", has_arm: "np.ndarray", expected: "np.ndarray", probability: "np.ndarray"
) -> "np.ndarray":
    """The same for one arm: the outcome that each row would have had in it.

    Args:
        outcome: (rows,).
        has_arm: Whether the row was in the arm (rows,), 0 or 1.
        expected: Expected outcome in the arm (rows,).
        probability: Probability of the arm (rows,), 0..1; clipped.
    """
    import numpy as np

    return expected + has_arm / np.clip(probability, SMALLEST_PROPENSITY, None) * (outcome - expected)


def continuous_scores(
    outcome_residual: "np.ndarray", treatment_residual: "np.ndarray", effect: "np.ndarray", variance: "np.ndarray"
) -> "np.ndarray":
    """The average partial effect of a continuous treatment per row (Hirshberg and Wager, 2021, as in grf).

    Where the effect of a point is the same at each level of the treatment: tau(X) + (T - E[T|X]) / Var(T|X) times what
    the effect leaves unexplained. Its mean is the average derivative then; a partially linear model weighs it by the
    treatment's variance.

    Args:
        outcome_residual: Y - E[Y|X], (rows,).
        treatment_residual: T - E[T|X], (rows,).
        effect: Expected effect of a further point, tau(X), (rows,).
        variance: Var(T|X), (rows,), > 0.

    Returns:
        (rows,), on the outcome's scale per point.

    Raises:
        ValueError: A variance is not above 0: there the treatment does not vary, and no effect can be learned.
    """
    flat = int((variance <= 0).sum())
    if flat:
        raise ValueError(f"the treatment does not vary given the covariates in {flat} of {len(variance)} rows")
    return effect + treatment_residual / variance * (outcome_residual - effect * treatment_residual)
