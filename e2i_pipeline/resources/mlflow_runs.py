"""Experiments and runs: one run per training, found or created by its key.

What is logged to a run stands in `mlflow_records`, its model in `mlflow_models`. A trial that is to be a nested
run must carry neither the training key nor `dagster_run_id`: both name the training's one run.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.errors import E2IError, ToolRejected
from e2i_pipeline.resources.mlflow_connection import MlflowConnection
from e2i_pipeline.resources.mlflow_glance import Glance
from e2i_pipeline.resources.mlflow_records import LONGEST_TAG, refuse_long
from e2i_pipeline.storage.leases import Leases

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

TRAINING_KEY = "e2i.training_key"
"""Tag of runs and versions: the training that they belong to."""

PARENT = "mlflow.parentRunId"
"""Tag by which MLflow shows a run beneath another."""

DAGSTER_RUN_ID = "dagster_run_id"
"""Tag of a run: the Dagster run that created it. The name is dagster-mlflow's."""

_log = logging.getLogger(__name__)


class RunHandle(NamedTuple):
    """A training's run: its id, its experiment's id, and whether this call made it."""

    run_id: str
    experiment_id: str
    is_new: bool


class MlflowRuns(MlflowConnection):
    """Experiments, and the one run of a training."""

    def get_or_create_experiment(self, name: str, tags: Mapping[str, str] | None = None) -> str:
        """The id of the experiment `<experiment_prefix>/<name>`, made when absent.

        Args:
            name: Usually the brand; a name that begins with the prefix is taken as it is.
            tags: Tags of a new experiment, beside the default ones.

        Raises:
            ToolRejected: Somebody deleted the experiment: it must be restored or removed for good first.
        """
        full = name if name.startswith(self.experiment_prefix) else f"{self.experiment_prefix}/{name}"
        with self._client(f"open the experiment {full}") as client:
            experiment = client.get_experiment_by_name(full)
            if experiment is None:
                with self._locked("experiments"):
                    experiment = client.get_experiment_by_name(full) or self._new_experiment(client, full, tags or {})
            if experiment.lifecycle_stage != "active":
                raise ToolRejected(
                    f"MLflow's experiment {full} was deleted. Restore it with `mlflow experiments restore "
                    f"--experiment-id {experiment.experiment_id}`, or remove it for good with `mlflow gc`."
                )
            return experiment.experiment_id

    def find_run(self, training_key: str) -> str | None:
        """The id of the training's run, whatever its status; None where it has none.

        An SQLite store is only looked into, without importing MLflow.
        """
        if seen := Glance(self.tracking_uri).run(TRAINING_KEY, training_key, self.experiment_prefix):
            return seen.value
        with self._client(f"look for the run of training {training_key}") as client:
            run = self._oldest_run(client, training_key)
            return run.info.run_id if run else None

    def open_run(
        self, training_key: str, brand: str, experiment: str, run_name: str, tags: Mapping[str, str] | None = None
    ) -> RunHandle:
        """Finds the training's run, or creates it, and sets it to RUNNING.

        However many processes ask at once, and however often one was killed and asks again, there is one run. Two
        machines, which share no lock, settle on the older of two runs. A run that dagster-mlflow made for the same
        Dagster run is taken over: in one process it makes one before the first asset begins.

        Args:
            training_key: The training's key.
            brand: The brand, a tag.
            experiment: As in `get_or_create_experiment`.
            run_name: Name of a new run.
            tags: Tags of a new run, e.g. `dagster_run_id`: the Dagster run that created it, by which dagster-mlflow
                finds it. A run that exists keeps the values it has and takes what it lacks.
        """
        wanted = {**self.default_tags, **(tags or {}), "brand": brand, TRAINING_KEY: training_key}
        refuse_long(wanted, LONGEST_TAG, "tag")
        experiment_id = self.get_or_create_experiment(experiment)
        with self._client(f"open the run of training {training_key}") as client, self._locked("runs"):
            run = self._oldest_run(client, training_key) or _unclaimed(client, experiment_id, wanted, run_name)
            if run is not None:
                _resume(client, run, wanted)
                return RunHandle(run.info.run_id, run.info.experiment_id, is_new=False)
            made = client.create_run(experiment_id, tags=wanted, run_name=run_name).info
            oldest = self._oldest_run(client, training_key)
            kept = oldest.info if oldest else made
            if kept.run_id != made.run_id:
                client.delete_run(made.run_id)
            return RunHandle(kept.run_id, kept.experiment_id, is_new=kept.run_id == made.run_id)

    def finish_run(self, run_id: str, status: str = "FINISHED") -> None:
        """Ends a run as `FINISHED`, `FAILED` or `KILLED`."""
        with self._client(f"end run {run_id} as {status}") as client:
            client.set_terminated(run_id, status=status)

    @contextmanager
    def run(
        self, training_key: str, brand: str, experiment: str, run_name: str, tags: Mapping[str, str] | None = None
    ) -> Iterator[RunHandle]:
        """The training's run, open inside the block and ended after it: FINISHED, FAILED, or KILLED by an interrupt.

        A lease says so for as long; see `end_abandoned_runs`. The arguments are those of `open_run`.
        """
        leases = self._leases()
        leases.take(training_key)
        handle = self.open_run(training_key, brand, experiment, run_name, tags)
        try:
            yield handle
        except BaseException as err:
            if self._end_after(err, handle.run_id):
                leases.release(training_key)
            raise
        self.finish_run(handle.run_id)
        leases.release(training_key)

    def end_abandoned_runs(self) -> None:
        """Ends as KILLED the runs that a process of this machine had open when it was killed.

        The same training resumes its run, but after a change of the configuration it would be another training, and the
        run would stay RUNNING for ever. A run beneath it that was begun and not ended is deleted: it is half written,
        and who resumes the training writes it whole. Nothing is asked of MLflow where no process was killed.

        Raises:
            ToolUnavailable: MLflow did not answer; the runs will be found again.
            ToolRejected: MLflow refused.
        """
        leases = self._leases()
        for training_key in leases.abandoned():
            with self._client(f"end the run of training {training_key}") as client, self._locked("runs"):
                run = self._oldest_run(client, training_key)
                if run is None or leases.is_held(training_key):
                    continue
                with self._locked(f"trials-{run.info.run_id}"):
                    for begun in _running_beneath(client, run):
                        client.delete_run(begun.info.run_id)
                if run.info.status == "RUNNING":
                    client.set_terminated(run.info.run_id, status="KILLED")

    def _leases(self) -> Leases:
        return Leases(Path(self.lock_dir) / "mlflow-trainings")

    def _new_experiment(self, client: "MlflowClient", name: str, tags: Mapping[str, str]) -> "Experiment":
        from mlflow.exceptions import MlflowException

        location = None
        if self.artifact_root:
            root = self.artifact_root if "://" in self.artifact_root else str(Path(self.artifact_root).absolute())
            location = f"{root.rstrip('/')}/{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}"
        try:
            client.create_experiment(name, artifact_location=location, tags={**self.default_tags, **tags})
        except MlflowException as err:
            if err.error_code != "RESOURCE_ALREADY_EXISTS":  # then another machine was first
                raise
        made = client.get_experiment_by_name(name)
        if made is None:
            raise ToolRejected(f"MLflow says that the experiment {name} exists and does not show it.")
        return made

    def _oldest_run(self, client: "MlflowClient", training_key: str) -> "Run | None":
        experiments = [
            e.experiment_id for e in client.search_experiments() if e.name.startswith(self.experiment_prefix)
        ]
        query = f"tags.`{TRAINING_KEY}` = '{training_key}'"
        runs = client.search_runs(experiments, query) if experiments else []
        return min(runs, key=_age, default=None)

    def _end_after(self, err: BaseException, run_id: str) -> bool:
        """Ends the run of a block that raised; what it raised counts for more than a tool that fails now."""
        status = "FAILED" if isinstance(err, Exception) else "KILLED"
        try:
            self.finish_run(run_id, status)
        except E2IError as also:
            _log.warning(
                "run %s could not be ended as %s and stays RUNNING until a later process ends it: %s",
                run_id,
                status,
                also,
            )
            return False
        return True


def _unclaimed(client: "MlflowClient", experiment_id: str, tags: Mapping[str, str], run_name: str) -> "Run | None":
    """The run that dagster-mlflow made for this Dagster run, where it belongs to no training yet."""
    if not tags.get(DAGSTER_RUN_ID):
        return None
    runs = client.search_runs([experiment_id], f"tags.{DAGSTER_RUN_ID} = '{tags[DAGSTER_RUN_ID]}'")
    free = [run for run in runs if TRAINING_KEY not in run.data.tags]
    if not free:
        return None
    oldest = min(free, key=_age)
    client.update_run(oldest.info.run_id, name=run_name)
    return oldest


def _running_beneath(client: "MlflowClient", run: "Run") -> "list[Run]":
    query = f"tags.`{PARENT}` = '{run.info.run_id}' AND attributes.status = 'RUNNING'"
    return list(client.search_runs([run.info.experiment_id], query))


def _age(run: "Run") -> tuple[int, str]:
    return run.info.start_time, run.info.run_id


def _resume(client: "MlflowClient", run: "Run", tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        if name not in run.data.tags:
            client.set_tag(run.info.run_id, name, value)
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
