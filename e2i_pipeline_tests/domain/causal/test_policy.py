"""The value of rules: known effects, known costs."""

import numpy as np
import pytest

from e2i_pipeline.domain.causal.policy import highest, policy_gain, uplift_at_capacity

EFFECT = np.array([3.0, 1.0, 0.0, -1.0])


def test_a_rule_brings_the_effects_of_whom_it_treats_less_their_cost() -> None:
    best_half = np.array([1.0, 1.0, 0.0, 0.0])
    assert policy_gain(EFFECT, best_half, cost=0.5).value == pytest.approx((2.5 + 0.5) / 4)
    assert policy_gain(EFFECT, np.ones(4), cost=0.5).value == pytest.approx((3 - 2) / 4)
    assert policy_gain(EFFECT, best_half, cost=0.5, instead_of=np.ones(4)).value == pytest.approx((0.5 + 1.5) / 4)


def test_two_rules_alike_differ_by_nothing_for_certain() -> None:
    found = policy_gain(EFFECT, np.ones(4), cost=0.1, instead_of=np.ones(4))
    assert (found.value, found.standard_error) == (0, 0)


def test_capacity_takes_the_highest_and_all_that_tie_with_the_last() -> None:
    assert highest(np.array([0.1, 0.4, 0.3, 0.4]), 0.25).tolist() == [False, True, False, True]
    assert highest(np.array([0.1, 0.4, 0.3, 0.2]), 0.01).tolist() == [False, True, False, False]
    assert uplift_at_capacity(EFFECT, EFFECT, 0.5).value == pytest.approx(2.0)
    assert uplift_at_capacity(EFFECT, EFFECT, 1.0).value == pytest.approx(0.75)


@pytest.mark.parametrize("capacity", [0.0, 1.5])
def test_a_capacity_out_of_range_is_refused(capacity: float) -> None:
    with pytest.raises(ValueError, match="capacity must lie above 0"):
        highest(EFFECT, capacity)
