"""A regression judged: metrics with intervals, slices by error, and what a probability alone has left out and said."""

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.domain import evaluation_gate as gate
from e2i_pipeline.domain.judgement import Judgement, Terms, TestRows
from e2i_pipeline.domain.regression_judgement import judge_regression
from e2i_pipeline_tests.domain.judged import SCOPE

REGRESSION = SCOPE.model_copy(update={"problem_type": "regression", "minimum_r2": 0.3, "maximum_rmse": 2.0})


def predict(frame: pd.DataFrame) -> np.ndarray:
    return 10 + 2 * frame["x"].to_numpy()


def judged(stretch: float = 1.0, wild: float = 1.0) -> Judgement:
    """Outcomes around the predictions; `stretch` of their spread, and `wild` times the noise in the west."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(size=1500)})
    region = rng.choice(["south", "west"], 1500)
    noise = rng.normal(size=1500) * np.where(region == "west", wild, 1.0)
    outcome = 10 + stretch * 2 * frame["x"].to_numpy() + noise
    rows = TestRows(frame, outcome, pd.DataFrame({"geographic_region": region}))
    rules = EvaluationRules.model_validate({"bootstrap": {"resamples": 300}})
    return judge_regression(predict, rows, predict(frame), Terms(REGRESSION, rules, slice_floor=0.1, seed=1))


def failed(judgement: Judgement) -> list[str]:
    return [f.check for f in judgement.findings if not f.is_passed]


def test_a_good_regression_passes_and_says_what_does_not_apply() -> None:
    found = judged()
    assert failed(found) == []
    told = {f.check for f in found.findings} | {gate.BEATS, gate.FEW_READERS}
    assert told == set(gate.checks_for("regression"))
    assert gate.FAIR not in told
    rmse, slope = found.intervals["rmse"], found.intervals["calibration_slope"]
    assert rmse.low is not None
    assert rmse.high is not None
    assert rmse.low < found.metrics["rmse"] < rmse.high
    assert slope.low is not None
    assert slope.high is not None
    assert slope.low < 1 < slope.high
    assert set(found.curves) == {"residuals"}
    assert sum(found.curves["residuals"]["rows"]) == 1500
    assert found.fairness == ()
    assert any("no threshold" in sentence for sentence in found.left_out)


def test_a_line_that_is_too_steep_and_a_criterion_that_is_missed_are_found() -> None:
    assert gate.CALIBRATED_NUMBERS in failed(judged(stretch=0.4))
    assert "r2_reaches_the_minimum" in failed(judged(stretch=0.1))


def test_a_slice_with_larger_errors_is_found() -> None:
    found = judged(wild=2.5)
    assert gate.SLICES in failed(found)
    (finding,) = [f for f in found.findings if f.check == gate.SLICES]
    assert finding.sentences[0].startswith("RMSE of geographic_region west is 2.")
    assert found.slices["geographic_region"]["metrics"]["west"]["rmse"] > 2
