"""A regression from its rows to the answers of its service, on a made-up drop, with real tools."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.domain.algorithms import ScoringModel
from e2i_pipeline.domain.evaluation_gate import checks_for
from e2i_pipeline.domain.regression_metrics import rmse
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.storage.evaluation_view import evaluation_metadata, scope_metadata
from e2i_pipeline_tests.drops import NOW, World, column, copied, good_world, publish

REGRESSION = {
    "E2I__TARGET": "days_to_treatment",
    "E2I__PROBLEM_TYPE": "regression",
    "E2I__OPTUNA__STUDY_DEFAULTS__METRIC": "rmse",
    "E2I__OPTUNA__STUDY_DEFAULTS__DIRECTION": "minimize",
    "E2I__OPTUNA__ALGORITHMS": "[lightgbm, ridge]",
    "E2I__OPTUNA__SEARCH_SPACE__LIGHTGBM": "{n_estimators: [20, 60], learning_rate: [0.05, 0.2]}",
    "E2I__COHORT__MINIMUM_JOURNEYS": "100",
}

SCOPE = ExperimentScope(
    key="a scope",
    brand="Kisqali",
    target="days_to_treatment",
    problem_type="regression",
    population="Journeys of Kisqali.",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.5,
    minimum_precision_at_k=0.0,
    maximum_fpr=1.0,
    capacity=0.1,
)


class Trained(NamedTuple):
    """A model of the days until treatment, and what it came from."""

    resources: dict[str, Any]
    dataset: TrainingDatasetRef
    tuned: TuningResult
    trained: TrainedModelRef
    version: ModelVersion

    @property
    def model(self) -> ScoringModel:
        return self.resources["training"].files.load(self.trained.location)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return good_world(tmp_path_factory.mktemp("regression"), journeys=900)


@pytest.fixture(scope="module")
def made(world: World) -> Trained:
    published = publish(world, **REGRESSION)
    resources = world.resources(**REGRESSION)
    feast, training = resources["feast"], resources["training"]
    covariates = [c.model_dump() for c in load_settings({**world.environ, **REGRESSION}).features.covariates]
    views = {
        view: feast.write_view(view, published.tables, covariates, touch_window_days=90).table
        for view in ("patient_features", "hcp_features", "engagement_features")
    }
    dataset = resources["modelling"].training_dataset("a key", "Kisqali", published, feast.apply(views))
    resources["gate"].audit(
        dataset, run_id="a run", now=NOW + timedelta(days=1), splits=("train", "validation", "test")
    )
    resources["gate"].require([dataset])
    resources["modelling"].require_no_leakage(dataset)
    key = training.key(dataset, SCOPE, 4)
    tuned, _ = training.study(key, dataset, SCOPE, 4, None, "a run", lambda said: None)
    trained = training.fit(dataset, SCOPE, tuned, "a run")
    version = resources["mlflow"].register_model(
        brand="Kisqali",
        model_type="days",
        run_id=trained.mlflow_run_id,
        model_uri=trained.model_uri,
        training_key=trained.key,
    )
    return Trained(resources, dataset, tuned, trained, version)


def test_rows_without_a_measured_outcome_are_not_learned_from(made: Trained) -> None:
    learned = made.resources["modelling"].frame(made.dataset, ["train", "validation", "holdout"])[1]
    assert np.isfinite(learned).all()
    assert len(np.unique(learned)) >= 10
    assert made.dataset.positives == {}
    assert sum(n for split, n in made.dataset.split_counts.items() if split not in ("unassigned", "test")) == len(
        learned
    )


def test_the_study_minimizes_the_error_and_the_fit_reaches_it(made: Trained) -> None:
    frame, outcomes = made.resources["modelling"].frame(made.dataset, ["validation"])
    assert made.tuned.metric == "rmse"
    assert made.tuned.best_value == pytest.approx(rmse(outcomes, made.model.predict(frame)))
    assert made.tuned.best_value < 1.05 * outcomes.std()
    assert made.model.manifest.problem_type == "regression"
    assert made.model.manifest.threshold is None


def test_its_evaluation_is_about_numbers_alone(made: Trained) -> None:
    evaluations = made.resources["evaluations"]
    evaluation, pictures = evaluations.evaluate(made.dataset, SCOPE, made.trained, "a run", NOW)
    assert {f.check for f in evaluation.findings} == set(checks_for("regression"))
    assert evaluation.metrics["test"]["rmse"] == evaluation_metadata(evaluation)["rmse"] > 0
    assert "auc" not in evaluation.metrics["test"]
    assert evaluation.fairness == ()
    assert pictures["curves"].startswith(b"\x89PNG")
    asked = scope_metadata(SCOPE)
    assert asked.keys() >= {"minimum_r2", "maximum_rmse"}
    assert not asked.keys() & {"minimum_auc", "maximum_fpr", "capacity"}


def test_its_predictions_are_explained_in_days(made: Trained) -> None:
    frame = made.resources["modelling"].features(made.dataset, ["test"], ["patient_journey_id"])
    reference, plot, told = made.resources["explanation"].attribute(
        "a key", made.dataset, made.trained, made.version, "a run", NOW
    )
    assert reference.unit == "outcome"
    assert plot.startswith(b"\x89PNG")
    assert told
    found = made.resources["explanation"].shap.compute_shap_values(made.model, frame)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, made.model.predict(frame), atol=1e-6)


def test_journeys_without_an_outcome_get_a_value_and_no_flag(made: Trained) -> None:
    predictions = made.resources["deployments"]._score("a key", made.dataset, made.version)
    assert predictions.rows > 0
    assert [column.name for column in predictions.columns if column.name in ("value", "probability", "is_flagged")] == [
        "value"
    ]


def test_the_service_answers_with_values(made: Trained) -> None:
    deployments = made.resources["deployments"]
    bento = deployments.package(made.dataset, made.trained, made.version)
    golden = json.loads(Path(bento.golden_request).read_text(encoding="utf-8"))
    with deployments.bentoml.serve(bento.tag) as url:
        assert deployments.bentoml.compare_golden_request(bento, url)["largest_difference"] < 1e-9
        [answer] = httpx.post(f"{url}/predict", json={"rows": golden["rows"][:1]}).json()
        [told] = httpx.post(f"{url}/explain", json={"rows": golden["rows"][:1]}).json()
        described = httpx.get(f"{url}/docs.json").json()["components"]["schemas"]
    assert set(answer) == {"value", "model_name", "model_version", "notes"}
    assert answer["value"] == golden["scores"][0]
    assert told["value"] == pytest.approx(told["margin"])
    assert told["unit"] == "outcome"
    assert "Estimate" in described
    assert "Prediction" not in described


def test_an_outcome_that_the_dictionary_does_not_know_is_landed_under_its_own_name(
    world: World, tmp_path: Path
) -> None:
    own = copied(world, tmp_path)
    column("TotalCost", lambda _: "1250.5")(own.drop)
    mapped = "{patient_journeys: {columns: {cost_180d: TotalCost}}}"
    chosen = {**REGRESSION, "E2I__TARGET": "cost_180d", "E2I__SOURCE__TABLES": mapped}
    journeys = publish(own, **chosen).tables["patient_journeys"]
    assert next(c.dtype for c in journeys.columns if c.name == "cost_180d") == "DOUBLE"
    with pytest.raises(SourceError, match="has no column visits_180d, the outcome that is to be learned"):
        publish(own, **{**REGRESSION, "E2I__TARGET": "visits_180d"})


def test_an_outcome_that_is_no_number_and_a_metric_of_the_other_problem_are_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"problem_type is regression, so .*metric must be rmse or mae"):
        world.resources(**{**REGRESSION, "E2I__OPTUNA__STUDY_DEFAULTS__METRIC": "auc"})
    modelling = world.resources(**{**REGRESSION, "E2I__TARGET": "journey_stage"})["modelling"]
    with pytest.raises(ConfigurationError, match="journey_stage is to be predicted as a number"):
        modelling._journeys("Kisqali", publish(world, E2I__TARGET="journey_stage"))
