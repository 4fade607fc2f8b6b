"""Refutation: what must break does, what must hold does."""

from collections.abc import Mapping
from math import comb

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.causal import CausalFinding, TargetTrialProtocol
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.causal.design import effect_data
from e2i_pipeline.domain.causal.estimators import average_effect
from e2i_pipeline.domain.causal.refutation import Attack, most_by_chance, refute, strongest_confounder
from e2i_pipeline_tests.domain.causal.journeys import (
    FEATURES,
    SPEC,
    drawn,
    protocol,
    randomized,
    randomized_protocol,
)

ATTACK = Attack(draws=6, subset=0.8)
HIDDEN = FeatureSpec(name="hidden", kind="numeric", view="patient_features")


def refuted(
    frame: pd.DataFrame, trial: TargetTrialProtocol, controls: Mapping[str, str] | None = None
) -> dict[str, CausalFinding]:
    """All findings by name; `controls` are columns of the frame."""
    data = effect_data(frame, trial)
    average = average_effect(data, trial, SPEC)
    given = {name: data.frame[column].to_numpy(dtype=float) for name, column in (controls or {}).items()}
    return {f.name: f for f in refute(data, average, trial, SPEC, ATTACK, given)}


def test_a_real_effect_withstands_all_attacks() -> None:
    found = refuted(drawn("simple_linear", 6_000), protocol(), {"control": "negative_control_outcome"})
    assert {name for name, f in found.items() if not f.holds} == set()
    assert set(found) == {
        "placebo_treatment",
        "dummy_outcome",
        "random_common_cause",
        "data_subset",
        "negative_control_control",
        "sensitivity",
    }


def test_a_hidden_cause_is_found_by_its_negative_control_and_cleared_when_it_is_given() -> None:
    frame = drawn("selection_bias", 8_000)
    controls = {"control": "negative_control_outcome"}
    assert not refuted(frame, protocol(), controls)["negative_control_control"].holds
    known = protocol(confounders=(*FEATURES, HIDDEN))
    assert refuted(frame, known, controls)["negative_control_control"].holds


def test_a_weak_effect_beside_a_strong_confounder_warns() -> None:
    found = refuted(drawn("null_effect", 4_000), protocol())["sensitivity"]
    assert not found.holds
    assert not found.blocks
    assert "disease_severity, the strongest observed confounder" in found.observed


def test_the_toss_of_a_coin_has_no_hidden_cause() -> None:
    found = refuted(randomized(3_000), randomized_protocol())
    assert found["sensitivity"].holds
    assert "assigned by chance" in found["sensitivity"].rule
    assert found["placebo_treatment"].holds


@pytest.mark.parametrize("draws", [4, 10, 50, 100])
def test_more_hits_than_allowed_happen_once_in_a_hundred_times(draws: int) -> None:
    most = most_by_chance(draws)
    beyond = sum(comb(draws, k) * 0.05**k * 0.95 ** (draws - k) for k in range(most + 1, draws + 1))
    at = comb(draws, most) * 0.05**most * 0.95 ** (draws - most)
    assert beyond <= 0.01 < beyond + at


def test_the_strongest_confounder_is_the_one_that_drives_both() -> None:
    data = effect_data(drawn("confounded", 4_000), protocol())
    name, strength = strongest_confounder(data)
    assert name in {"disease_severity", "academic_hcp"}
    assert 0.01 < strength < 0.5
    noise = data._replace(outcome=np.random.default_rng(0).normal(size=len(data.outcome)))
    assert strongest_confounder(noise)[1] < strength
