"""Doubly robust scores: their mean is the average effect, and one wrong model does not matter."""

import numpy as np
import pytest
from econml.validate.utils import calculate_dr_outcomes

from e2i_pipeline.domain.causal.estimates import average
from e2i_pipeline.domain.causal.scores import binary_scores, continuous_scores
from e2i_pipeline_tests.domain.causal.worlds import binary_world, dose_world


@pytest.mark.parametrize("wrong", ["nothing", "outcome", "propensity"])
def test_the_mean_is_the_average_effect_if_either_model_is_right(wrong: str) -> None:
    world = binary_world(40_000)
    off = 3.0 if wrong == "outcome" else 0.0
    propensity = np.full(40_000, 0.5) if wrong == "propensity" else world.propensity
    untreated, treated = world.untreated + off, world.untreated + world.effect - off
    found = average(binary_scores(world.outcome, world.treatment, untreated, treated, propensity))
    assert abs(found.value - 1) < 3.5 * found.standard_error
    assert found.standard_error < 0.1


def test_scores_equal_those_of_econml() -> None:
    world = binary_world(2_000)
    treated = world.untreated + world.effect
    ours = binary_scores(world.outcome, world.treatment, world.untreated, treated, world.propensity)
    theirs = calculate_dr_outcomes(
        world.treatment.astype(int),
        world.outcome,
        np.column_stack([world.untreated, treated]),
        np.column_stack([1 - world.propensity, world.propensity]),
    )
    assert ours == pytest.approx(theirs[:, 0])


def test_a_propensity_near_zero_weighs_as_a_hundred() -> None:
    one, zero = np.array([1.0]), np.array([0.0])
    assert binary_scores(one, one, zero, zero, np.array([1e-9])) == pytest.approx([100.0])


def test_the_mean_of_a_continuous_treatment_is_the_average_derivative() -> None:
    world = dose_world(60_000)
    flat = np.full(60_000, 0.1)  # a wrong effect model: the weights correct it
    found = average(continuous_scores(world.outcome_residual, world.treatment_residual, flat, world.variance))
    partially_linear = (world.outcome_residual * world.treatment_residual).mean() / world.variance.mean()
    assert abs(found.value - 0.5) < 3.5 * found.standard_error
    assert partially_linear - 0.5 > 10 * found.standard_error  # another estimand, which leans to where T varies


def test_a_treatment_that_does_not_vary_is_refused() -> None:
    with pytest.raises(ValueError, match="does not vary given the covariates in 1 of 2 rows"):
        continuous_scores(np.zeros(2), np.zeros(2), np.zeros(2), np.array([1.0, 0.0]))
