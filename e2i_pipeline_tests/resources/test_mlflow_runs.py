"""One run per training: however many ask, however often, and whatever became of it before."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from types import SimpleNamespace
from typing import Any, NamedTuple

import dagster as dg
import mlflow
import pytest

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in, unopened_store_in


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


def test_experiment_is_made_once_under_the_artifact_root(store: MlflowResource) -> None:
    first = store.get_or_create_experiment("Kisqali", {"owner": "someone"})
    assert store.get_or_create_experiment("Kisqali") == store.get_or_create_experiment("e2i/Kisqali") == first
    experiment = client_of(store).get_experiment(first)
    assert experiment.name == "e2i/Kisqali"
    assert experiment.tags == {"platform": "e2i", "environment": "development", "owner": "someone"}
    assert experiment.artifact_location == f"{store.artifact_root}/e2i-Kisqali"


def test_deleted_experiment_is_refused_with_the_way_out(store: MlflowResource) -> None:
    experiment = store.get_or_create_experiment("Kisqali")
    client_of(store).delete_experiment(experiment)
    with pytest.raises(ToolRejected, match=f"mlflow experiments restore --experiment-id {experiment}"):
        store.open_run("k1", "Kisqali", "Kisqali", "run")


def test_run_is_found_by_its_training_key(store: MlflowResource) -> None:
    assert store.find_run("k1") is None
    made = store.open_run("k1", "Kisqali", "Kisqali", "the run", {"dagster_run_id": "d1"})
    again = store.open_run("k1", "Kisqali", "Kisqali", "another name", {"dagster_run_id": "d2", "late": "yes"})
    other = store.open_run("k2", "Kisqali", "Kisqali", "run")

    assert made.is_new
    assert (again.run_id, again.experiment_id, again.is_new) == (made.run_id, made.experiment_id, False)
    assert other.run_id != made.run_id
    assert store.find_run("k1") == made.run_id
    run = client_of(store).get_run(made.run_id)
    assert run.info.run_name == "the run"
    assert run.info.status == "RUNNING"
    expected = {"platform": "e2i", "environment": "development", "brand": "Kisqali", "e2i.training_key": "k1"}
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["dagster_run_id"] == "d1", "the Dagster run that created it"
    assert run.data.tags["late"] == "yes"


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "FINISHED"])
def test_run_that_ended_is_resumed(store: MlflowResource, status: str) -> None:
    run_id = store.open_run("k1", "Kisqali", "Kisqali", "run").run_id
    store.finish_run(run_id, status)
    assert client_of(store).get_run(run_id).info.status == status
    assert store.open_run("k1", "Kisqali", "Kisqali", "run").run_id == run_id
    assert client_of(store).get_run(run_id).info.status == "RUNNING"


def test_deleted_run_is_not_found_again(store: MlflowResource) -> None:
    run_id = store.open_run("k1", "Kisqali", "Kisqali", "run").run_id
    client_of(store).delete_run(run_id)
    assert store.find_run("k1") is None
    assert store.open_run("k1", "Kisqali", "Kisqali", "run").is_new


def test_run_block_ends_the_run(store: MlflowResource) -> None:
    with store.run("k1", "Kisqali", "Kisqali", "run") as run:
        assert client_of(store).get_run(run.run_id).info.status == "RUNNING"
    assert client_of(store).get_run(run.run_id).info.status == "FINISHED"


def _fail(store: MlflowResource, error: BaseException, *, is_deleted: bool = False) -> None:
    with store.run("k1", "Kisqali", "Kisqali", "run") as run:
        if is_deleted:
            client_of(store).delete_run(run.run_id)
        raise error


@pytest.mark.parametrize(("error", "status"), [(ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_run_block_that_raises_ends_the_run_too(store: MlflowResource, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)):
        _fail(store, error)
    run_id = store.find_run("k1")
    assert run_id is not None
    assert client_of(store).get_run(run_id).info.status == status


def test_block_raises_its_own_error_when_the_run_cannot_be_ended(
    store: MlflowResource, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="the block's own"):
        _fail(store, ValueError("the block's own"), is_deleted=True)
    assert "could not be ended as FAILED" in caplog.text


def test_two_runs_of_two_machines_settle_on_the_older(store: MlflowResource) -> None:
    experiment = store.get_or_create_experiment("Kisqali")
    client = client_of(store)
    newer = client.create_run(experiment, start_time=2_000, tags={"e2i.training_key": "k1"}).info.run_id
    older = client.create_run(experiment, start_time=1_000, tags={"e2i.training_key": "k1"}).info.run_id
    assert store.open_run("k1", "Kisqali", "Kisqali", "run").run_id == older != newer


_PROCESS = """
import json, logging, os, sys
from e2i_pipeline.resources.mlflow import MlflowResource
assert not {"mlflow", "dagster_mlflow", "pandas"} & set(sys.modules), "imported before it is used"
logging.basicConfig(level=logging.INFO)
def wait(what):
    print(what, flush=True)
    sys.stdin.readline()
