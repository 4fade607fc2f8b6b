"""The pages of a regression speak of numbers: no probability, no AUC, nobody flagged."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.evaluation import Interval, SliceFloor
from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.domain.judgement import Judgement, Terms, TestRows
from e2i_pipeline.domain.regression_judgement import judge_regression
from e2i_pipeline.domain.report import model_card
from e2i_pipeline.domain.report_data import Scores, SliceTable, StageResults
from e2i_pipeline.domain.run_report import run_report
from e2i_pipeline_tests.domain.card_example import SCOPE, card_data
from e2i_pipeline_tests.domain.page_reader import Reader
from e2i_pipeline_tests.domain.run_example import run_data

NUMBER = SCOPE.model_copy(update={"target": "cost_180d", "problem_type": "regression", "minimum_r2": 0.0})
FLOOR = SliceFloor(
    column="region",
    value="south",
    rows=900,
    score=Interval(estimate=1.9, low=1.8, high=2.0),
    floor=1.6,
    is_met=False,
)
WRONG = ("probability of", "the probabilities", "AUC", "base rate", "flagged", "a flag", "treatment is likeliest")


@pytest.fixture(scope="module")
def judged() -> Judgement:
    """1,500 costs around what was predicted of them."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(size=1500)})
    outcome = 10 + 2 * frame["x"].to_numpy() + rng.normal(size=1500)
    rules = EvaluationRules.model_validate({"bootstrap": {"resamples": 200}})

    def predict(rows: pd.DataFrame) -> np.ndarray:
        return 10 + 2 * rows["x"].to_numpy()

    return judge_regression(
        predict, TestRows(frame, outcome, frame[[]]), predict(frame), Terms(NUMBER, rules, slice_floor=0.1, seed=1)
    )


def of_numbers(base: StageResults, judged: Judgement, **changes: Any) -> dict[str, Any]:
    """What makes the example one of a regression."""
    evaluation = {"metrics": {"train": judged.metrics, "test": judged.metrics}, "findings": judged.findings}
    return {
        "scope": NUMBER,
        "evaluation": base.evaluation.model_copy(
            update={**evaluation, "fairness": (), "intervals": judged.intervals, "comparison": None}
        ),
        "training": base.training.model_copy(update={"positives": {}}),
        "slices": {"region": SliceTable(metrics={"south": {"rows": 900.0, "rmse": 1.9, "r2": 0.2}})},
        "curves": judged.curves,
        "detail": base.detail.model_copy(update={"floors": (FLOOR,), "left_out": ()}),
        "attribution": base.attribution.model_copy(update={"unit": "outcome"}),
        **changes,
    }


def card(judged: Judgement, **changes: Any) -> str:
    return Reader(model_card(card_data(**of_numbers(card_data(), judged, **changes)))).text


def test_the_card_shows_errors_and_promises_a_number(judged: Judgement) -> None:
    text = card(judged)
    for wanted in (
        "Gives each Kisqali journey the cost_180d to be expected, a number.",
        "RMSE on the test split, in the unit of cost_180d",
        "test journeys, with a measured outcome",
        "cost_180d, as a number; measured within 180 days",
        "at least 0.000",
        "predictions are calibrated",
        "1.900",
        "1.800 to 2.000",
        "By level of the prediction",
        "in units of cost_180d",
        "The answer holds a value per row",
        "the model finds what goes with cost_180d, not why",
        "or one that was not measured",
    ):
        assert wanted in text, wanted
    assert [wrong for wrong in WRONG if wrong in text] == []
    assert "groups are treated alike" not in text
    assert "of the validation split" not in text


def test_few_rows_are_not_shown_by_level_and_few_outcomes_are_said_to_be(judged: Judgement) -> None:
    curves = {"residuals": {name: values[:2] for name, values in judged.curves["residuals"].items()}}
    curves["residuals"]["rows"] = [12.0, 10.0]
    training = card_data().training.model_copy(update={"split_counts": {"test": 22}, "positives": {}})
    text = card(judged, curves=curves, training=training)
    assert "Too few test journeys to be shown by level" in text
    assert "The test split has 22 measured outcomes; with fewer than 100" in text


def test_without_a_criterion_the_card_says_that_none_was_set(judged: Judgement) -> None:
    text = card(judged, scope=NUMBER.model_copy(update={"minimum_r2": None}))
    assert "No success criterion was set for this regression." in text


def test_the_report_of_a_run_shows_the_mean_of_what_was_predicted(judged: Judgement) -> None:
    changes = of_numbers(run_data(), judged, scores=Scores(rows=1561, is_regression=True, mean=4321.5))
    text = Reader(run_report(run_data(**changes))).text
    for wanted in (
        "RMSE on the test split, in the unit of cost_180d, xgboost",
        "criteria, calibration, slices, behaviour",
        "had to give made-up rows the values that the model itself gives them",
        "1,561 journeys whose outcome is still open",
        f"4321.500, against {judged.metrics['mean']:.3f} measured of the training journeys",
    ):
        assert wanted in text, wanted
    assert [wrong for wrong in WRONG if wrong in text] == []
