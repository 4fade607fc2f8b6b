# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""Materialization by known time, behind Feast's own `materialize`: its extension point `batch_engine`.

Feast looks at the event time only, so that it would serve values before they were known. Windows are kept by Feast's
registry as ever. A view that does not lie in a Parquet file as it is (another source, a transformation, an aggregation,
a copy offline) goes Feast's own way.
"""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from feast import BatchFeatureView, FeatureView, FileSource, RepoConfig, StreamFeatureView
from feast.data_format import ParquetFormat
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import _get_column_names
from pydantic import StrictInt, StrictStr

from e2i_pipeline.resources.engine import EngineResource, parquet
from e2i_pipeline.resources.feast_stores.latest import Source, in_key_order, latest
from e2i_pipeline.resources.feast_stores.writing import WRITE_ROWS, write

_DATASET = "e2i_dataset"


class KnownTimeEngineConfig(LocalComputeEngineConfig):
    """Settings.

    Attributes:
        memory_limit: DuckDB's limit, e.g. `2GB`; empty for its own of 80 % of the machine.
        threads: Threads of a query; 0 for all cores.
        temp_dir: Where DuckDB spills what does not fit; empty for a folder of the system's, removed afterwards.
    """

    type: StrictStr = f"{__name__}.KnownTimeEngine"  # pyright: ignore[reportIncompatibleVariableOverride]
    memory_limit: StrictStr = ""
    threads: StrictInt = 0
    temp_dir: StrictStr = ""


class KnownTimeEngine(LocalComputeEngine):
    """Writes each entity's last row that was known at the end of the window, if it became known within the window."""

    def __init__(
        self,
        *,
        backend: str | None = None,
        memory_limit: str = "",
        threads: int = 0,
        temp_dir: str = "",
        **feast: Any,
    ) -> None:
        super().__init__(backend=backend, **feast)
        self._limits = {"memory_limit": memory_limit, "threads": threads}
        self._temp_dir = temp_dir

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        view = task.feature_view
        if not is_plain(view):
            return super()._materialize_one(registry, task, **kwargs)
        job = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            self._write(registry, task)
        except Exception as err:
            return LocalMaterializationJob(job_id=job, status=MaterializationJobStatus.ERROR, error=err)
        return LocalMaterializationJob(job_id=job, status=MaterializationJobStatus.SUCCEEDED)

    def _write(self, registry: BaseRegistry, task: MaterializationTask) -> None:
        view, config = task.feature_view, self.repo_config
        start, end = task.start_time, task.end_time
        if task.disable_event_timestamp:  # all that is known by now
            start, end = datetime.fromtimestamp(0, UTC), datetime.now(UTC)
        if not view.online or self.online_store is None:
            return
        entities = [registry.get_entity(name, task.project) for name in view.entities]
        rows = config.materialization_config.online_write_batch_size or WRITE_ROWS
        with tempfile.TemporaryDirectory(prefix="e2i-feast-") as temp:
            engine = EngineResource(temp_dir=self._temp_dir or temp, **self._limits)
            with engine.connect() as connection:
                source = source_of(view, entities, config, connection)
                query = in_key_order(latest(source, end, start), list(source.keys))
                for _ in write(self.online_store, config, view, batches(connection, query, rows)):
                    pass


def is_plain(view: FeatureView) -> bool:
    """Whether the rows of a view are those of a Parquet file."""
    source = view.batch_source
    if not isinstance(source, FileSource) or isinstance(view, StreamFeatureView) or view.offline:
        return False
    made = (getattr(view, name, None) for name in ("feature_transformation", "aggregations", "filter", "source_views"))
    if isinstance(view, BatchFeatureView) and (view.batch_engine or any(made)):
        return False
    is_named_so = source.file_format is None and source.path.endswith((".parquet", "/"))
    return not any(made) and (isinstance(source.file_format, ParquetFormat) or is_named_so)


def source_of(view: FeatureView, entities: list[Any], config: RepoConfig, connection: Any) -> Source:
    """The view's file as SQL; one that is not on this machine is read through Arrow, by the connection given."""
    file = view.batch_source
    assert isinstance(file, FileSource)  # noqa: S101 - see `is_plain`
    keys, features, event, created = _get_column_names(view, entities)
    named = file.field_mapping or {}
    return Source(
        table=_relation(file, config, connection),
        keys={named.get(key, key): key for key in keys},
        features={named.get(feature, feature): feature for feature in features},
        event=event,
        created=created or "",
        bound="<" if view.tags.get("bound") == "<" else "<=",
    )


def _relation(file: FileSource, config: RepoConfig, connection: Any) -> str:
    if "://" not in file.path:
        path = Path(file.path)
        if not path.is_absolute() and config.repo_path and not path.exists():
            path = config.repo_path / path
        return parquet(str(path / "**" / "*.parquet") if path.is_dir() else str(path))
    filesystem, path = FileSource.create_filesystem_and_path(file.path, file.s3_endpoint_override or "")
    connection.register(_DATASET, ds.dataset(path, format="parquet", filesystem=filesystem))
    return _DATASET


def batches(connection: Any, query: str, rows: int) -> Iterator[pa.RecordBatch]:
    """Streams a query, never all of it in memory.

    Args:
        connection: A connection of the engine.
        query: A SELECT statement.
        rows: Rows of a batch, at most.
    """
    reader = connection.sql(query).to_arrow_reader(rows)
    for batch in reader:
        # the engine keeps to whole vectors of its own, so a batch may be longer than asked for
        for begin in range(0, batch.num_rows, rows):
            yield batch.slice(begin, rows)
