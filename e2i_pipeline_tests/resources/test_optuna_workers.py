"""Further workers of a study: they change nothing but the time it takes, and none outlives what it works for."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.optuna_batches import KILLED, attributes_of
from e2i_pipeline.resources.optuna_records import StudyOutcome
from e2i_pipeline.resources.optuna_storage import open_storage
from e2i_pipeline.resources.optuna_workers import Workers, workers_for
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.kill_studies import NAME, SPACE, run, search
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

postgres = servers.postgres
SECONDS = 120

_STUDY = """
import sys
from e2i_pipeline_tests.resources.test_optuna_workers import study
study(sys.argv[1], 40, on_trial=lambda trial: print(trial["finished"], flush=True))
"""


SLOW: dict[str, dict[str, Any]] = {
    "xgboost": {
        "n_estimators": [800],
        "max_depth": {"low": 4, "high": 8},
        "learning_rate": {"low": 0.001, "high": 0.002},
    }
}
"""Trials that take most of a second each, so that a worker is there before the study is over."""


def study(
    url: str, n_trials: int, space: dict[str, dict[str, Any]] = SPACE, n_jobs: int = 2, **arguments: object
) -> StudyOutcome:
    """The study of the kill tests with a further worker at once, where there is a second core for it."""
    return OptunaResource(storage=url, n_trials=n_trials, n_jobs=n_jobs, workers_after_seconds=0).optimize(
        NAME,
        list(space),
        space,
        modelling_rows(600, seed=1),
        modelling_rows(300, seed=2),
        FEATURES,
        metric="auc",
        direction="maximize",
        seed=3,
        early_stopping_rounds=15,
        **arguments,  # type: ignore[arg-type]
    )


def test_a_worker_that_was_ordered_changes_nothing_and_ends_with_the_study(tmp_path: Path) -> None:
    before = set(psutil.Process().children())  # servers of other tests

    shared = study(f"journal://{tmp_path}/shared.log", 40)

    assert search(shared) == search(run(f"journal://{tmp_path}/alone.log", 40))
    assert not set(psutil.Process().children()) - before


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a second worker needs a second core")
def test_a_worker_that_was_ordered_takes_its_share(tmp_path: Path) -> None:
    url = f"journal://{tmp_path}/shared.log"
    shared = study(url, 24, SLOW)

    with open_storage(url) as storage:
        trials = optuna.load_study(study_name=NAME, storage=storage.optuna).trials
    began = sorted(t.datetime_start for t in trials if t.datetime_start)
    ended = sorted(t.datetime_complete for t in trials if t.datetime_complete)
    assert any(start < end for start, end in zip(began[1:], ended, strict=False))  # two at once
    assert search(shared) == search(study(f"journal://{tmp_path}/alone.log", 24, SLOW, n_jobs=1))


def test_a_worker_ends_with_who_ordered_it_however_that_ended(tmp_path: Path) -> None:
    url = f"journal://{tmp_path}/journal.log"
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        [sys.executable, "-W", "ignore", "-c", _STUDY, url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "3":
        assert process.poll() is None
    workers = psutil.Process(process.pid).children()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    _, alive = psutil.wait_procs(workers, timeout=SECONDS)
    assert not alive
    assert search(run(url, 40)) == search(run(f"journal://{tmp_path}/alone.log", 40))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_with_nothing_in_common_but_the_storage_share_a_study(
    tmp_path: Path, kind: str, postgres: servers.Postgres
) -> None:
    url = f"sqlite:///{tmp_path}/studies.db" if kind == "sqlite" else postgres.database()
    code = "import sys; from e2i_pipeline_tests.kill_studies import run; print(run(sys.argv[1], 12).best_value)"
    command = [sys.executable, "-W", "ignore", "-c", code, url]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]  # noqa: S603
    said = [process.communicate()[0].strip() for process in both]

    alone = run(f"journal://{tmp_path}/alone.log", 12)
    assert [process.returncode for process in both] == [0, 0]
    assert said == [str(alone.best_value)] * 2
    assert search(run(url, 12)) == search(alone)


def test_a_worker_that_hangs_is_told_of_and_its_trial_is_tried_again_when_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("e2i_pipeline.resources.optuna_study._SAY_SECONDS", 0.0)
    url = f"journal://{tmp_path}/journal.log"
    run(url, 1)
    with open_storage(url) as storage, ThreadPoolExecutor(1) as pool:
        study_id = storage.optuna.get_study_id_from_name(NAME)
        held = copy(storage.optuna.get_all_trials(study_id)[0])
        held.state, held.values, held.user_attrs = optuna.trial.TrialState.RUNNING, None, attributes_of(1, 8, 0)
        storage.optuna.create_new_trial(study_id, held)
        assert storage.locks.take(NAME, 1)
        going_on = pool.submit(run, url, 3)
        while "waits for 1 (trial 1) with other workers" not in caplog.text:
            assert not going_on.done()
        storage.locks.release(NAME, 1)
        outcome = going_on.result(SECONDS)

    assert outcome.failures == {KILLED: 1}
    assert outcome.trials["COMPLETE"] + outcome.trials["PRUNED"] == 3


def test_a_worker_that_fails_is_told_of_and_the_study_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failed = Workers(1, 0, f"journal://{tmp_path}/journal.log", lambda file: file.close(), missing=9)
    with failed:
        (worker,) = _started(failed)
        assert worker.wait(SECONDS)
        while not caplog.records:
            assert failed.is_watching
    assert "a further worker of the study failed; it goes on without: json.decoder.JSONDecodeError" in caplog.text


def test_cores_are_shared_by_workers() -> None:
    assert workers_for(4, cores=2) == (2, 1)
    assert workers_for(4, cores=32) == (4, 8)
    assert workers_for(1, cores=2) == (1, 2)


def _started(workers: Workers) -> list["subprocess.Popen[bytes]"]:
    while not workers.processes:
        assert workers.is_watching
    return workers.processes
