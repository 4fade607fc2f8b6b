"""Joins through Feast: `python -m benchmarks.point_in_time.by_feast STORE FOLDER KIND ENTITIES ROWS DATA WARM_UP`.

STORE is the offline store's type. The warm-up has tables of the same kind; imports, `feast apply` and all that is made
once are not measured. Prints the seconds. Feast's own DuckDB store takes entity rows as a data frame only; reading them
is not measured.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.point_in_time.tables import ENTITIES, TTL_DAYS, Table, tables

_MEMORY = "600MB"
"""What DuckDB may take in the product: Feast and its own imports hold some 400 MB beside it."""


def main(offline: str, folder: Path, kind: str, data: list[tuple[Path, int, int]]) -> float:
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    seconds = 0.0
    for number, (source, entities, rows) in enumerate(data):
        views = tables(kind, entities, rows)
        store = _store(offline, folder / str(number), source, views)
        references = [f"{table.name}:{feature}" for table in views for feature in table.features]
        entity_rows = _entity_rows(offline, source / ENTITIES)
        began = time.perf_counter()
        job = store.get_historical_features(entity_rows, references, filter_by_created_timestamp=True)
        job.persist(SavedDatasetFileStorage(path=str(folder / f"{number}.parquet")))
        seconds = time.perf_counter() - began
    return seconds


def _entity_rows(offline: str, file: Path) -> Any:
    if offline == "duckdb":
        import pandas as pd

        return pd.read_parquet(file)
    return f"SELECT * FROM read_parquet('{file}')"


def _store(offline: str, folder: Path, source: Path, views: list[Table]) -> Any:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    folder.mkdir(parents=True)
    settings = {} if offline == "duckdb" else {"temp_directory": str(folder / "spilled"), "memory_limit": _MEMORY}
    config = {
        "project": "bars",
        "provider": "local",
        "registry": {"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        "offline_store": {"type": offline, **settings},
        "online_store": {"type": "sqlite", "path": f"{folder}/online.db"},
        "entity_key_serialization_version": 3,
        "repo_path": folder,
    }
    store = FeatureStore(config=RepoConfig(**config))
    entities = {t.key: Entity(name=t.key, join_keys=[t.key], value_type=ValueType.STRING) for t in views}
    store.apply(
        [
            *entities.values(),
            *(
                FeatureView(
                    name=table.name,
                    entities=[entities[table.key]],
                    ttl=timedelta(days=TTL_DAYS),
                    source=FileSource(
                        name=f"{table.name}_file",
                        path=str(table.file(source)),
                        timestamp_field="event_timestamp",
                        created_timestamp_column="created_timestamp",
                    ),
                    schema=[
                        Field(name=table.key, dtype=String),
                        *(Field(name=feature, dtype=Float64) for feature in table.features),
                    ],
                    tags={"bound": "<" if table.is_strict else "<="},
                )
                for table in views
            ),
        ]
    )
    return store


if __name__ == "__main__":
    offline, folder, kind, *sizes = sys.argv[1:]
    entities, rows, data, small = int(sizes[0]), int(sizes[1]), Path(sizes[2]), Path(sizes[3])
    print(main(offline, Path(folder), kind, [(small, 1000, 1000), (data, entities, rows)]))
