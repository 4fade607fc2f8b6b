"""Success criteria: met, unmet with their figures, not computable, and those of a regression."""

import math

from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain.criteria import criteria, criteria_unmet

SCOPE = ExperimentScope(
    key="k",
    brand="Kisqali",
    target="treatment_initiated",
    problem_type="classification",
    population="journeys",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.2,
    maximum_fpr=0.2,
    capacity=0.1,
)


def test_met_criteria_say_nothing() -> None:
    assert criteria_unmet({"auc": 0.6, "lift_at_k": 1.2, "fpr": 0.2}, SCOPE) == ()


def test_unmet_criteria_say_their_figures() -> None:
    unmet = criteria_unmet({"auc": 0.583, "lift_at_k": 1.05, "fpr": 0.31}, SCOPE)
    assert unmet == (
        "AUC is 0.583, below the minimum 0.600.",
        "precision among the top 10% over the base rate is 1.050, below the minimum 1.200.",
        "false positive rate at the threshold for the top 10% is 0.310, above the maximum 0.200.",
    )


def test_a_metric_that_could_not_be_computed_does_not_pass() -> None:
    unmet = criteria_unmet({"auc": math.nan, "lift_at_k": 2.0, "fpr": 0.1}, SCOPE)
    assert unmet == ("AUC could not be computed (minimum 0.600): an outcome class is missing.",)


def test_a_regression_has_criteria_of_its_own_where_they_are_set() -> None:
    bare = SCOPE.model_copy(update={"problem_type": "regression"})
    assert criteria({"r2": -1.0, "rmse": 99.0}, bare) == ()
    asked = bare.model_copy(update={"minimum_r2": 0.3, "maximum_rmse": 5.0})
    assert criteria_unmet({"r2": 0.2, "rmse": 4.0}, asked) == ("R2 is 0.200, below the minimum 0.300.",)
