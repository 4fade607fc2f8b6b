"""A study's trials as nested runs of their training's run, and pictures: what a training can do without.

Auxiliary: where MLflow does not answer, the circuit opens, what is missing waits in a spool in the state folder, and
the next run that reaches MLflow delivers it. A trial's run carries neither the training key nor `dagster_run_id`: both
name the training's one run. It is found again by its parent and its number (`e2i.trial`), so that a study that is
resumed never doubles a trial. Which run is the training's stands in `mlflow_runs`.
"""

import base64
import functools
import json
import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.errors import E2IError, ToolRejected
from e2i_pipeline.resources.mlflow_connection import is_refusal
from e2i_pipeline.resources.mlflow_records import LONGEST_PARAM, MlflowRecords, finite
from e2i_pipeline.resources.mlflow_runs import PARENT
from e2i_pipeline.resources.resilience import CircuitBreaker, Spool

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRIAL, TRIAL_STATE = "e2i.trial", "e2i.trial_state"
"""Tags of a trial's run: its number in the study, and how Optuna says it ended."""

PLACES = ("batch", "slot")
"""What a study may say of a trial's place in it; each is a tag of that name, after `e2i.`."""

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""MLflow's status per state of a trial: a pruned one was ended on purpose."""

_DELIVERED_AT_ONCE = 25  # records after which the spool forgets what it has delivered
_PAGE = 1_000
_log = logging.getLogger(__name__)


