"""Sentences say direction and share, name no small group, and claim no effect."""

import re

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.attribution import Attribution, attribute
from e2i_pipeline.domain.narratives import BY_CATEGORY, CAVEAT, HIGHER, LOWER, MIXED, key_drivers, narrative
from e2i_pipeline_tests.serving.small_model import FEATURES, journeys, small_model

CAUSAL = re.compile(r"\b(cause[sd]?|because|leads? to|drives?|due to|effect of|improves?|prevents?)\b", re.IGNORECASE)


def of_one_feature(values: list[object], effects: list[float], kind: str = "numeric") -> str:
    """The direction that is told for one feature."""
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object if kind == "categorical" else float)})
    found = Attribution(np.array(effects, dtype=float)[:, None], 0.0, ("x",), "made up")
    (driver,) = key_drivers(found, frame, (FeatureSpec(name="x", kind=kind, view="v"),))
    return driver.direction


RISING = [float(i) for i in range(40)]


@pytest.mark.parametrize(
    ("effects", "direction"),
    [
        ([v / 10 - 2 for v in RISING], HIGHER),
        ([2 - v / 10 for v in RISING], LOWER),
        ([abs(v - 20) for v in RISING], MIXED),
        ([1.0] * 40, MIXED),
    ],
)
def test_direction_follows_the_rank_of_value_and_attribution(effects: list[float], direction: str) -> None:
    assert of_one_feature(RISING, effects) == direction


def test_too_few_values_have_no_direction() -> None:
    assert of_one_feature([1.0, 2.0, *[float("nan")] * 30], [1.0, 2.0, *[0.0] * 30]) == MIXED


def test_a_category_of_few_rows_is_never_named() -> None:
    regions = ["south"] * 20 + ["west"] * 20 + ["village of one"] * 10
    frame = pd.DataFrame({"region": pd.Series(regions, dtype=object)})
    effects = np.array([1.0] * 20 + [-1.0] * 20 + [9.0] * 10)[:, None]
    spec = (FeatureSpec(name="region", kind="categorical", view="v"),)
    (driver,) = key_drivers(Attribution(effects, 0.0, ("region",), "made up"), frame, spec)
    assert (driver.direction, driver.highest, driver.lowest) == (BY_CATEGORY, "south", "west")
    assert "village" not in " ".join(narrative([driver]))


def test_one_large_category_alone_is_not_compared() -> None:
    assert of_one_feature(["south"] * 20 + ["west"] * 3, [1.0] * 23, "categorical") == BY_CATEGORY


def test_sentences_name_share_direction_and_meaning_and_claim_no_effect() -> None:
    frame, _ = journeys(seed=9)
    drivers = key_drivers(attribute(small_model(), frame), frame, FEATURES)
    told = narrative(drivers, {f.name: f.description for f in FEATURES})
    assert told[0].startswith("disease_severity (0 to 10) carries ")
    assert "higher values go with higher scores" in told[0]
    assert "highest for south" in told[1]
    assert told[-1] == CAVEAT
    assert not any(CAUSAL.search(sentence) for sentence in told)


def test_a_boolean_is_told_as_yes() -> None:
    values, effects = [0.0, 1.0] * 20, [-1.0, 1.0] * 20
    frame = pd.DataFrame({"x": values})
    found = Attribution(np.array(effects)[:, None], 0.0, ("x",), "made up")
    told = narrative(key_drivers(found, frame, (FeatureSpec(name="x", kind="boolean", view="v"),)))
    assert "a yes goes with higher scores" in told[0]


def test_a_constant_model_is_said_to_be_one() -> None:
    frame = pd.DataFrame({"x": RISING})
    found = Attribution(np.zeros((40, 1)), 0.3, ("x",), "none")
    told = narrative(key_drivers(found, frame, (FeatureSpec(name="x", kind="numeric", view="v"),)))
    assert told == ["No feature moves the scores: the model gives every row the same one."]
