"""Differences between groups: by hand, against a published interval, and what is too small to be said."""

import numpy as np
import pytest

from e2i_pipeline.contracts.evaluation_rules import EvaluationRules, FairnessRules
from e2i_pipeline.domain.evaluation_gate import fairness_finding
from e2i_pipeline.domain.fairness import differences, newcombe

RULES = FairnessRules()


def test_the_interval_is_the_published_one() -> None:
    # Newcombe (1998), table II, method 10: 56/70 against 48/80
    low, high = newcombe(56, 70, 48, 80, 0.95)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert newcombe(10, 10, 0, 10, 0.95) == pytest.approx((0.6075, 1.0), abs=1e-4)


def test_rates_by_hand() -> None:
    outcome = np.tile([1.0, 0.0], 160)
    group = np.repeat(["a", "b"], 160)
    score = np.where(group == "a", 0.9, 0.1)
    score[:40] = 0.1  # 20 positives and 20 negatives of a
    score[-40:] = 0.9  # and of b
    opportunity, parity = differences(outcome, score, {"g": group}, 0.5, RULES, 11, 0.95)
    assert (opportunity.measure, opportunity.rates) == ("equal_opportunity", {"a": 0.75, "b": 0.25})
    assert opportunity.rows == {"a": 80, "b": 80}
    assert (parity.measure, parity.rates, parity.rows) == (
        "demographic_parity",
        {"a": 0.75, "b": 0.25},
        {"a": 160, "b": 160},
    )
    assert (parity.highest, parity.lowest) == ("a", "b")
    assert not parity.is_within
    assert parity.difference.estimate == 0.5


def test_what_tells_of_too_few_is_left_out_and_judged_all_the_same() -> None:
    """Of the 40 of `few` 5 are flagged; `b` is hidden too, or its rate and the total would tell how many."""
    flagged = {"a": (300, 400), "b": (60, 300), "few": (5, 40)}
    group = np.concatenate([np.repeat(name, rows) for name, (_, rows) in flagged.items()])
    score = np.concatenate([np.arange(rows) < hits for hits, rows in flagged.values()]).astype(float)
    (parity,) = differences(np.zeros(len(group)), score, {"g": group}, 0.5, RULES, 11, 0.95)
    assert parity.rates == {"a": 0.75, "b": None, "few": None}
    assert parity.rows == {"a": 400, "b": 300, "few": 40}
    assert (parity.highest, parity.lowest, parity.is_within) == ("a", "b", False)
    assert (parity.difference.estimate, parity.difference.low, parity.difference.high) == (None, None, None)
    finding = fairness_finding([parity], EvaluationRules())
    assert not finding.is_passed
    assert "too few persons" in finding.sentences[0]
    assert finding.observed is None


def test_of_a_group_with_few_without_an_outcome_nothing_tells_how_many_have_one() -> None:
    """Its rows with an outcome, less all of its rows, would."""
    outcome = np.concatenate([np.arange(200) < 100, np.arange(200) < 100, np.arange(60) < 55]).astype(float)
    score = np.tile([1.0, 0.0], 230)
    group = np.repeat(["a", "b", "few"], [200, 200, 60])
    opportunity, parity = differences(outcome, score, {"g": group}, 0.5, RULES, 11, 0.95)
    assert (opportunity.rows["few"], opportunity.rates["few"]) == (None, None)
    assert list(opportunity.rows.values()).count(None) == 2
    assert parity.rows == {"a": 200, "b": 200, "few": 60}
    assert parity.rates["few"] == 0.5


def test_groups_below_the_cell_are_left_out_and_one_group_has_no_difference() -> None:
    outcome, score = np.tile([1.0, 0.0], 20), np.linspace(0, 1, 40)
    group = np.array(["a"] * 30 + ["b"] * 10)
    assert differences(outcome, score, {"g": group}, 0.5, RULES, 11, 0.95) == ()
    # with 20 rows each there are 10 with the outcome: enough for one measure only
    half = np.repeat(["a", "b"], 20)
    assert [d.measure for d in differences(outcome, score, {"g": half}, 0.5, RULES, 11, 0.95)] == ["demographic_parity"]


def test_a_small_group_does_not_hide_what_two_large_ones_show() -> None:
    flagged = {"large": (200, 400), "other": (80, 400), "small": (7, 12)}  # 50 % and 20 %, and 58 % of very few
    group = np.concatenate([np.repeat(name, rows) for name, (_, rows) in flagged.items()])
    score = np.concatenate([np.arange(rows) < hits for hits, rows in flagged.values()]).astype(float)
    (parity,) = differences(np.zeros(len(group)), score, {"g": group}, 0.5, RULES, 11, 0.95)
    assert (parity.highest, parity.lowest) == ("large", "other")
    assert not parity.is_within
    assert set(parity.rates) == set(flagged)
    lenient = FairnessRules(maximum_demographic_parity_difference=0.5)
    (parity,) = differences(np.zeros(len(group)), score, {"g": group}, 0.5, lenient, 11, 0.95)
    assert (parity.highest, parity.lowest, parity.is_within) == ("small", "other", True)


def test_groups_that_are_treated_alike_are_seldom_found_apart() -> None:
    broken = 0
    strict = FairnessRules(maximum_equal_opportunity_difference=0.0, maximum_demographic_parity_difference=0.0)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        outcome, score = (rng.random(600) < 0.3).astype(float), rng.random(600)
        found = differences(outcome, score, {"g": rng.choice(list("abcd"), 600)}, 0.9, strict, 11, 0.95)
        broken += sum(not one.is_within for one in found)
    assert broken <= 10  # of 120, at 95 % each