wait("imported")
store = MlflowResource(**json.loads(sys.argv[1]))
store.search_models()
logging.getLogger("ours").warning("ours")
import pandas, mlflow.telemetry.utils
wait("opened")
runs = [store.open_run(f"k{i}", "Kisqali", "Kisqali", "run") for i in range(20)]
example = pandas.DataFrame({"age": [50.0]})
models = [store.log_model(run.run_id, {"model.json": b"{}"}, example, None, ["numpy"]) for run in runs[:3]]
versions = [
    store.register_model("Kisqali", "conversion", run.run_id, model, f"k{i}").version
    for i, (run, model) in enumerate(zip(runs, models))
]
print(json.dumps({
    "same": [[run.run_id for run in runs], models, versions],
    "new": sum(run.is_new for run in runs),
    "is_telemetry_disabled": mlflow.telemetry.utils.is_telemetry_disabled(),
    "retries": os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"],
    "timeout": os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"],
}))
"""


class Pair(NamedTuple):
    """Two processes that used a new store at the same moment: what they said, and what stands there."""

    answers: list[dict[str, Any]]
    errors: list[str]
    store: MlflowResource


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    store = unopened_store_in(folder)
    kept = {n: v for n, v in os.environ.items() if not n.startswith("MLFLOW_") and n != "DO_NOT_TRACK"}
    options: dict[str, Any] = {
        "stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "text": True, "cwd": folder,
        "env": {**kept, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7"},
    }  # fmt: skip
    command = [sys.executable, "-c", _PROCESS, json.dumps(store.model_dump())]
    processes = [Popen(command, **options) for _ in range(2)]  # noqa: S603
    for expected in ("imported", "opened"):
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{expected}\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    told = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    return Pair([json.loads(said) for said, _ in told], [errors for _, errors in told], store)


def test_processes_at_once_share_one_run_one_model_and_one_version_per_training(pair: Pair) -> None:
    first, second = pair.answers
    assert first["same"] == second["same"]
    assert first["new"] + second["new"] == 20
    client = client_of(pair.store)
    experiment = client.get_experiment_by_name("e2i/Kisqali")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 20
    assert len(client.search_logged_models([experiment.experiment_id])) == 3
    assert len(pair.store.search_models()) == 3


def test_first_use_sets_mlflow_up_and_is_quiet(pair: Pair) -> None:
    assert pair.errors == ["WARNING:ours:ours\n"] * 2
    for answer in pair.answers:
        assert answer["is_telemetry_disabled"]
        assert (answer["retries"], answer["timeout"]) == ("7", "10"), "a value of the user's own stands"


@pytest.fixture
def own_mlflow_state() -> Iterator[None]:
    """dagster-mlflow works on MLflow's global state: what it leaves there ends with the test."""
    before = mlflow.get_tracking_uri()
    yield
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


def _dagster_mlflow_config(store: MlflowResource) -> dict[str, object]:
    return {
        "experiment_name": "e2i/Kisqali",
        "mlflow_tracking_uri": store.tracking_uri,
        "env": {},
        "extra_tags": {},
    }


@pytest.mark.usefixtures("own_mlflow_state")
def test_dagster_mlflow_in_a_process_of_its_own_finds_the_run(store: MlflowResource) -> None:
    """With a process per step, dagster-mlflow looks for its run when the run is already there."""
    from dagster_mlflow.resources import MlFlow

    ours = store.open_run("k1", "Kisqali", "Kisqali", "training", {"dagster_run_id": "d1"})
    store.log_trials(ours.run_id, [{"number": 0, "state": "COMPLETE", "value": 0.7, "parameters": {}}])
    context = SimpleNamespace(
        log=SimpleNamespace(info=lambda _: None),
        dagster_run=SimpleNamespace(job_name="job"),
        run_id="d1",
        resource_config=_dagster_mlflow_config(store),
    )
    assert MlFlow(context).mlflow_run_id == ours.run_id


