"""A judgement and its gate: a good model passes, and each part catches what it is there for."""

import numpy as np
import pytest

from e2i_pipeline.contracts.evaluation import Comparison, Finding, Interval, TestReadings
from e2i_pipeline.contracts.evaluation_rules import BehaviourRules, EvaluationRules, FairnessRules
from e2i_pipeline.domain import evaluation_gate as gate
from e2i_pipeline.domain.judgement import Judgement
from e2i_pipeline_tests.domain.judged import SCOPE, judged, predict, rows


def finding(judgement: Judgement, check: str) -> Finding:
    return next(f for f in judgement.findings if f.check == check)


def test_a_model_that_means_what_it_says_passes_every_part() -> None:
    found = judged(rows())
    assert [f for f in found.findings if not f.is_passed] == []
    assert gate.unmet(found.findings) == gate.warnings(found.findings) == ()
    told = {f.check for f in found.findings} | {gate.BEATS, gate.FEW_READERS}
    assert told == set(gate.checks_for("classification"))
    assert set(found.curves) == {"roc", "pr", "lift", "calibration", "decision"}
    assert set(found.slices) == {"geographic_region", "age_group"}
    assert found.intervals["auc"].estimate == pytest.approx(found.metrics["auc"])


def test_probabilities_that_are_too_extreme_fail_calibration_and_nothing_else() -> None:
    given = rows()
    z = 3 * np.log(predict(given.features) / (1 - predict(given.features)))
    found = judged(given, 1 / (1 + np.exp(-z)))
    assert [f.check for f in found.findings if not f.is_passed] == [gate.CALIBRATED]
    slope = finding(found, gate.CALIBRATED).sentences[0]
    assert slope.startswith("Calibration slope is 0.3")
    assert slope.endswith("outside 0.8 to 1.25.")


def test_few_rows_do_not_fail_a_good_model_by_chance() -> None:
    found = [f for seed in range(40) for f in judged(rows(150, seed)).findings if f.part != "success_criteria"]
    assert sum(not f.is_passed for f in found) <= 6  # of 160 looks, each at 95 %


def test_a_slice_that_is_ranked_by_chance_fails_its_floor() -> None:
    given = rows(3000)
    scores = predict(given.features)
    is_south = (given.beside["geographic_region"] == "south").to_numpy()
    scores[is_south] = np.random.default_rng(2).permutation(scores[is_south])
    found = finding(judged(given, scores), gate.SLICES)
    assert not found.is_passed
    assert found.is_blocking
    assert len(found.sentences) == 1
    assert found.sentences[0].startswith("AUC of geographic_region south is 0.")


def test_groups_that_are_flagged_unequally_are_told_and_bounded_by_configuration() -> None:
    given = rows(3000)
    scores = predict(given.features)
    given.beside.loc[scores > np.quantile(scores, 0.85), "geographic_region"] = "south"
    unfair = finding(judged(given, scores), gate.FAIR)
    assert not unfair.is_passed
    assert unfair.is_blocking
    assert "by geographic_region" in unfair.sentences[0]
    lenient = EvaluationRules(blocking=("slices",), fairness=FairnessRules(columns=("geographic_region",)))
    warned = finding(judged(given, scores, lenient), gate.FAIR)
    assert (warned.is_passed, warned.is_blocking) == (False, False)
    assert gate.warnings([warned]) == warned.sentences
    blind = EvaluationRules(fairness=FairnessRules(columns=()))
    assert finding(judged(given, scores, blind), gate.FAIR).is_passed


def test_a_column_that_the_rows_do_not_have_is_said_and_not_taken_for_judged() -> None:
    rules = EvaluationRules(fairness=FairnessRules(columns=("geographic_regoin", "age_group")))
    said = judged(rows(), rules=rules).left_out
    assert "The modelling rows have no geographic_regoin, so nothing was judged by it." in said
    assert not any("age_group" in sentence for sentence in said)


def test_a_declared_direction_that_the_model_does_not_take_fails() -> None:
    right = EvaluationRules(behaviour=BehaviourRules(monotone={"x": "increasing", "noise": "decreasing"}))
    assert finding(judged(rows(), rules=right), gate.BEHAVES).is_passed
    wrong = EvaluationRules(behaviour=BehaviourRules(monotone={"x": "decreasing"}))
    (sentence,) = finding(judged(rows(), rules=wrong), gate.BEHAVES).sentences
    assert sentence.startswith("x, declared decreasing: 100.0% of ")
    absent = EvaluationRules(behaviour=BehaviourRules(monotone={"y": "increasing"}))
    assert not finding(judged(rows(), rules=absent), gate.BEHAVES).is_passed


def test_what_is_not_blocking_only_warns() -> None:
    given = rows()
    scores = np.clip(predict(given.features) * 0.3, 0, 1)
    lenient = EvaluationRules(blocking=("success_criteria",))
    found = judged(given, scores, lenient).findings
    assert gate.unmet(found) == ()
    assert any("Calibration intercept" in sentence for sentence in gate.warnings(found))


def test_predictions_that_are_all_alike_fail_calibration() -> None:
    given = rows()
    assert "could not be computed" in finding(judged(given, np.full(2000, 0.3)), gate.CALIBRATED).sentences[0]


def test_the_comparison_is_told_and_never_blocks() -> None:
    gain = Interval(estimate=-0.01, low=-0.02, high=0.0)
    worse = Comparison(
        champion="3",
        metric="auc",
        candidate_value=0.7,
        champion_value=0.71,
        gain=gain,
        p_value=0.04,
        test="DeLong's paired test",
        rows=500,
    )
    found = gate.comparison_finding(worse, "", 0.002, 0.05)
    assert (found.is_passed, found.is_blocking) == (False, False)
    assert "AUC 0.7000 against 0.7100 of version 3 on the same 500 rows" in found.sentences[0]
    assert gate.comparison_finding(None, "", 0.002, 0.05).is_passed
    assert not gate.comparison_finding(None, "Champion version 3 cannot score.", 0.002, 0.05).is_passed


def test_many_candidates_on_one_test_are_a_warning() -> None:
    assert gate.readings_finding(TestReadings(candidates=10, readings=14, maximum=10)).is_passed
    many = gate.readings_finding(TestReadings(candidates=11, readings=15, maximum=10))
    assert (many.is_passed, many.is_blocking) == (False, False)
    assert "11 candidates have read these test rows" in many.sentences[0]


def test_a_success_criterion_is_held_against_the_figure_itself() -> None:
    given = rows(300)
    high = SCOPE.model_copy(update={"minimum_auc": 0.99})
    found = gate.criteria_findings(judged(given).metrics, high, EvaluationRules())
    assert [f.is_passed for f in found] == [False, True, True]
