"""A Feast repository over one online store, its rows, and the servers behind it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from feast import FeatureStore

OURS = "e2i_pipeline.resources.feast_stores"
CLASSES = {
    "sqlite": f"{OURS}.online_sqlite.BulkSqliteOnlineStore",
    "redis": f"{OURS}.online_redis.BulkRedisOnlineStore",
    "postgres": f"{OURS}.online_postgres.BulkPostgreSQLOnlineStore",
}

MATERIALIZED = {"narrow": (4, timedelta(0))}
"""Views by name: number of features, TTL. What `online_materialize` fills."""

READ = {
    "patient": (10, timedelta(days=3650)),
    "hcp": (7, timedelta(days=1825)),
    "engagement": (2, timedelta(days=1825)),
}
"""As many features and the same TTLs as the product's own views."""


def start_servers(stores: list[str]) -> dict[str, dict[str, Any]]:
    """Starts what is needed, until this process ends; the settings of each store, without its type.

    Raises:
        BarError: A server is not installed.
    """
    import shutil

    from benchmarks.frame.bar import BarError
    from e2i_pipeline_tests import servers

    settings: dict[str, dict[str, Any]] = {"sqlite": {}}
    if "redis" in stores:
        if (binary := shutil.which("redis-server")) is None:
            raise BarError("Redis' server (redis-server) is not installed: .ci/install-services installs it.")
        settings["redis"] = {"connection_string": f"127.0.0.1:{servers.Redis(binary).port}"}
    if "postgres" in stores:
        if (binaries := servers._postgres_binaries()) is None:
            raise BarError("PostgreSQL's server (initdb, postgres) is not installed: .ci/install-services installs it.")
        url = urlsplit(servers.Postgres(binaries).database())
        where = {"host": url.hostname, "port": url.port, "database": url.path[1:], "sslmode": "disable"}
        settings["postgres"] = {**where, "user": url.username, "password": unquote(url.password or "")}
    return settings


def write_rows(file: Path, entities: int) -> None:
    """One row per entity: numbers with few and with many values, a share, a channel, and further counts."""
    import duckdb

    counts = ", ".join(f"hash(i + {n}) % 1000 AS f{n}" for n in range(3, 10))
    with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
        connection.execute(f"""
            COPY (
                SELECT printf('%016x%016x', hash(i), hash(i + 7)) AS who,
                    now()::TIMESTAMP - INTERVAL (i % 100000) MINUTE - INTERVAL 1 DAY AS event_timestamp,
                    now()::TIMESTAMP - INTERVAL (i % 100000) MINUTE AS created_timestamp,
                    i % 50 AS f0, (hash(i) % 1000000) / 1000000 AS f1,
                    ['call', 'visit', 'e-mail', 'none'][i % 4 + 1] AS f2, {counts}
                FROM range({entities}) t(i)
            ) TO '{file}' (FORMAT parquet)""")


def open_store(
    folder: Path, project: str, kind: str, settings: dict[str, Any], is_ours: bool, rows: Path, views: dict[str, Any]
) -> "FeatureStore":
    """Opens a store over the rows, and applies the views where a store of that folder has not."""
    from feast import FeatureStore, RepoConfig

    path = {"path": str(folder / "online.db")} if kind == "sqlite" else {}
    config = RepoConfig(
        project=project,
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db", "cache_ttl_seconds": 3600},
        offline_store={"type": "duckdb"},
        online_store={"type": CLASSES[kind] if is_ours else kind, **path, **settings},
        batch_engine={"type": f"{OURS}.compute.KnownTimeEngine" if is_ours else "local"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = FeatureStore(config=config)
    if not {*views} <= {view.name for view in store.list_feature_views()}:
        store.apply(_objects(rows, views))
    return store


def _objects(rows: Path, views: dict[str, Any]) -> list[Any]:
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float64, Int64, String

    who = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)
    source = FileSource(
        name="rows",
        path=str(rows),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    types = {1: Float64, 2: String}
    return [who] + [
        FeatureView(
            name=name,
            entities=[who],
            ttl=ttl,
            source=source,
            schema=[Field(name="who", dtype=String)]
            + [Field(name=f"f{i}", dtype=types.get(i, Int64)) for i in range(features)],
        )
        for name, (features, ttl) in views.items()
    ]


def sample(rows: Path, number: int) -> list[str]:
    """Some entities, the same for the same rows."""
    import duckdb

    query = f"SELECT who FROM read_parquet('{rows}') ORDER BY hash(who), who LIMIT {number}"
    return [who for (who,) in duckdb.execute(query).fetchall()]


def settings_of(file: Path) -> dict[str, dict[str, Any]]:
    """The settings that `prepare` left."""
    return json.loads(file.read_text(encoding="utf-8"))
