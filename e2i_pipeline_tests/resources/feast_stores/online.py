"""A Feast user's own small repository on each online store. Tests only.

Each store is had twice over the same data: ours, and Feast's plain one, which must read what ours has written.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Bool, Float64, Int64, String, UnixTimestamp

from e2i_pipeline_tests.servers import Postgres, Redis

OURS = "e2i_pipeline.resources.feast_stores"
ENGINE = f"{OURS}.compute.KnownTimeEngine"
FEATURES = {
    "count": Int64,
    "share": Float64,
    "channel": String,
    "is_new": Bool,
    "since": UnixTimestamp,
    "touches": Array(Int64),
}

Settings = dict[str, Any]


class Repository(NamedTuple):
    """One repository over one online store.

    Attributes:
        ours: The store with the product's classes.
        plain: The same with Feast's own online store, over the same data.
        file: The table behind the view `seen`.
    """

    ours: FeatureStore
    plain: FeatureStore
    file: Path


def sqlite_settings(folder: Path) -> tuple[Settings, Settings]:
    """Ours and Feast's."""
    path = {"path": str(folder / "online.db")}
    return {"type": f"{OURS}.online_sqlite.BulkSqliteOnlineStore", **path}, {"type": "sqlite", **path}


def redis_settings(server: Redis) -> tuple[Settings, Settings]:
    """Ours and Feast's."""
    where = {"connection_string": f"127.0.0.1:{server.port}"}
    return {"type": f"{OURS}.online_redis.BulkRedisOnlineStore", **where}, {"type": "redis", **where}


def postgres_settings(server: Postgres) -> tuple[Settings, Settings]:
    """Ours and Feast's, on a new database."""
    url = urlsplit(server.database())
    where = {
        "host": url.hostname,
        "port": url.port,
        "database": url.path[1:],
        "user": url.username,
        "password": unquote(url.password or ""),
        "sslmode": "disable",
    }
    return {"type": f"{OURS}.online_postgres.BulkPostgreSQLOnlineStore", **where}, {"type": "postgres", **where}


def open_store(folder: Path, project: str, online: Settings, engine: str = ENGINE, **further: Any) -> FeatureStore:
    """A store with a registry of its own in the folder."""
    config = RepoConfig(
        project=project,
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db", **further.pop("registry", {})},
        offline_store={"type": "duckdb"},
        online_store=online,
        batch_engine={"type": engine},
        entity_key_serialization_version=3,
        repo_path=folder,
        **further,
    )
    return FeatureStore(config=config)


def view_of(
    file: Path,
    ttl: timedelta | None,
    bound: str = "<=",
    features: Mapping[str, Any] = FEATURES,
    created: str = "created_timestamp",
) -> tuple[Entity, FeatureView]:
    """The view `seen` over a file with the columns `who`, `event_timestamp`, `created_timestamp` and the features."""
    who = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)
    source = FileSource(
        name="seen_table",
        path=str(file),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column=created,
    )
    schema = [Field(name="who", dtype=String), *(Field(name=n, dtype=t) for n, t in features.items())]
    return who, FeatureView(name="seen", entities=[who], ttl=ttl, schema=schema, source=source, tags={"bound": bound})


def repository(folder: Path, project: str, settings: tuple[Settings, Settings], **view: Any) -> Repository:
    """Applies the view `seen` to both stores."""
    file = folder / "seen.parquet"
    ours = open_store(folder, project, settings[0])
    ours.apply([*view_of(file, **view)])
    return Repository(ours, open_store(folder, project, settings[1], engine="local"), file)


def write_file(file: Path, rows: list[dict[str, Any]], zone: str | None = "UTC") -> None:
    """Writes the table behind the view."""
    times = pa.timestamp("us", zone)
    schema = pa.schema(
        [
            ("who", pa.string()),
            ("count", pa.int64()),
            ("share", pa.float64()),
            ("channel", pa.string()),
            ("is_new", pa.bool_()),
            ("since", times),
            ("touches", pa.list_(pa.int64())),
            ("event_timestamp", times),
            ("created_timestamp", times),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)


def answers(store: FeatureStore, who: list[str], names: list[str] | None = None) -> list[list[tuple[Any, str]]]:
    """Value and status of each feature, per entity."""
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

    names = names or list(FEATURES)
    found = store.get_online_features([f"seen:{n}" for n in names], [{"who": w} for w in who])
    values = found.to_dict()
    vectors = dict(zip(found.proto.metadata.feature_names.val, found.proto.results, strict=True))
    return [[(values[n][i], FieldStatus.Name(vectors[n].statuses[i])) for n in names] for i in range(len(who))]
