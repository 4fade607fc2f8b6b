"""How differently a model treats groups at the threshold that it is used with.

Equal opportunity (Hardt, Price and Srebro, 2016): of those who have the outcome, the share flagged should not depend on
the group. Demographic parity: nor should the share flagged at all. Where groups truly differ in how often the outcome
occurs, no calibrated score satisfies both (Kleinberg, Mullainathan and Raghavan, 2017): the differences are for people
to look at, and bounded by configuration.

Every pair of groups is held against the bound, so that a small group, of which little is known, does not hide what two
large ones show. Intervals are Newcombe's for a difference of two proportions (1998, method 10), at a level corrected
for the number of pairs (Bonferroni).
"""

import itertools
import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.evaluation import GroupDifference, Interval
from e2i_pipeline.contracts.evaluation_rules import FairnessRules
from e2i_pipeline.domain.small_cells import untold

if TYPE_CHECKING:
    import numpy as np

EQUAL_OPPORTUNITY, DEMOGRAPHIC_PARITY = "equal_opportunity", "demographic_parity"


def differences(
    outcome: "np.ndarray",
    score: "np.ndarray",
    groups: "Mapping[str, np.ndarray]",
    threshold: float,
    rules: FairnessRules,
    minimum_rows: int,
    confidence: float,
) -> tuple[GroupDifference, ...]:
    """The difference between two groups, per protected column and measure.

    Of the pairs whose whole interval lies beyond the bound it is the one that does so most clearly; where there is
    none, the groups furthest apart.

    Args:
        outcome: Outcomes (rows,), 0 or 1.
        score: Predicted probabilities (rows,), 0..1.
        groups: Column to the group of each row (rows,), as text.
        threshold: Score at or above which a row is flagged.
        rules: The bounds.
        minimum_rows: Rows below which a group's rate is left out: of a group for demographic parity, of its rows with
            the outcome for equal opportunity.
        confidence: Of the intervals, 0..1.

    Returns:
        In order of the columns; a measure with fewer than two groups that are large enough is left out. All is judged
        by the true figures, and those that would tell of too few persons are then left out (`small_cells.untold`).
    """
    import numpy as np

    flagged = (score >= threshold).astype(float)
    everybody = np.ones(len(outcome), bool)
    measures = (
        (EQUAL_OPPORTUNITY, outcome == 1, rules.maximum_equal_opportunity_difference),
        (DEMOGRAPHIC_PARITY, everybody, rules.maximum_demographic_parity_difference),
    )
    found = [
        _difference(column, measure, values[among], flagged[among], bound, minimum_rows, confidence, uncounted)
        for column, values in groups.items()
        for measure, among, bound in measures
        for uncounted in [_untold(values, outcome, minimum_rows) if measure == EQUAL_OPPORTUNITY else set[str]()]
    ]
    return tuple(one for one in found if one is not None)


def newcombe(high: int, of_high: int, low: int, of_low: int, confidence: float) -> tuple[float, float]:
    """Interval of the difference of two independent proportions, from Wilson's interval of each.

    Args:
        high: Successes in the first sample.
        of_high: Its size, >= 1.
        low: Successes in the second.
        of_low: Its size, >= 1.
        confidence: 0..1.
    """
    first, second = high / of_high, low / of_low
    first_low, first_high = _wilson(first, of_high, confidence)
    second_low, second_high = _wilson(second, of_low, confidence)
    gap = first - second
    return (
        gap - math.hypot(first - first_low, second_high - second),
        gap + math.hypot(first_high - first, second - second_low),
    )


def _difference(
    column: str,
    measure: str,
    values: "np.ndarray",
    flagged: "np.ndarray",
    bound: float,
    minimum_rows: int,
    confidence: float,
    uncounted: set[str],
) -> GroupDifference | None:
    import numpy as np

    names, member, rows = np.unique(values, return_inverse=True, return_counts=True)
    hits = np.bincount(member, flagged, len(names))
    large = [i for i in range(len(names)) if rows[i] >= minimum_rows]
    if len(large) < 2:
        return None
    rates = {i: float(hits[i] / rows[i]) for i in large}
    level = 1 - (1 - confidence) / math.comb(len(large), 2)

    def interval(pair: tuple[int, int]) -> tuple[float, float]:
        high, low = pair
        return newcombe(int(hits[high]), int(rows[high]), int(hits[low]), int(rows[low]), level)

    ranked = sorted(large, key=lambda i: (rates[i], str(names[i])), reverse=True)
    surest = max(itertools.combinations(ranked, 2), key=lambda pair: interval(pair)[0])
    top, bottom = surest if interval(surest)[0] > bound else (ranked[0], ranked[-1])
    low, high = interval((top, bottom))
    hidden = uncounted | _untold(values, flagged, minimum_rows)
    told = Interval(estimate=rates[top] - rates[bottom], low=max(low, 0.0), high=min(high, 1.0))
    untellable = Interval(estimate=None, low=None, high=None)
    return GroupDifference(
        column=column,
        measure=measure,
        highest=str(names[top]),
        lowest=str(names[bottom]),
        rates={str(names[i]): None if str(names[i]) in hidden else rate for i, rate in rates.items()},
        rows={str(names[i]): None if str(names[i]) in uncounted else int(rows[i]) for i in large},
        difference=untellable if hidden & {str(names[top]), str(names[bottom])} else told,
        bound=bound,
        held=low <= bound,
    )


def _untold(values: "np.ndarray", marked: "np.ndarray", minimum_rows: int) -> set[str]:
    """The groups of at least so many rows of which it is not told how many are marked (rows,), 0 or 1."""
    import numpy as np

    names, member, rows = np.unique(values, return_inverse=True, return_counts=True)
    hits = np.bincount(member, marked, len(names))
    cells = np.column_stack([hits, rows - hits])
    large = sorted(np.flatnonzero(rows >= minimum_rows), key=lambda i: (-rows[i], str(names[i])))
    left_out = cells[rows < minimum_rows].sum(axis=0)
    hidden = untold([(cells[i][0], cells[i][1]) for i in large], (left_out[0], left_out[1]))
    return {str(names[large[place]]) for place in hidden}


def _wilson(share: float, rows: int, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = share + z * z / (2 * rows)
    width = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return (middle - width) / scale, (middle + width) / scale
