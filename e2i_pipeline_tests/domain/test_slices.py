"""Slices: who is in which, and when a floor is missed."""

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.evaluation_rules import SliceRules
from e2i_pipeline.domain import slices

RULES = SliceRules()


def test_age_groups_are_made_of_the_age_and_nulls_are_a_slice_of_their_own() -> None:
    frame = pd.DataFrame({"age_at_diagnosis": [39.9, 40, 54, 75, np.nan], "gender": ["f", None, "m", "m", "f"]})
    found = slices.groups(frame, ("age_group", "gender", "specialty"), RULES)
    assert found["age_group"].tolist() == ["under 40", "40 to 54", "40 to 54", "75 and over", "missing"]
    assert found["gender"].tolist() == ["f", "missing", "m", "m", "f"]
    assert set(found) == {"age_group", "gender"}
    given = pd.DataFrame({"age_group": ["old"], "age_at_diagnosis": [30.0]})
    assert slices.groups(given, ("age_group",), RULES)["age_group"].tolist() == ["old"]
    assert slices.columns_for(("age_group", "gender"), ["age_at_diagnosis"]) == ["age_at_diagnosis"]


def test_a_floor_is_missed_only_beyond_the_interval_and_small_slices_have_none() -> None:
    rng = np.random.default_rng(1)
    n = 2000
    outcome = (rng.random(n) < 0.3).astype(float)
    good = np.clip(0.4 * outcome + 0.6 * rng.random(n), 0, 1)
    of = {"g": np.where(np.arange(n) < 12, "tiny", np.where(np.arange(n) < 1000, "bad", "good"))}
    score = np.where(of["g"] == "bad", rng.random(n), good)
    met = {one.value: one.is_met for one in slices.auc_floors(outcome, score, of, RULES, 0.65, 0.95)}
    assert met == {"bad": False, "good": True}
    assert all(one.is_met for one in slices.auc_floors(outcome, score, of, RULES, 0.5, 0.95))


def test_a_regression_has_a_ceiling_for_its_error() -> None:
    rng = np.random.default_rng(2)
    outcome = rng.normal(size=1000)
    predicted = outcome + rng.normal(size=1000) * np.repeat([1.0, 3.0], 500)
    of = {"g": np.repeat(["calm", "wild"], 500)}
    found = slices.rmse_floors(outcome, predicted, of, RULES, 2.0, 0.95, 300, 1)
    assert {one.value: one.is_met for one in found} == {"calm": True, "wild": False}
