"""What is logged to a run: tags, parameters, metrics, files.

Which run that is stands in `mlflow_runs`; a study's trials in `mlflow_trials`, its dataset and environment in
`mlflow_lineage`. A retry may log all of it again without changing anything.
"""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.mlflow_connection import MlflowConnection

LONGEST_PARAM, LONGEST_TAG = 6_000, 8_000
"""Characters beyond which MLflow cuts a value short with no more than a warning (mlflow.utils.validation, 3.17)."""

_METRICS_PER_BATCH, _PER_BATCH = 800, 100  # MLflow takes 100 parameters, 100 tags, and 1,000 entities in all


class MlflowRecords(MlflowConnection):
    """Tags, parameters, metrics and files of a run."""

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Sets tags on a run; a tag that exists takes the new value.

        Raises:
            ToolRejected: A value is longer than `LONGEST_TAG` characters.
        """
        refuse_long(tags, LONGEST_TAG, "tag")
        self._log_batch(run_id, {}, {}, 0, tags)

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Logs parameters, once and for all: the same value again is fine.

        Raises:
            ToolRejected: A parameter has another value already, or is longer than `LONGEST_PARAM` characters.
        """
        self.log_batch(run_id, params=params)

    def param(self, run_id: str, name: str) -> str:
        """A parameter of a run; empty where it has none of that name."""
        with self._client(f"read run {run_id}") as client:
            return str(client.get_run(run_id).data.params.get(name, ""))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Logs metrics at a step; step 0 is for figures that stand for the whole training."""
        self.log_batch(run_id, metrics=metrics, step=step)

    def log_batch(
        self,
        run_id: str,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
    ) -> None:
        """Logs parameters and metrics in as few calls as possible.

        A retry changes nothing: a parameter keeps its value, and a metric that at step 0 has the value already is not
        logged a second time.

        Raises:
            ToolRejected: As for `log_params`.
        """
        texts = {name: str(value) for name, value in (params or {}).items()}
        refuse_long(texts, LONGEST_PARAM, "parameter")
        with self._client(f"read run {run_id}") as client:
            known = client.get_run(run_id).data
        changed = [f"{n} from {known.params[n]} to {v}" for n, v in texts.items() if known.params.get(n, v) != v]
        if changed:
            raise ToolRejected(
                f"Run {run_id} has its parameters already, and MLflow never changes one: {'; '.join(changed)}. Other "
                f"parameters are another training, with another key; or set this run aside with `mlflow runs delete "
                f"--run-id {run_id}` and run the step again."
            )
        fresh = {n: v for n, v in (metrics or {}).items() if step or known.metrics.get(n) != v}
        self._log_batch(run_id, {n: v for n, v in texts.items() if n not in known.params}, fresh, step, {})

    def log_files(self, run_id: str, files: Mapping[str, bytes], folder: str = "") -> None:
        """Keeps files with the run, under a folder of its artifacts; a file of the same name is replaced.

        Args:
            run_id: The run.
            files: Content by name; a name may have folders in it.
            folder: Folder within the run's artifacts.
        """
        with tempfile.TemporaryDirectory(prefix="e2i-mlflow-") as scratch:
            write_files(Path(scratch), files)
            with self._client(f"store {len(files)} files of run {run_id}") as client:
                client.log_artifacts(run_id, scratch, folder or None)

    def _log_batch(
        self, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float], step: int, tags: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        points = [Metric(name, float(value), now, step) for name, value in metrics.items()]
        texts = [Param(name, value) for name, value in params.items()]
        labels = [RunTag(name, value) for name, value in tags.items()]
        with self._client(f"log to run {run_id}") as client:
            while points or texts or labels:
                client.log_batch(run_id, points[:_METRICS_PER_BATCH], texts[:_PER_BATCH], labels[:_PER_BATCH])
                del points[:_METRICS_PER_BATCH], texts[:_PER_BATCH], labels[:_PER_BATCH]


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a folder, making the folders that their names ask for."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of a folder and the folders in it, by their path within it."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def refuse_long(values: Mapping[str, str], longest: int, kind: str) -> None:
    """Refuses a value that MLflow would cut short.

    Args:
        values: Values by name.
        longest: Characters that MLflow keeps.
        kind: `parameter` or `tag`, for the message.

    Raises:
        ToolRejected: A value is longer.
    """
    for name, value in values.items():
        if len(value) > longest:
            raise ToolRejected(
                f"The {kind} {name} has {len(value):,} characters; MLflow would silently cut it after {longest:,}. "
                f"Keep it as a file of the run: log_files."
            )


def finite(value: Any) -> Any:
    """A JSON value without numbers that JSON does not know: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
