"""What an attribution says, in a few honest sentences: which features carry the scores, how much, in which direction.

A sentence describes the model's behaviour on a sample. None of them says that a feature causes an outcome: that
question belongs to the causal branch. No sentence carries a row's value, and a category is named only where at least
`MINIMUM_CELL` rows have it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.attribution import Attribution, importance
from e2i_pipeline.domain.metrics import MINIMUM_CELL

if TYPE_CHECKING:
    import pandas as pd

HIGHER = "higher"
LOWER = "lower"
MIXED = "mixed"
BY_CATEGORY = "by category"

CLEAR_RANK_CORRELATION = 0.5
"""Absolute rank correlation between value and attribution from which a numeric feature has one direction. Our own
rule of thumb; a monotone tree response gives 0.8 or more, a U-shaped one about 0."""

CAVEAT = (
    "These sentences describe how the model scores, on the rows that were explained. They are associations in the "
    "training data, not effects: changing a feature need not change the outcome."
)


class Driver(NamedTuple):
    """One feature's part in the scores.

    Attributes:
        feature: Feature name.
        share: Share of the mean absolute attribution, 0..1.
        direction: `higher` (higher values go with higher scores; for a boolean, yes does), `lower`, `mixed`, or
            `by category`.
        kind: Kind of the feature, as in `FeatureSpec`.
        highest: Category with the highest mean attribution; empty for a number.
        lowest: Category with the lowest mean attribution; empty for a number.
    """

    feature: str
    share: float
    direction: str
    kind: str = "numeric"
    highest: str = ""
    lowest: str = ""


def key_drivers(
    attribution: Attribution, frame: "pd.DataFrame", features: Sequence[FeatureSpec], top: int = 5
) -> list[Driver]:
    """The features with the largest shares, largest first, each with its direction.

    Args:
        attribution: Values of the rows of `frame`.
        frame: Raw features of the same rows, in the same order.
        features: The model's features.
        top: How many at most; a feature that moves no score is left out.
    """
    kinds = {feature.name: feature.kind for feature in features}
    position = {name: index for index, name in enumerate(attribution.feature_names)}
    drivers: list[Driver] = []
    for name, share in list(importance(attribution).items())[:top]:
        if share <= 0:
            continue
        values = attribution.values[:, position[name]]
        column = frame[name].reset_index(drop=True)
        effect = column.to_frame("value").assign(effect=values)
        drivers.append(_driver(name, share, kinds.get(name, "numeric"), effect))
    return drivers


def narrative(drivers: Sequence[Driver], descriptions: Mapping[str, str] | None = None) -> list[str]:
    """Says the drivers in words, one sentence each, and ends with what they do not say.

    Args:
        drivers: As `key_drivers` gives them.
        descriptions: What each feature means, where it has a description.
    """
    if not drivers:
        return ["No feature moves the scores: the model gives every row the same one."]
    meant = descriptions or {}
    return [*(_sentence(driver, meant.get(driver.feature, "")) for driver in drivers), CAVEAT]


def _driver(name: str, share: float, kind: str, effect: "pd.DataFrame") -> Driver:
    if kind == "categorical":
        return _categorical(name, share, effect)
    return Driver(name, share, _direction(effect), kind)


def _direction(effect: "pd.DataFrame") -> str:
    """Compares ranks over the rows that have a value; a constant has no direction."""
    known = effect.dropna()
    ranks = known.astype(float).rank()
    if len(known) < MINIMUM_CELL or (ranks.nunique() < 2).any():
        return MIXED
    correlation = float(ranks.corr().to_numpy()[0, 1])
    if abs(correlation) < CLEAR_RANK_CORRELATION:
        return MIXED
    return HIGHER if correlation > 0 else LOWER


def _categorical(name: str, share: float, effect: "pd.DataFrame") -> Driver:
    groups = effect.groupby("value")["effect"].agg(["mean", "size"])
    shown = groups[groups["size"] >= MINIMUM_CELL]["mean"].sort_values()
    if len(shown) < 2:
        return Driver(name, share, BY_CATEGORY, "categorical")
    return Driver(name, share, BY_CATEGORY, "categorical", highest=str(shown.index[-1]), lowest=str(shown.index[0]))


def _sentence(driver: Driver, description: str) -> str:
    meaning = f" ({description.rstrip('.')})" if description else ""
    head = f"{driver.feature}{meaning} carries {driver.share:.0%} of the model's movement"
    if driver.direction in (HIGHER, LOWER):
        subject = "a yes goes" if driver.kind == "boolean" else "higher values go"
        return f"{head}: {subject} with {driver.direction} scores."
    if driver.highest:
        return f"{head}: its contribution is highest for {driver.highest} and lowest for {driver.lowest}."
    if driver.direction == BY_CATEGORY:
        return f"{head}: its categories are too few or too small to compare."
    return f"{head}, in no single direction: it depends on the value or on other features."
