"""How a model behaves, whatever its figures: by what it must not look at, and in which direction it must go.

Behavioural tests in the sense of Ribeiro et al. (2020): the same rows in another order or under other identifiers must
get the same predictions; a feature with a declared direction is moved, all else held, and the prediction must not go
the other way. Needs no outcomes.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.evaluation_rules import BehaviourRules, Direction

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST_ROWS = 2000
"""Rows that are tried at most: evenly spread over those given."""

IDENTIFIERS = ("patient_journey_id", "patient_id", "hcp_id", "brand")
"""Columns that a model must not look at."""

TOLERANCE = 1e-9
"""Change of a prediction that counts as none: the last bits of a float."""


class Behaviour(NamedTuple):
    """What one behavioural test found.

    Attributes:
        name: `row_order`, `identifiers` or `monotone`.
        is_passed: Whether the model behaves.
        share: Share of the rows tried that did not, 0..1.
        sentence: What was found, with figures.
    """

    name: str
    is_passed: bool
    share: float
    sentence: str


def behave(
    predict: "Callable[[pd.DataFrame], np.ndarray]", frame: "pd.DataFrame", rules: BehaviourRules, seed: int
) -> tuple[Behaviour, ...]:
    """Runs all behavioural tests.

    Args:
        predict: Raw features to predictions (rows,).
        frame: Raw features, at least one row: numbers with NaN, categories as text or None.
        rules: Declared directions, and what is tolerated.
        seed: Seed of the shuffling, >= 0.

    Returns:
        Row order, identifiers, and one per declared direction. A direction of a feature that the model does not have,
        or that is no number, fails: nobody can say that it holds.
    """
    import numpy as np

    tried = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, min(len(frame), MOST_ROWS)).astype(int))]
    before = predict(tried)
    return (
        _row_order(predict, tried, before, seed),
        _identifiers(predict, tried, before),
        *(_monotone(predict, tried, before, name, way, rules) for name, way in rules.monotone.items()),
    )


def _row_order(
    predict: "Callable[[pd.DataFrame], np.ndarray]", frame: "pd.DataFrame", before: "np.ndarray", seed: int
) -> Behaviour:
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(frame))
    after = np.empty(len(frame))
    after[order] = predict(frame.iloc[order])
    return _unchanged("row_order", "in another order", before, after)


def _identifiers(
    predict: "Callable[[pd.DataFrame], np.ndarray]", frame: "pd.DataFrame", before: "np.ndarray"
) -> Behaviour:
    others = frame.assign(**{name: [f"other-{i}" for i in range(len(frame))] for name in _absent(frame)})
    return _unchanged("identifiers", "under other identifiers", before, predict(others.reset_index(drop=True)))


def _absent(frame: "pd.DataFrame") -> Sequence[str]:
    return [name for name in IDENTIFIERS if name not in frame.columns]


def _unchanged(name: str, how: str, before: "np.ndarray", after: "np.ndarray") -> Behaviour:
    import numpy as np

    changed = int(np.sum(np.abs(after - before) > TOLERANCE))
    share, rows = changed / len(before), len(before)
    said = f"{changed} of {rows} rows got another prediction {how}." if changed else f"The same for {rows} rows {how}."
    return Behaviour(name, not changed, share, said)


def _monotone(
    predict: "Callable[[pd.DataFrame], np.ndarray]",
    frame: "pd.DataFrame",
    before: "np.ndarray",
    feature: str,
    direction: Direction,
    rules: BehaviourRules,
) -> Behaviour:
    """Moves the feature up by a step, within the range that the rows span; rows at its upper end are not moved."""
    import numpy as np
    import pandas as pd

    if feature not in frame.columns or not pd.api.types.is_numeric_dtype(frame[feature]):
        return Behaviour("monotone", False, 1.0, f"{feature} is no number that the model has; declared {direction}.")
    values = frame[feature].to_numpy(np.float64)
    if not np.isfinite(values).any():
        return Behaviour("monotone", True, 0.0, f"{feature} has no value to move; declared {direction}.")
    moved = np.minimum(values + rules.step * np.nanstd(values), np.nanmax(values))
    is_moved = moved > values  # False for a null
    rows = int(is_moved.sum())
    if not rows:
        return Behaviour("monotone", True, 0.0, f"{feature} is the same everywhere; declared {direction}.")
    change = predict(frame.assign(**{feature: moved})) - before
    wrong = change < -TOLERANCE if direction == "increasing" else change > TOLERANCE
    share = float(np.mean(wrong[is_moved]))
    said = (
        f"{feature}, declared {direction}: {share:.1%} of {rows} moved rows went the other way; at most "
        f"{rules.tolerated_share:.1%} may."
    )
    return Behaviour("monotone", share <= rules.tolerated_share, share, said)
