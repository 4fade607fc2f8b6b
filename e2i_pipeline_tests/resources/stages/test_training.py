"""What is the same training, and what is another one."""

from pathlib import Path

import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.references import TuningResult
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.resources.stages.training import TrainingResource


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
