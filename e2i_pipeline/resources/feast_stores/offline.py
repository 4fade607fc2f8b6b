# ruff: noqa: TID253 - imported by Feast alone, by the name in feature_store.yaml
"""A Feast offline store over Parquet files whose joins see a row from when it was known.

Feast's own DuckDB store is asked for that by a flag that is off by default, and joins by inequality; here it always
holds, and the join is DuckDB's ASOF. This module turns Feast's objects into what is to be read; the statements stand in
`known_time.py` and `pulls.py`, and what runs them in `retrieval.py`.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import duckdb
import pandas as pd
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from pydantic import Field, StrictStr

from e2i_pipeline.errors import ConfigurationError, ToolRejected
from e2i_pipeline.resources.feast_stores.files import Files
from e2i_pipeline.resources.feast_stores.known_time import ViewRead
from e2i_pipeline.resources.feast_stores.pulls import all_rows, latest_rows
from e2i_pipeline.resources.feast_stores.retrieval import Connect, JoinJob, Query, TableJob

BOUNDS = {"<=": False, "<": True}
"""Whether the bound of the tag `bound` is strict; `<=` where a view has no such tag."""


class KnownTimeOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """The part `offline_store` of the Feast configuration.

    Attributes:
        type: Name of the store.
        memory_limit: DuckDB's limit, e.g. `2GB`; None for its default of 80 % of the machine.
        threads: Threads of a query; None for all cores.
        temp_directory: Where DuckDB spills what does not fit; None for the system's folder for such files.
        encrypts_spill: Whether that is encrypted, three to four times as slow; for keys that are no pseudonyms.
    """

    type: StrictStr = "e2i_pipeline.resources.feast_stores.offline.KnownTimeOfflineStore"
    memory_limit: str | None = None
    threads: int | None = Field(default=None, ge=1)
    temp_directory: str | None = None
    encrypts_spill: bool = False


class KnownTimeOfflineStore(DuckDBOfflineStore):
    """Point-in-time joins in event time and in known-at time.

    A view's tag `bound` says whether a row is seen at the very moment at which it becomes visible (`<=`, the default)
    or only after it (`<`). The argument `filter_by_created_timestamp` changes nothing: Feast passes it on only where it
    is true, so that "no" cannot be told from "not said", and the cut is never left out.

    What this class does not define (batch and log writes, monitoring) is that of Feast's DuckDB store.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **options: Any,
    ) -> RetrievalJob:
        """See Feast's `OfflineStore`.

        Args:
            config: Feast's configuration.
            feature_views: The views.
            feature_refs: References `view:feature`.
            entity_df: A data frame, or a SELECT statement in DuckDB's SQL, e.g. over Parquet files.
            registry: Feast's registry.
            project: Feast's project.
            full_feature_names: Whether names begin with their view's.
            options: `filter_by_created_timestamp`; `start_date` and `end_date` are refused.

        Raises:
            ToolRejected: Something of what is asked for cannot be read.
            ConfigurationError: A view's bound is none.
        """
        if entity_df is None:
            raise ToolRejected(
                "Features were asked for a span of time, without entity rows. This offline store joins to entity rows; "
                "give them as a data frame or as a SELECT statement, e.g. of the keys and times of a feature table."
            )
        files = Files(config.repo_path)
        views = [_view_read(files, view, feature_refs, full_feature_names) for view in feature_views]
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return JoinJob(_connect(config), files, Query.of(entity_df), views, feature_refs, on_demand, full_feature_names)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The row per key that counts at the end of a span, where it became visible within it (both ends included).

        A row that was known later than the end is not seen, and an old event that is known late does not displace a
        newer one: filling an online store span by span gives what filling it at once gives.

        Raises:
            ToolRejected: The source cannot be read.
        """
        files = Files(config.repo_path)
        relation, _ = files.relation(data_source, f"source {data_source.name}")
        keys = [key for key in join_key_columns if key != DUMMY_ENTITY_ID]
        query = latest_rows(
            relation,
            keys,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column or None,
            (_utc(start_date), _utc(end_date)),
        )
        return TableJob(_connect(config), files, Query(query))

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """All rows whose event lies in a span (both ends included), whenever they were known.

        Raises:
            ToolRejected: The source cannot be read.
        """
        files = Files(config.repo_path)
        relation, _ = files.relation(data_source, f"source {data_source.name}")
        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        keys = [key for key in join_key_columns if key != DUMMY_ENTITY_ID]
        span = (start_date and _utc(start_date), end_date and _utc(end_date))
        query = all_rows(relation, [*keys, *feature_name_columns, *times], timestamp_field, span)
        return TableJob(_connect(config), files, Query(query))


def _connect(config: RepoConfig) -> Connect:
    """What opens a connection of its own, in UTC, that downloads nothing: nothing is shared between threads."""
    chosen = cast(KnownTimeOfflineStoreConfig, config.offline_store)
    limits = {"memory_limit": chosen.memory_limit, "threads": chosen.threads}

    @contextmanager
    def connected() -> Iterator[duckdb.DuckDBPyConnection]:
        connection = duckdb.connect(
            config={
                "temp_directory": chosen.temp_directory or tempfile.gettempdir(),
                "autoinstall_known_extensions": False,
                **{name: limit for name, limit in limits.items() if limit},
            }
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            if chosen.encrypts_spill:
                # as in `engine.py`: the built-in cipher, for pages that are gone with the connection
                connection.execute("SET force_mbedtls_unsafe = true")
                connection.execute("SET temp_file_encryption = true")
            yield connection
        finally:
            connection.close()

    return connected


def _view_read(files: Files, view: FeatureView, references: Sequence[str], full_feature_names: bool) -> ViewRead:
    relation, is_one_file = files.relation(view.batch_source, f"feature view {view.name}")
    source = cast(DataSource, view.batch_source)
    held = {mapped: name for name, mapped in source.field_mapping.items()}
    alias = view.projection.name_alias or view.name
    features = [
        name for asked, _, name in (ref.partition(":") for ref in references) if asked == view.projection.name_to_use()
    ]
    renamed = view.projection.join_key_map or {}
    keys = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    created = source.created_timestamp_column
    return ViewRead(
        name=view.projection.name_to_use(),
        relation=relation,
        is_one_file=is_one_file,
        keys=tuple((renamed.get(key, key), held.get(key, key)) for key in keys),
        event=held.get(source.timestamp_field, source.timestamp_field),
        created=held.get(created, created) if created else None,
        columns=tuple((held.get(name, name), f"{alias}__{name}" if full_feature_names else name) for name in features),
        ttl=view.ttl,
        is_strict=_is_strict(view),
    )


def _is_strict(view: FeatureView) -> bool:
    bound = (view.tags or {}).get("bound", "<=")
    if bound not in BOUNDS:
        raise ConfigurationError(
            f'The feature view {view.name} has the bound "{bound}". Its tag `bound` must be "<" or "<="; without the '
            'tag it is "<=".'
        )
    return BOUNDS[bound]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