class MlflowTrials(MlflowRecords):
    """Nested runs and pictures, behind a circuit and a spool.

    Attributes:
        failure_threshold: Consecutive failures that open the circuit.
        recovery_timeout: Seconds that it stays open.
        half_open_requests: Calls that must succeed before it closes.
    """

    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    half_open_requests: int = 3

    def log_trials(self, run_id: str, trials: Sequence[Mapping[str, Any]], metric: str = "value") -> None:
        """Keeps a study's trials: each as a nested run, all of them as one file, `study/trials.json`.

        It is called once the study has ended, so that no trial waits for it. Trials that are there are left as they
        are. Nothing is raised where MLflow fails: what is missing waits in the spool.

        Args:
            run_id: The training's run.
            trials: Per trial `number`, `state`, `value`, `algorithm`, `parameters`, `seconds`, and its `PLACES`.
            metric: Name of the metric that `value` is.
        """
        records = [{"kind": "trial", "run_id": run_id, "metric": metric, "trial": _plain(trial)} for trial in trials]
        history = {"trials.json": _history(trials)}
        self._log_or_keep([*records, _file_record(run_id, "study", history)])

    def log_pictures(self, run_id: str, pictures: Mapping[str, bytes], folder: str) -> None:
        """Keeps pictures (PNG) with a run, under a folder of its artifacts; where MLflow fails they wait in the spool.

        Args:
            run_id: The run.
            pictures: Picture by name, without an ending.
            folder: Folder within the run's artifacts.
        """
        if pictures:
            files = {f"{name.replace(' ', '_')}.png": png for name, png in pictures.items()}
            self._log_or_keep([_file_record(run_id, folder, files)])

    def deliver_waiting(self) -> int:
        """Delivers what waits in the spool; where MLflow does not answer it goes on waiting.

        Returns:
            Records delivered.
        """
        spool = self._spool()
        if not spool.file.exists():
            return 0
        try:
            return spool.deliver(self._receive, _DELIVERED_AT_ONCE)
        except E2IError as err:
            _log.warning("degraded: %s", err)
            return 0

    def tracking_state(self, run_id: str) -> str:
        """Whether all that a training wrote is in MLflow, in words for people."""
        waiting = self._spool().count(lambda record: record.get("run_id") == run_id)
        if not waiting:
            return "complete"
        return (
            f"degraded: {waiting} trials or files of this training wait in {self._spool().file}, since MLflow at "
            f"{self.redacted()} did not take them; the next run that reaches it delivers them"
        )

    def _log_or_keep(self, records: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._receive(records)
        except E2IError as err:
            _log.warning("degraded: %s What was not logged waits in %s.", err, self._spool().file)
            self._spool().add(records)

    def _receive(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Writes records, each at most once; those that MLflow will never take are told and let go."""
        by_run: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for record in records:
            by_run[record["run_id"]].append(record)
        circuit = _circuit(self.tracking_uri, os.getpid(), *self._limits())
        for run_id, of_run in by_run.items():
            circuit.call(functools.partial(self._write_or_let_go, run_id, of_run))

    def _write_or_let_go(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._write(run_id, records)
        except ToolRejected as err:  # it answered: no reason to leave it alone
            _log.warning("%d records of run %s were refused and are left out: %s", len(records), run_id, err)

    def _write(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            if record["kind"] == "files":
                files = {name: base64.b64decode(text) for name, text in record["files"].items()}
                self.log_files(run_id, files, record["folder"])
        trials = [record for record in records if record["kind"] == "trial"]
        if not trials:
            return
        with self._client(f"log {len(trials)} trials of run {run_id}") as client, self._locked(f"trials-{run_id}"):
            parent = client.get_run(run_id)
            known = _nested(client, parent)
            for record in trials:
                found = known.get(str(record["trial"]["number"]), [])
                if not any(run.info.status != "RUNNING" for run in found):
                    self._write_trial(client, parent, record, found[0].info.run_id if found else None)
            _settle_doubles(client, parent)

    def _write_trial(self, client: "MlflowClient", parent: "Run", record: Mapping[str, Any], begun: str | None) -> None:
        """One trial in as few calls as MLflow has; one that a killed process had begun is completed.

        What MLflow refuses of one trial is told and left out: neither stays its run RUNNING, nor do the others wait.
        """
        from mlflow.entities import Metric, Param
        from mlflow.utils.time import get_current_time_millis

        trial, now = record["trial"], get_current_time_millis()
        seconds = float(trial.get("seconds") or 0.0)
        tags = {PARENT: parent.info.run_id, TRIAL: str(trial["number"]), TRIAL_STATE: trial["state"]}
        tags |= {name: parent.data.tags[name] for name in ("brand", "e2i.agent") if name in parent.data.tags}
        tags |= {f"e2i.{name}": str(trial[name]) for name in PLACES if trial.get(name) is not None}
        run_id = (
            begun
            or client.create_run(
                parent.info.experiment_id,
                start_time=now - round(seconds * 1_000),
                tags={**self.default_tags, **tags},
                run_name=f"trial {trial['number']}",
            ).info.run_id
        )
        figures = {record["metric"]: trial.get("value"), "seconds": seconds}
        params = {"algorithm": trial.get("algorithm") or "none", **trial.get("parameters", {})}
        points = [Metric(name, float(value), now, 0) for name, value in figures.items() if value is not None]
        try:
            client.log_batch(run_id, points, [Param(name, str(v)[:LONGEST_PARAM]) for name, v in params.items()])
        except Exception as err:
            if not is_refusal(err):
                raise
            _log.warning("trial %s of run %s is kept without its parameters: %s", tags[TRIAL], tags[PARENT], err)
        client.set_terminated(run_id, STATUS.get(trial["state"], "FAILED"), end_time=now)

    def _spool(self) -> Spool:
        return Spool(Path(self.lock_dir).parent / "mlflow" / "waiting.jsonl")

    def _limits(self) -> tuple[int, float, int]:
        return self.failure_threshold, self.recovery_timeout, self.half_open_requests


@functools.cache
def _circuit(_uri: str, _process: int, threshold: int, recovery: float, half_open: int) -> CircuitBreaker:
    """One circuit per server and process: a resource is made anew for each run."""
    return CircuitBreaker("MLflow (trials and pictures)", threshold, recovery, half_open)


def _nested(client: "MlflowClient", parent: "Run") -> "dict[str, list[Run]]":
    """The runs beneath a run by their trial's number, oldest first."""
    found: dict[str, list[Run]] = defaultdict(list)
    query, token = f"tags.`{PARENT}` = '{parent.info.run_id}'", None
    while True:
        page = client.search_runs([parent.info.experiment_id], query, max_results=_PAGE, page_token=token)
        for run in page:
            if TRIAL in run.data.tags:
                found[run.data.tags[TRIAL]].append(run)
        if not (token := page.token):
            break
    return {number: sorted(runs, key=lambda run: run.info.run_id) for number, runs in found.items()}


def _settle_doubles(client: "MlflowClient", parent: "Run") -> None:
    """Two machines share no lock: of two runs of one trial both keep the same one."""
    for runs in _nested(client, parent).values():
        ended = [run for run in runs if run.info.status != "RUNNING"]
        for run in ended[1:]:
            client.delete_run(run.info.run_id)


def _file_record(run_id: str, folder: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    texts = {name: base64.b64encode(content).decode("ascii") for name, content in files.items()}
    return {"kind": "files", "run_id": run_id, "folder": folder, "files": texts}


def _plain(trial: Mapping[str, Any]) -> dict[str, Any]:
    return finite(dict(trial))


def _history(trials: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps([_plain(trial) for trial in trials], indent=1, default=str).encode()
