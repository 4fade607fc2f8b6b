"""Processes that apply to one registry at once lose nothing, on SQLite and on PostgreSQL (the file registry does)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.errors import ConcurrentVersionConflict
from feast.types import Int64, String
from sqlalchemy.exc import IntegrityError

from e2i_pipeline.contracts.references import FeatureTableRef
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline.resources.feast_repository import feast_errors
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.feature_store import Store, applied_store, feast_in
from e2i_pipeline_tests.processes import at_once

postgres = servers.postgres
PROCESSES, APPLIES = 4, 3


def _plain(registry: str, folder: Path) -> FeatureStore:
    """A store as any user of Feast has it, in a project of its own."""
    config = {
        "project": "shared",
        "provider": "local",
        "registry": {"registry_type": "sql", "path": registry},
        "online_store": {"type": "sqlite", "path": str(folder / "plain.db")},
        "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3,
    }
    return FeatureStore(config=RepoConfig(**config))


def _objects(process: int, turn: int) -> list[Any]:
    name = f"{process}_{turn}"
    entity = Entity(name=f"entity_{name}", value_type=ValueType.STRING)
    schema = [Field(name=f"entity_{name}", dtype=String), Field(name="n", dtype=Int64)]
    source = FileSource(name=f"source_{name}", path="nowhere.parquet", timestamp_field="t")
    return [
        entity,
        FeatureView(name=f"view_{name}", entities=[entity], ttl=timedelta(days=1), schema=schema, source=source),
    ]


def apply_much(process: int, folder: str, registries: tuple[str, ...], tables: dict[str, FeatureTableRef]) -> str:
    """What one process does: applies of its own objects on each registry, then the product's own apply on one."""
    for registry in registries:
        store = _plain(registry, Path(folder))
        for turn in range(APPLIES):
            store.apply(_objects(process, turn))
    state = Path(folder) / f"state_{process}"
    state.mkdir()
    (state / "features").symlink_to(Path(folder) / "features")
    chosen = registries[process % len(registries)]
    return feast_in(state, registry=chosen, project=f"project_{process}").apply(tables).project


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return applied_store(tmp_path_factory.mktemp("written"))


def test_nothing_is_lost_whoever_applies_at_the_same_time(written: Store, postgres: servers.Postgres) -> None:
    folder = Path(written.feast.state_dir)
    url = postgres.database().replace("postgresql:", "postgresql+psycopg:")
    registries = (f"sqlite:///{folder}/shared.db", url)
    for registry in registries:
        assert _plain(registry, folder).registry is not None  # its tables: made by several at once, PostgreSQL refuses
    projects = at_once(apply_much, [(n, str(folder), registries, written.tables) for n in range(PROCESSES)])

    wanted = {f"{process}_{turn}" for process in range(PROCESSES) for turn in range(APPLIES)}
    for number, registry in enumerate(registries):
        found = _plain(registry, folder).registry
        assert {f"entity_{n}" for n in wanted} <= {e.name for e in found.list_entities("shared")}
        assert {f"view_{n}" for n in wanted} == {v.name for v in found.list_feature_views("shared")}
        assert {f"source_{n}" for n in wanted} == {s.name for s in found.list_data_sources("shared")}
        for project in projects[number :: len(registries)]:
            assert {v.name for v in found.list_feature_views(project)} == set(ENTITIES), project
            services = {s.name for s in found.list_feature_services(project)}
            assert {"conversion", "regression", "effect", "on_demand"} <= services, project
            assert len(found.list_on_demand_feature_views(project)) == 4, project
            for view in ENTITIES:
                assert [v["version"] for v in found.list_feature_view_versions(view, project)] == ["v0"]


@pytest.mark.parametrize(
    "met",
    [IntegrityError("CREATE TABLE projects", {}, Exception("exists")), ConcurrentVersionConflict("v1 was created")],
)
def test_who_meets_another_apply_may_try_again(met: Exception) -> None:
    with pytest.raises(ToolUnavailable, match="could not apply"), feast_errors("apply", "Try again."):
        raise met
