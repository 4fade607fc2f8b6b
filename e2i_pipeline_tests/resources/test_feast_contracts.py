"""Contracts: what a model was trained on stays fetchable, as JSON and through Feast, after the views have changed."""

import shutil
import tempfile
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Int64, String

from e2i_pipeline.contracts.feature_contract import FeatureContract
from e2i_pipeline.domain.features import ENGAGEMENT_FEATURES, HCP_FEATURES, PATIENT_FEATURES
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources import feast_contracts
from e2i_pipeline_tests.feature_oracle import COVARIATES
from e2i_pipeline_tests.feature_store import (
    FEATURE_REPO,
    UNTIL,
    WINDOW_DAYS,
    Store,
    applied_store,
    entity_rows,
    feast_in,
)
from e2i_pipeline_tests.staged import stage


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, for somebody to change."""
    folder = tmp_path_factory.mktemp("repo") / "feature_repo"
    shutil.copytree(FEATURE_REPO, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Store:
    return applied_store(tmp_path_factory.mktemp("state"), repo=str(repository))


@pytest.fixture(scope="module")
def changed(old: Store, repository: Path) -> Store:
    """The same state folder after the TTL of one view and the schema of another were changed, and applied."""
    views = repository / "views.py"
    text = views.read_text()
    assert text.count("ttl=timedelta(days=3650)") == 1
    views.write_text(text.replace("ttl=timedelta(days=3650)", "ttl=timedelta(days=30)"))
    touched = [{**t, "response": "ignored"} for t in old.history.engagement_events]
    return _applied(old, {**old.history._asdict(), "engagement_events": touched})


def _applied(store: Store, tables: dict[str, Any]) -> Store:
    """The store over other tables, with one covariate more."""
    folder = Path(tempfile.mkdtemp(dir=store.feast.state_dir))
    region = {"name": "region", "table": "patient_journeys", "column": "gender", "dtype": "categorical"}
    staged = stage(folder, tables)
    covariates = [*COVARIATES, region]
    views = {v: store.feast.write_view(v, staged, covariates, WINDOW_DAYS).table for v in store.tables}
    return Store(store.feast, store.history, staged, views, store.feast.apply(views))


def test_it_says_all_that_decides_a_value(old: Store) -> None:
    contract = old.feast.contract(old.registry.contract)
    assert contract.features == old.registry.features
    assert contract.touch_window_days == WINDOW_DAYS
    assert contract.registry_key == old.registry.key
    view = contract.views[PATIENT_FEATURES]
    assert (view.entity, view.ttl_seconds, view.bound) == ("patient_id", 3650 * 86_400, "<=")
    assert view.table_version == old.tables[PATIENT_FEATURES].version
    assert (Path(old.feast.state_dir) / view.table).is_file()
    assert {f.name: f.dtype for f in view.fields}["gender"] == "String"
    assert [c["name"] for c in view.covariates] == [
        c["name"] for c in COVARIATES if c["table"] in ("patient_journeys", "treatment_events")
    ]
    recent = contract.on_demand["recent_touches_on_demand"]
    assert f"TOUCH_WINDOW_DAYS = {WINDOW_DAYS}" in recent.text
    assert recent.sources == {
        ENGAGEMENT_FEATURES: ("recent_touch_times",),
        "prediction_request": ("prediction_time",),
    }


def test_the_same_source_gives_the_same_contract_in_another_folder(
    old: Store, repository: Path, tmp_path: Path
) -> None:
    assert applied_store(tmp_path, repo=str(repository)).registry.contract == old.registry.contract


def test_the_old_contract_is_fetched_both_ways_after_the_views_changed(old: Store, changed: Store) -> None:
    contract = old.feast.contract(old.registry.contract)
    now = changed.feast.contract(changed.registry.contract)
    assert now.key != contract.key
    assert (contract.views[PATIENT_FEATURES].ttl_seconds, now.views[PATIENT_FEATURES].ttl_seconds) == (
        3650 * 86_400,
        30 * 86_400,
    )
    store = changed.feast._repository().open()
    service = store.get_feature_service(changed.feast.pinned_service(contract))
    fields = {p.name: {f.name for f in p.features} for p in service.feature_view_projections}
    assert fields == {name: {f.name for f in view.fields} for name, view in contract.views.items()}
    assert "region" not in fields[PATIENT_FEATURES]
    assert "region" in {f.name for f in store.get_feature_view(PATIENT_FEATURES).features}
    assert changed.feast.pinned_service(now) != service.name
    versions = {p.name: p.version_tag for p in service.feature_view_projections}
    snapshot = store.registry.get_feature_view_by_version(PATIENT_FEATURES, store.project, versions[PATIENT_FEATURES])
    assert snapshot.ttl == timedelta(days=3650), "the TTL stands with the version, by the join key's tag"


def test_a_pinned_service_reads_as_it_did(old: Store, changed: Store) -> None:
    contract = old.feast.contract(old.registry.contract)
    rows = entity_rows(60)
    pinned = changed.feast.get_historical_features(rows, changed.feast.pinned_service(contract))
    plain = changed.feast.get_historical_features(rows, "conversion")
    assert "region" not in pinned
    assert "region" in plain
    # what has not changed is the same; the older TTL keeps what the younger one calls expired
    pd.testing.assert_series_equal(pinned["specialty"], plain["specialty"])
    assert pinned["treatment_count"].notna().sum() >= plain["treatment_count"].notna().sum()
    late = rows.assign(event_timestamp=UNTIL)
    assert (
        changed.feast.get_historical_features(late, changed.feast.pinned_service(contract))["total_cost"].notna().any()
    )
    assert pinned["engagement_rate"].sum() > plain["engagement_rate"].sum(), (
        "it reads the table that it was applied over"
    )


def test_the_online_store_follows_the_views_through_their_versions(old: Store, changed: Store) -> None:
    store = changed.feast._repository().open()
    versions = {view: len(store.list_feature_view_versions(view)) for view in old.tables}
    assert versions == {PATIENT_FEATURES: 2, HCP_FEATURES: 1, ENGAGEMENT_FEATURES: 1}
    journeys = [{**j, "risk_score": 0.75} for j in old.history.patient_journeys]
    again = _applied(changed, {**old.history._asdict(), "patient_journeys": journeys})
    assert again.registry.key != changed.registry.key
    assert len(store.list_feature_view_versions(PATIENT_FEATURES)) == 2, "another table alone makes no version"
    again.feast.materialize(again.registry, UNTIL)
    rows = entity_rows(60).assign(event_timestamp=UNTIL)
    found = again.feast.online_frame(again.registry, rows)
    pd.testing.assert_frame_equal(found, again.feast.training_frame(again.registry, rows))
    assert "region" in found


def test_feast_alone_counts_neither_ttl_nor_tags_nor_table_as_a_version(tmp_path: Path) -> None:
    """Why the join key carries tags, and why the contract is JSON: a service follows its view (Feast 0.67)."""
    (tmp_path / "feast").mkdir()
    store = feast_in(tmp_path)._repository().open()
    entity = Entity(name="patient_id")
    pd.DataFrame({"patient_id": ["p"], "n": [1], "t": [UNTIL.replace(tzinfo=UTC)]}).to_parquet(tmp_path / "a.parquet")
    shutil.copy(tmp_path / "a.parquet", tmp_path / "b.parquet")

    def view(ttl: int, tags: dict[str, str], file: str, *more: str) -> FeatureView:
        names = ["n", *more]
        schema = [Field(name="patient_id", dtype=String), *(Field(name=name, dtype=Int64) for name in names)]
        source = FileSource(name="table", path=str(tmp_path / file), timestamp_field="t")
        return FeatureView(
            name="view", entities=[entity], ttl=timedelta(days=ttl), tags=tags, schema=schema, source=source
        )

    first = view(10, {"bound": "<="}, "a.parquet")
    store.apply([entity, first, FeatureService(name="service", features=[first])])
    for other in (
        view(1, {"bound": "<="}, "a.parquet"),
        view(1, {"bound": "<"}, "a.parquet"),
        view(1, {}, "b.parquet"),
    ):
        store.apply([other])
        assert [v["version"] for v in store.list_feature_view_versions("view")] == ["v0"]
    assert store.get_feature_view("view").ttl == timedelta(days=1)
    store.apply([view(1, {}, "b.parquet", "m")])
    assert [v["version"] for v in store.list_feature_view_versions("view")] == ["v0", "v1"]


def test_a_contract_that_was_changed_is_refused(old: Store, tmp_path: Path) -> None:
    contract = old.feast.contract(old.registry.contract)
    feast_contracts.keep(tmp_path, contract)
    path = tmp_path / "contracts" / f"{contract.key}.json"
    assert feast_contracts.read(tmp_path, contract.key) == contract
    path.write_text(path.read_text().replace('"touch_window_days": 7', '"touch_window_days": 8'))
    with pytest.raises(ToolRejected, match="no longer has its key"):
        feast_contracts.read(tmp_path, contract.key)
    path.write_text("{}")
    with pytest.raises(ToolRejected, match="is no feature contract"):
        feast_contracts.read(tmp_path, contract.key)
    with pytest.raises(ToolRejected, match=r"feature_contract\.json among its files"):
        feast_contracts.read(tmp_path, "0" * 32)


def test_definitions_that_feast_never_saw_have_no_pinned_service(old: Store) -> None:
    contract = old.feast.contract(old.registry.contract)
    view = contract.views[PATIENT_FEATURES].model_copy(update={"ttl_seconds": 1})
    unknown: FeatureContract = contract.model_copy(update={"views": {**contract.views, PATIENT_FEATURES: view}})
    with pytest.raises(ToolRejected, match="does not hold patient_features"):
        old.feast.pinned_service(unknown)
