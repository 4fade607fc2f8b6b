"""Robustness values: against EconML's, and against a hidden cause of known strength."""

import numpy as np
import pytest
from econml.validate.sensitivity_analysis import RV, dml_sensitivity_values

from e2i_pipeline.domain.causal.sensitivity import robustness, strength_of
from e2i_pipeline_tests.domain.causal.worlds import dose_world


@pytest.mark.parametrize("strength", [0.5, -0.8, 0.02])
def test_the_value_for_the_estimate_equals_econmls(strength: float) -> None:
    world = dose_world(5_000, strength=strength)
    theirs = dml_sensitivity_values(world.treatment_residual, world.outcome_residual)
    ours = robustness(world.outcome_residual, world.treatment_residual)
    assert ours.of_estimate == pytest.approx(RV(*theirs, 0.05, interval_type="theta"), abs=1e-5)
    assert 0 <= ours.of_interval <= ours.of_estimate


def test_the_interval_reaches_zero_before_the_estimate_does() -> None:
    world = dose_world(2_000)
    found = robustness(world.outcome_residual, world.treatment_residual)
    assert 0 < found.of_interval < found.of_estimate < 1
    more = dose_world(40_000)
    closer = robustness(more.outcome_residual, more.treatment_residual)
    assert closer.of_estimate - closer.of_interval < found.of_estimate - found.of_interval


def test_an_effect_of_nothing_withstands_nothing() -> None:
    rng = np.random.default_rng(2)
    assert robustness(rng.normal(size=3_000), rng.normal(size=3_000)).of_interval == 0


def test_a_hidden_cause_of_just_that_strength_explains_the_effect_away() -> None:
    rng = np.random.default_rng(4)
    hidden = rng.normal(size=200_000)
    treatment, outcome = hidden + rng.normal(size=200_000), hidden + rng.normal(size=200_000)
    found = robustness(outcome, treatment)  # no effect at all: the hidden cause makes it
    of_treatment = strength_of(np.corrcoef(hidden, treatment)[0, 1] ** 2, 0.0)
    given_treatment = np.corrcoef(hidden - treatment / 2, outcome - treatment / 2)[0, 1] ** 2
    assert np.sqrt(given_treatment * of_treatment / (1 - of_treatment)) == pytest.approx(
        found.of_estimate / np.sqrt(1 - found.of_estimate), rel=0.01
    )


def test_strength_is_a_share_of_what_is_left() -> None:
    assert strength_of(0.5, 0.2) == pytest.approx(0.375)
    assert strength_of(0.2, 0.3) == 0
    assert strength_of(1.0, 1.0) == 0
