"""Parts of the test split that are judged on their own: who is in which, and whether each reaches its floor.

A floor is a distance from the overall score. A slice fails it only when its whole interval lies beyond it, at a level
corrected for the number of slices looked at (Bonferroni): with 20 slices, one in 20 would else fail by chance.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.evaluation import Interval, SliceFloor
from e2i_pipeline.contracts.evaluation_rules import SliceRules
from e2i_pipeline.domain.bootstrap import mean_interval
from e2i_pipeline.domain.delong import auc_interval

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

AGE, AGE_GROUP = "age_at_diagnosis", "age_group"
MISSING = "missing"


def columns_for(wanted: Sequence[str], present: Sequence[str]) -> list[str]:
    """The columns to read for these slices, of those that are present; an age group needs the age where it has none."""
    asked = [AGE if name == AGE_GROUP and AGE_GROUP not in present else name for name in wanted]
    return [name for name in dict.fromkeys(asked) if name in present]


def groups(frame: "pd.DataFrame", wanted: Sequence[str], rules: SliceRules) -> "dict[str, np.ndarray]":
    """The slice (rows,) of each row as text, per column that the frame has; a null is a slice of its own.

    Args:
        frame: Rows with at least the columns of `columns_for`.
        wanted: Columns that define slices.
        rules: Where age groups begin.
    """
    found: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(wanted):
        if name in frame.columns:
            column = frame[name]
            found[name] = column.map(str, na_action="ignore").where(column.notna(), MISSING).to_numpy(dtype=object)
        elif name == AGE_GROUP and AGE in frame.columns:
            found[name] = _age_groups(frame[AGE], rules.age_bounds)
    return {name: values.astype(str) for name, values in found.items()}


def absent(wanted: Sequence[str], found: "Mapping[str, np.ndarray]") -> tuple[str, ...]:
    """Per wanted column that the rows do not have, a sentence: nobody is to take a part that was not judged for passed.

    Args:
        wanted: Columns that define slices or groups.
        found: What `groups` gave.
    """
    missing = [name for name in dict.fromkeys(wanted) if name not in found]
    return tuple(f"The modelling rows have no {name}, so nothing was judged by it." for name in missing)


def auc_floors(
    outcome: "np.ndarray",
    score: "np.ndarray",
    of: "Mapping[str, np.ndarray]",
    rules: SliceRules,
    floor: float,
    confidence: float,
    clusters: "np.ndarray | None" = None,
) -> tuple[SliceFloor, ...]:
    """The AUC of each slice against its floor.

    Args:
        outcome: Outcomes (rows,), 0 or 1.
        score: Predicted probabilities (rows,), 0..1.
        of: Column to the slice of each row (rows,).
        rules: Rows that a slice must have, and of each class.
        floor: The lowest AUC that is allowed.
        confidence: Of all intervals together, 0..1.
        clusters: Which patient each row is of (rows,); None takes the rows as independent.

    Returns:
        Largest slice first within a column; slices that are too small are left out.
    """
    chosen = [
        (column, value, is_in)
        for column, value, is_in in _members(of, rules.minimum_rows)
        if min(outcome[is_in].sum(), (1 - outcome[is_in]).sum()) >= rules.minimum_per_class
    ]
    level = 1 - (1 - confidence) / max(len(chosen), 1)
    found: list[SliceFloor] = []
    for column, value, is_in in chosen:
        mine = clusters[is_in] if clusters is not None else None
        interval = auc_interval(outcome[is_in], score[is_in], level, mine)
        is_met = interval.high is None or interval.high >= floor
        found.append(_floor(column, value, int(is_in.sum()), interval, floor, is_met))
    return tuple(found)


def rmse_floors(
    outcome: "np.ndarray",
    predicted: "np.ndarray",
    of: "Mapping[str, np.ndarray]",
    rules: SliceRules,
    ceiling: float,
    confidence: float,
    resamples: int,
    seed: int,
    clusters: "np.ndarray | None" = None,
) -> tuple[SliceFloor, ...]:
    """The root mean squared error of each slice against the highest that is allowed; else as `auc_floors`."""
    chosen = list(_members(of, rules.minimum_rows))
    level = 1 - (1 - confidence) / max(len(chosen), 1)
    squared = (predicted - outcome) ** 2
    found: list[SliceFloor] = []
    for column, value, is_in in chosen:
        mine = clusters[is_in] if clusters is not None else None
        mean = mean_interval(squared[is_in], seed=seed, clusters=mine, resamples=resamples, confidence=level)
        interval = Interval(estimate=_root(mean.estimate), low=_root(mean.low), high=_root(mean.high))
        is_met = interval.low is None or interval.low <= ceiling
        found.append(_floor(column, value, int(is_in.sum()), interval, ceiling, is_met))
    return tuple(found)


def _members(of: "Mapping[str, np.ndarray]", minimum_rows: int) -> "list[tuple[str, str, np.ndarray]]":
    import numpy as np

    found: list[tuple[str, str, np.ndarray]] = []
    for column, values in of.items():
        names, rows = np.unique(values, return_counts=True)
        largest_first = sorted(range(len(names)), key=lambda i: (-rows[i], str(names[i])))
        large = [at for at in largest_first if rows[at] >= minimum_rows]
        found += [(column, str(names[at]), values == names[at]) for at in large]
    return found


def _floor(column: str, value: str, rows: int, score: Interval, floor: float, is_met: bool) -> SliceFloor:
    return SliceFloor(column=column, value=value, rows=rows, score=score, floor=floor, is_met=is_met)


def _age_groups(age: "pd.Series", bounds: Sequence[int]) -> "np.ndarray":
    import numpy as np

    years: np.ndarray = age.to_numpy(dtype=np.float64, na_value=np.nan)
    if not bounds:
        return np.where(np.isnan(years), MISSING, "all").astype(object)
    between = (f"{a} to {b - 1}" for a, b in itertools.pairwise(bounds))
    names = [f"under {bounds[0]}", *between, f"{bounds[-1]} and over", MISSING]
    index = np.where(np.isnan(years), len(names) - 1, np.searchsorted(bounds, years, side="right"))
    return np.array(names, dtype=object)[index.astype(int)]


def _root(value: float | None) -> float | None:
    return None if value is None else max(value, 0.0) ** 0.5
