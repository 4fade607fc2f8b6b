"""What is the same training, and what is another one."""

from pathlib import Path

import optuna
import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.training import ExperimentScope, TuningResult
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.resources.optuna_batches import attributes_of
from e2i_pipeline.resources.optuna_storage import open_storage
from e2i_pipeline.resources.optuna_warm_start import mark_ended
from e2i_pipeline.resources.stages import evaluation_rule, promotion
from e2i_pipeline.resources.stages import training as training_stage
from e2i_pipeline.resources.stages.training import TrainingResource
from e2i_pipeline.serving.carried import imported_files


@pytest.fixture
def training(tmp_path: Path) -> TrainingResource:
    settings = load_settings({"E2I_STATE_DIR": str(tmp_path), "E2I__OPTUNA__SEARCH__TIMEOUT": "60"})
    return build_resources(settings)["training"]  # type: ignore[return-value]


def study(seconds: float, is_reproducible: bool) -> TuningResult:
    return TuningResult(
        key="k",
        brand="Kisqali",
        study="e2i-Kisqali-k",
        mlflow_run_id="run",
        mlflow_experiment_id="1",
        algorithm="xgboost",
        parameters={},
        metric="auc",
        best_value=0.7,
        trials={"COMPLETE": 3},
        seconds=seconds,
        is_reproducible=is_reproducible,
    )


def test_a_study_that_was_cut_short_is_another_training_where_it_may_take_longer(training: TrainingResource) -> None:
    cut_short = study(seconds=61.0, is_reproducible=False)

    assert training.longer_key(cut_short, timeout=None) == "k"
    assert training.longer_key(cut_short, timeout=30) == "k"
    longer = {training.longer_key(cut_short, timeout=seconds) for seconds in (120, 120, 240)}
    assert len(longer) == 2
    assert "k" not in longer


def test_a_study_that_came_to_its_end_stays_whatever_time_it_may_take(training: TrainingResource) -> None:
    assert training.longer_key(study(seconds=20.0, is_reproducible=True), timeout=3600) == "k"


SCOPE = ExperimentScope(
    key="scope",
    brand="Kisqali",
    target="treatment_initiated",
    problem_type="classification",
    population="all",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.2,
    maximum_fpr=0.2,
    capacity=0.1,
)


def dataset(version: str) -> TrainingDatasetRef:
    return TrainingDatasetRef(
        key=version,
        name="training_dataset",
        version=version,
        brand="Kisqali",
        dataset_key="d",
        features=(),
        split_counts={},
        positives={},
    )


def ended_study(training: TrainingResource, name: str, version: str) -> None:
    with open_storage(training.optuna.storage) as storage:
        study = optuna.create_study(study_name=name, storage=storage.optuna, direction="maximize")
        about = {"brand": "Kisqali", "dataset": version, "metric": "auc", "algorithms": ["logistic_regression"]}
        for key, value in about.items():
            study.set_user_attr(key, value)
        scale = {"logistic_regression.C": optuna.distributions.FloatDistribution(0.1, 10)}
        placed = attributes_of(0, 8, 0)
        trial = optuna.trial.create_trial(
            params={"logistic_regression.C": 2.0}, distributions=scale, value=0.7, user_attrs=placed
        )
        study.add_trial(trial)
        mark_ended(storage, name)


def test_what_a_study_begins_with_is_resolved_once_per_dataset(training: TrainingResource) -> None:
    before = training.key(dataset("one"), SCOPE, None)
    ended_study(training, "first", "one")

    assert training.key(dataset("one"), SCOPE, None) == before
    assert training.key(dataset("one"), SCOPE, 7) != before
    warm = training.key(dataset("two"), SCOPE, None)
    assert training.origin(dataset("two")).trials == ({"algorithm": "logistic_regression", "parameters": {"C": 2.0}},)
    ended_study(training, "second", "three")
    assert training.key(dataset("two"), SCOPE, None) == warm  # whatever was studied meanwhile
    cold = training.model_copy(update={"warm_start": False})
    assert cold.key(dataset("two"), SCOPE, None) != warm
    assert cold.key(dataset("one"), SCOPE, None) == before


DECIDES_NOTHING = {
    "domain/outside.py",  # what it finds is part of the key
    *(
        f"resources/optuna_{name}.py"
        for name in ("cores", "importances", "leases", "quiet", "storage", "worker", "workers")
    ),
}
JUDGING = ("judgement", "regression_judgement", "comparison", "evaluation_plots")


@pytest.mark.parametrize(
    ("code", "begins"),
    [
        (training_stage._CODE, ("resources.optuna", "domain.algorithms", "domain.operating_point")),
        (evaluation_rule._CODE, tuple(f"domain.{name}" for name in JUDGING)),
        (promotion._CODE, ("domain.comparison", "domain.promotion")),
    ],
    ids=["training", "evaluation", "promotion"],
)
def test_whatever_code_decides_a_result_is_part_of_its_key(code: tuple[str, ...], begins: tuple[str, ...]) -> None:
    paths = {path for module in begins for path in imported_files(f"e2i_pipeline.{module}")}
    found = {path.removeprefix("e2i_pipeline/") for path in paths if "/__init__" not in path} - DECIDES_NOTHING
    missing = {name for name in found if name.startswith(("domain/", "resources/")) and not name.startswith(code)}
    assert missing == set()
