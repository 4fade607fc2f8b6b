"""Feast stores over Parquet files of a test, with the registry in SQLite and the offline store under test."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import FeastType

KNOWN_TIME = "e2i_pipeline.resources.feast_stores.offline.KnownTimeOfflineStore"

EVENT, CREATED = "event_timestamp", "created_timestamp"


def open_store(folder: Path, views: Sequence[FeatureView], offline: str = KNOWN_TIME, **settings: Any) -> FeatureStore:
    """A store to which views and their entities are applied.

    Args:
        folder: Where the registry and the spilled pages lie.
        views: The views.
        offline: Type of the offline store.
        settings: Its further settings.
    """
    if offline == KNOWN_TIME:
        settings = {"temp_directory": str(folder / "spill"), **settings}
    config = RepoConfig(
        project="joins",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},  # pyright: ignore[reportArgumentType]
        offline_store={"type": offline, **settings},
        online_store={"type": "sqlite", "path": f"{folder}/online.db"},
        entity_key_serialization_version=3,
        repo_path=str(folder),
    )
    store = FeatureStore(config=config)
    store.apply(
        [*{name: entity(name) for view in views for name in view.entities if name != "__dummy"}.values(), *views]
    )
    return store


def entity(name: str) -> Entity:
    """An entity by its join key."""
    return Entity(name=name, join_keys=[name], value_type=ValueType.STRING)


def view(
    name: str,
    path: Path | str,
    keys: Sequence[Field],
    fields: dict[str, FeastType],
    ttl: timedelta | None = None,
    created: str = CREATED,
    **rest: Any,
) -> FeatureView:
    """A view over a Parquet file.

    Args:
        name: Its name.
        path: The file, or a folder of files.
        keys: Join keys, as fields.
        fields: Type per feature.
        ttl: Age at which values end.
        created: Column of the known-at time; empty for none.
        rest: What else `FeatureView` takes, such as tags.
    """
    return FeatureView(
        name=name,
        entities=[entity(key.name) for key in keys],
        ttl=ttl,
        source=FileSource(name=f"{name}_file", path=str(path), timestamp_field=EVENT, created_timestamp_column=created),
        schema=[*keys, *(Field(name=field, dtype=dtype) for field, dtype in fields.items())],
        **rest,
    )
