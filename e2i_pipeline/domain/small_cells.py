"""Which groups' counts are not told: few persons behind a count could be recognized by it.

US health-data releases suppress cells of 1 to 10 (CMS cell size suppression policy), and with a lone suppressed cell
another one: whoever knows the total would else find it by subtraction.
"""

from collections.abc import Sequence

MINIMUM_CELL = 11
"""Rows below which nothing is told of a group: the cell size that US health-data releases suppress (CMS: 1 to 10)."""


def untold(cells: Sequence[tuple[float, float]], left_out: tuple[float, float] = (0, 0)) -> set[int]:
    """The groups of one column whose counts are not to be told.

    Args:
        cells: Per group: rows that have a property and rows that have it not.
        left_out: The same of all groups that are not among these, in sum.

    Returns:
        Places in `cells`: every group with fewer than the minimum on either side, and then the smallest others until
        what is not told holds the minimum on both sides in sum.
    """
    hidden = {place for place, cell in enumerate(cells) if min(cell) < MINIMUM_CELL}
    for place in sorted(range(len(cells)), key=lambda at: min(cells[at])):
        sides = [sum(cells[at][side] for at in hidden) + left_out[side] for side in (0, 1)]
        if not any(sides) or min(sides) >= MINIMUM_CELL:
            break
        hidden.add(place)
    return hidden
