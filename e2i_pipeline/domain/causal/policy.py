"""What a rule of whom to treat brings, net of what treating costs, against other rules on the same rows."""

from typing import TYPE_CHECKING

from e2i_pipeline.domain.causal.estimates import Estimate, average

if TYPE_CHECKING:
    import numpy as np


def policy_gain(
    scores: "np.ndarray",
    chosen: "np.ndarray",
    cost: float,
    instead_of: "np.ndarray | None" = None,
    groups: "np.ndarray | None" = None,
) -> Estimate:
    """The value of a rule per row beyond that of another, by doubly robust scores (Athey and Wager, 2021).

    Args:
        scores: Doubly robust scores of the treatment's effect (rows,).
        chosen: How much the rule treats each row (rows,), 0..1.
        cost: Cost of a treatment, on the outcome's scale.
        instead_of: The same of the rule that it is compared with; None: nobody is treated.
        groups: (rows,), whole numbers from 0, what is independent of each other; None: each row.

    Returns:
        Mean net gain per row of the population, on the outcome's scale.
    """
    more = chosen if instead_of is None else chosen - instead_of
    return average(more * (scores - cost), groups)


def uplift_at_capacity(
    scores: "np.ndarray", predicted: "np.ndarray", capacity: float, groups: "np.ndarray | None" = None
) -> Estimate:
    """The average effect among those whom a team of limited capacity would treat: the highest predicted effects.

    Args:
        scores: Doubly robust scores (rows,).
        predicted: Predicted effects (rows,).
        capacity: Share of the rows that can be treated, 0 < capacity <= 1.
        groups: As for `policy_gain`.

    Raises:
        ValueError: The capacity is out of its range.
    """
    is_in = highest(predicted, capacity)
    return average(scores[is_in], None if groups is None else groups[is_in])


def highest(predicted: "np.ndarray", capacity: float) -> "np.ndarray":
    """Which rows (rows,) have the highest predicted effects; ties at the cut are all in.

    Args:
        predicted: Predicted effects (rows,).
        capacity: Share of the rows, 0 < capacity <= 1.

    Raises:
        ValueError: The capacity is out of its range.
    """
    import numpy as np

    if not 0 < capacity <= 1:
        raise ValueError(f"capacity must lie above 0 and at most at 1; got {capacity}")
    first = max(1, int(len(predicted) * capacity + 1e-9))
    return predicted >= np.partition(predicted, len(predicted) - first)[len(predicted) - first]
