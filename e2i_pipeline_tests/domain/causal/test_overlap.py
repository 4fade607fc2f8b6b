"""Overlap: weights that balance, bounds that are optimal, sizes that shrink."""

import numpy as np
import pytest

from e2i_pipeline.domain.causal.overlap import (
    BALANCED,
    binary_balance,
    binary_weights,
    continuous_balance,
    continuous_weights,
    crump_bounds,
    effective_sample_size,
)
from e2i_pipeline_tests.domain.causal.worlds import binary_world, dose_world


def test_inverse_propensity_weights_balance_what_drives_the_treatment() -> None:
    world = binary_world(20_000)
    weight = binary_weights(world.treatment, world.propensity)
    found = {b.covariate: b for b in binary_balance(world.x, ["x0", "x1", "x2"], world.treatment, weight)}
    assert found["x1"].before > 0.5
    assert all(abs(b.after) < BALANCED / 2 for b in found.values())
    assert weight[world.treatment == 1].mean() == pytest.approx(1)


def test_the_worst_comes_first_and_what_does_not_vary_is_balanced() -> None:
    treatment = np.array([0, 0, 1, 1])
    x = np.array([[0, 1, 5], [1, 0, 5], [0, 3, 5], [1, 4, 5.0]])
    found = binary_balance(x, ["same", "differs", "constant"], treatment, np.ones(4))
    assert [b.covariate for b in found] == ["differs", "constant", "same"]
    assert found[0].before == pytest.approx(3 / 0.5)
    assert found[1].after == 0


def test_stabilized_weights_uncouple_a_dose_from_its_causes() -> None:
    world = dose_world(40_000)
    weight = continuous_weights(world.treatment, world.expected, world.variance)
    found = {b.covariate: b for b in continuous_balance(world.x, ["x0", "x1"], world.treatment, weight)}
    assert found["x1"].before > 0.5
    assert abs(found["x1"].after) < BALANCED
    assert weight.mean() == pytest.approx(1, abs=0.15)


def test_the_optimal_bounds_are_those_of_a_search() -> None:
    propensity = np.random.default_rng(0).beta(0.6, 0.9, 4_000)
    low, high = crump_bounds(propensity)
    inverse = 1 / (propensity * (1 - propensity))

    def variance(bound: float) -> float:
        is_in = (propensity >= bound) & (propensity <= 1 - bound)
        return inverse[is_in].mean() / is_in.mean()

    best = min(np.linspace(0.001, 0.2, 400), key=variance)
    assert low == pytest.approx(best, abs=0.01)
    assert high == pytest.approx(1 - low)
    assert variance(low) <= variance(best) * 1.001


def test_nobody_goes_where_everybody_overlaps() -> None:
    assert crump_bounds(np.linspace(0.4, 0.6, 100)) == (0.0, 1.0)


def test_equal_weights_keep_the_sample_and_one_large_weight_loses_it() -> None:
    assert effective_sample_size(np.full(50, 3.0)) == pytest.approx(50)
    assert effective_sample_size(np.array([1000.0, *[1.0] * 49])) < 1.2
