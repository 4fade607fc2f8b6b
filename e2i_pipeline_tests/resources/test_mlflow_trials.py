"""A study's trials are nested runs, each once, whatever happens to MLflow meanwhile."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline_tests.resources.mlflow_stores import MlflowServer, client_of, store_in, unopened_store_in

TRIALS: list[dict[str, Any]] = [
    {"number": 0, "state": "COMPLETE", "value": 0.71, "algorithm": "xgboost", "parameters": {"max_depth": 3},
     "seconds": 2.5, "batch": 0},
    {"number": 1, "state": "PRUNED", "value": 0.6, "algorithm": "xgboost", "parameters": {"max_depth": 9},
     "seconds": 0.4, "batch": 0},
    {"number": 2, "state": "FAIL", "value": float("nan"), "algorithm": "", "parameters": {}, "seconds": 0.0,
     "batch": 1},
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


@pytest.fixture
def run_id(store: MlflowResource) -> str:
    tags = {"dagster_run_id": "d1", "e2i.agent": "model_selector"}
    return store.open_run("k1", "Kisqali", "Kisqali", "training", tags).run_id


def nested(store: MlflowResource, run_id: str) -> dict[str, Run]:
    """The runs beneath a training's run by trial; a doubled one fails the test."""
    client = client_of(store)
    found = client.search_runs(
        [client.get_run(run_id).info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=100
    )
    runs = {run.data.tags["e2i.trial"]: run for run in found}
    assert len(runs) == len(found)
    return runs


def test_each_trial_is_a_nested_run(store: MlflowResource, run_id: str, tmp_path: Path) -> None:
    store.log_trials(run_id, TRIALS, "validation_auc")
    runs = nested(store, run_id)
    assert {n: r.info.status for n, r in runs.items()} == {"0": "FINISHED", "1": "KILLED", "2": "FAILED"}
    assert {n: r.data.tags["e2i.trial_state"] for n, r in runs.items()} == {"0": "COMPLETE", "1": "PRUNED", "2": "FAIL"}
    assert runs["0"].data.params == {"algorithm": "xgboost", "max_depth": "3"}
    assert runs["0"].data.metrics == {"validation_auc": 0.71, "seconds": 2.5}
    assert runs["2"].data.metrics == {"seconds": 0.0}
    assert runs["0"].info.end_time - runs["0"].info.start_time == 2_500
    tags = runs["1"].data.tags
    assert {
        "platform": "e2i",
        "brand": "Kisqali",
        "e2i.agent": "model_selector",
        "e2i.batch": "0",
    }.items() <= tags.items()
    assert not {"e2i.training_key", "dagster_run_id"} & set(tags)
    options = {"dst_path": str(tmp_path), "tracking_uri": store.tracking_uri}
    kept = download_artifacts(run_id=run_id, artifact_path="study/trials.json", **options)
    assert json.loads(Path(kept).read_text())[2]["value"] is None
    assert store.tracking_state(run_id) == "complete"
    assert store.find_run("k1") == run_id


def test_a_resumed_study_adds_what_is_new_and_doubles_nothing(store: MlflowResource, run_id: str) -> None:
    store.log_trials(run_id, TRIALS[:2], "validation_auc")
    first = {number: run.info.run_id for number, run in nested(store, run_id).items()}
    store.log_trials(run_id, TRIALS, "validation_auc")
    after = {number: run.info.run_id for number, run in nested(store, run_id).items()}
    assert first.items() < after.items()
    assert set(after) == {"0", "1", "2"}


def test_what_a_killed_process_or_another_machine_left_is_settled(store: MlflowResource, run_id: str) -> None:
    client = client_of(store)
    experiment = client.get_run(run_id).info.experiment_id
    begun = client.create_run(experiment, tags={"mlflow.parentRunId": run_id, "e2i.trial": "0"}).info.run_id
    for _ in range(2):
        twin = client.create_run(experiment, tags={"mlflow.parentRunId": run_id, "e2i.trial": "1"}).info.run_id
        client.set_terminated(twin, "KILLED")
    store.log_trials(run_id, TRIALS, "validation_auc")
    runs = nested(store, run_id)
    assert runs["0"].info.run_id == begun
    assert (runs["0"].info.status, runs["0"].data.metrics["validation_auc"]) == ("FINISHED", 0.71)
    assert set(runs) == {"0", "1", "2"}


def test_what_mlflow_refuses_is_told_and_does_not_wait_for_ever(
    store: MlflowResource, caplog: pytest.LogCaptureFixture
) -> None:
    store.get_or_create_experiment("Kisqali")
    store.log_trials("0123456789abcdef0123456789abcdef", TRIALS)
    assert "4 records of run 0123456789abcdef0123456789abcdef were refused" in caplog.text
    assert store.tracking_state("0123456789abcdef0123456789abcdef") == "complete"


def test_a_trial_that_mlflow_refuses_ends_and_the_others_are_kept(
    store: MlflowResource, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = {**TRIALS[0], "number": 9, "parameters": {"what?": 1}}
    store.log_trials(run_id, [odd, *TRIALS], "validation_auc")
    runs = nested(store, run_id)
    assert {n: r.info.status for n, r in runs.items()} == {
        "9": "FINISHED", "0": "FINISHED", "1": "KILLED", "2": "FAILED",
    }  # fmt: skip
    assert f"trial 9 of run {run_id} is kept without its parameters: " in caplog.text
    assert store.tracking_state(run_id) == "complete"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")


@pytest.mark.usefixtures("impatient")
def test_trials_wait_while_the_server_is_down_and_the_next_run_delivers_them(
    tmp_path: Path, store: MlflowResource, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = MlflowServer(tmp_path, store.tracking_uri)
    limits = {"failure_threshold": 2, "recovery_timeout": 0.01, "half_open_requests": 1}
    served = unopened_store_in(tmp_path, tracking_uri=server.uri, **limits)

    served.log_trials(run_id, TRIALS, "validation_auc")
    served.log_pictures(run_id, {"history": b"\x89PNG"}, "study")
    assert served.deliver_waiting() == 0
    assert served.tracking_state(run_id).startswith("degraded: 5 trials or files of this training wait in ")
    assert server.uri in served.tracking_state(run_id)
    assert "degraded: MLflow at " in caplog.text

    with server, dg.build_resources({"mlflow": served}):  # as a run begins
        assert served.tracking_state(run_id) == "complete"
    assert served.deliver_waiting() == 0
    assert set(nested(store, run_id)) == {"0", "1", "2"}
    options = {"dst_path": str(tmp_path), "tracking_uri": store.tracking_uri}
    folder = download_artifacts(run_id=run_id, artifact_path="study", **options)
    assert {path.name for path in Path(folder).iterdir()} == {"trials.json", "history.png"}


@pytest.mark.usefixtures("impatient")
def test_a_server_that_keeps_failing_is_not_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = unopened_store_in(tmp_path, tracking_uri="http://127.0.0.1:9", failure_threshold=2, recovery_timeout=3600.0)
    for _ in range(3):
        store.log_trials("r", TRIALS)
    assert caplog.text.count("gave up after") == 2
    assert "was not called: 2 consecutive calls failed" in caplog.text
    assert store.tracking_state("r").startswith("degraded: 12 trials or files")