_KILLED = """
import json, os, signal, sys
from e2i_pipeline.resources.mlflow import MlflowResource
store = MlflowResource(**json.loads(sys.argv[1]))
with store.run("ended", "Kisqali", "Kisqali", "run"):
    pass
with store.run("k1", "Kisqali", "Kisqali", "run"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(store: MlflowResource) -> MlflowResource:
    """A store in which a process was killed in the middle of a training."""
    command = [sys.executable, "-c", _KILLED, json.dumps(store.model_dump())]
    assert Popen(command).wait() == -9  # noqa: S603 - our own interpreter, no shell
    assert _statuses(store) == {"ended": "FINISHED", "k1": "RUNNING"}
    return store


def _statuses(store: MlflowResource) -> dict[str, str]:
    client = client_of(store)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.data.tags["e2i.training_key"]: run.info.status for run in runs}


def test_a_run_left_by_a_killed_process_ends_when_another_begins_its_work(killed: MlflowResource) -> None:
    """As after a change of the configuration: the next run has another training key, and never resumes this one."""
    with killed.run("k2", "Kisqali", "Kisqali", "run"):
        killed.end_abandoned_runs()
        assert _statuses(killed) == {"ended": "FINISHED", "k1": "KILLED", "k2": "RUNNING"}
    assert _statuses(killed)["k2"] == "FINISHED"


def test_a_run_left_by_a_killed_process_is_resumed_by_its_training(killed: MlflowResource) -> None:
    before = killed.find_run("k1")
    killed.end_abandoned_runs()
    with killed.run("k1", "Kisqali", "Kisqali", "run") as resumed:
        killed.end_abandoned_runs()
        assert _statuses(killed)["k1"] == "RUNNING"
    assert resumed.run_id == before
    assert _statuses(killed)["k1"] == "FINISHED"


def test_a_trial_that_a_killed_process_had_begun_is_written_whole_or_not_at_all(killed: MlflowResource) -> None:
    client, parent = client_of(killed), killed.find_run("k1")
    assert parent is not None
    experiment = client.get_run(parent).info.experiment_id
    beneath = f"tags.`mlflow.parentRunId` = '{parent}'"
    client.create_run(experiment, tags={"mlflow.parentRunId": parent, "e2i.trial": "0"})
    killed.end_abandoned_runs()
    assert list(client.search_runs([experiment], beneath)) == []
    with killed.run("k1", "Kisqali", "Kisqali", "run"):
        killed.log_trials(parent, [{"number": 0, "state": "COMPLETE", "value": 0.7, "parameters": {}}], "auc")
    [trial] = client.search_runs([experiment], beneath)
    assert (trial.info.status, trial.data.metrics["auc"]) == ("FINISHED", 0.7)


def test_a_run_that_another_machine_has_open_stays_as_it_is(store: MlflowResource) -> None:
    """It was opened over the same server and not from this state folder, so nothing here knows what became of it."""
    store.open_run("k1", "Kisqali", "Kisqali", "run")
    store.end_abandoned_runs()
    assert _statuses(store) == {"k1": "RUNNING"}


@pytest.mark.parametrize("is_nested", [False, True])
def test_dagster_ends_what_was_left_before_a_run_begins(killed: MlflowResource, is_nested: bool) -> None:
    class Stage(dg.ConfigurableResource):
        mlflow: MlflowResource

    with dg.build_resources({"stage": Stage(mlflow=killed) if is_nested else killed}) as resources:
        assert resources.stage is not None
    assert _statuses(killed) == {"ended": "FINISHED", "k1": "KILLED"}


def test_a_server_that_does_not_answer_is_no_reason_not_to_begin(
    killed: MlflowResource, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = MlflowResource(**{**killed.model_dump(), "tracking_uri": "http://127.0.0.1:9"})
    with dg.build_resources({"mlflow": gone}):
        assert "still RUNNING in MLflow" in caplog.text
    killed.end_abandoned_runs()
    assert _statuses(killed) == {"ended": "FINISHED", "k1": "KILLED"}
