"""The feature store on its real local backends: DuckDB offline, SQLite registry and online store."""

import json
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from e2i_pipeline.contracts.references import FeatureRegistryRef
from e2i_pipeline.domain.features import ENTITIES, PATIENT_FEATURES
from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline_tests.feature_oracle import BEGIN, COVARIATES, History, Oracle, random_history
from e2i_pipeline_tests.feature_store import (
    UNTIL,
    WINDOW_DAYS,
    Store,
    applied_store,
    entity_rows,
    feast_in,
    write_views,
)
from e2i_pipeline_tests.staged import stage


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six patients and two HCPs, applied."""
    return applied_store(tmp_path_factory.mktemp("state"))


def _expected(history: History, rows: pd.DataFrame, registry: FeatureRegistryRef) -> pd.DataFrame:
    oracle = Oracle(history, WINDOW_DAYS)
    found = pd.DataFrame(
        [oracle.features(r.patient_id, r.hcp_id, r.event_timestamp) for r in rows.itertuples()], index=rows.index
    )
    typed = {
        f.name: found[f.name].astype(object).where(found[f.name].notna(), None)
        if f.kind == "categorical"
        else found[f.name].astype("float64")
        for f in registry.features
    }
    dates = {n: pd.to_datetime(found[n]).astype("datetime64[us]") for n in ("first_call_date", "last_call_date")}
    return pd.concat([rows, pd.DataFrame({**typed, **dates})], axis=1)


def test_feast_returns_what_was_known_at_each_prediction_time(store: Store) -> None:
    rows = entity_rows(400)
    found = store.feast.training_frame(store.registry, rows)
    pd.testing.assert_frame_equal(found, _expected(store.history, rows, store.registry), rtol=1e-12)


def test_rows_keep_their_order_number_and_index(store: Store) -> None:
    rows = pd.concat([entity_rows(30), entity_rows(30)]).sample(frac=1, random_state=3)
    found = store.feast.training_frame(store.registry, rows)
    pd.testing.assert_frame_equal(found[rows.columns], rows)


def test_aware_times_are_the_same_moments(store: Store) -> None:
    rows = entity_rows(30)
    aware = rows.assign(event_timestamp=rows["event_timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York"))
    features = [f.name for f in store.registry.features]
    found = store.feast.training_frame(store.registry, aware)[features]
    pd.testing.assert_frame_equal(found, store.feast.training_frame(store.registry, rows)[features])


def test_applying_the_same_again_changes_nothing(store: Store) -> None:
    definitions = Path(store.registry.definitions)
    before = definitions.stat().st_mtime_ns, _versions(store.feast)
    assert store.feast.apply(store.tables) == store.registry
    assert (definitions.stat().st_mtime_ns, _versions(store.feast)) == before


def _versions(feast: FeastResource) -> list[tuple[object, ...]]:
    with sqlite3.connect(feast.registry.removeprefix("sqlite:///")) as connection:
        return connection.execute("SELECT feature_view_name, last_updated_timestamp FROM feature_views").fetchall()


def test_the_online_store_answers_as_the_offline_store_does(store: Store) -> None:
    online = store.feast.materialize(store.registry, UNTIL)
    assert set(online.rows) == set(ENTITIES)
    assert online.rows_per_second > 0
    rows = entity_rows(200).assign(event_timestamp=UNTIL)
    found = store.feast.online_frame(store.registry, rows)
    pd.testing.assert_frame_equal(found, store.feast.training_frame(store.registry, rows))


def test_raw_online_reads_take_a_service_or_references(store: Store) -> None:
    store.feast.materialize(store.registry, UNTIL)
    rows: list[dict[str, Any]] = [{"patient_id": "p0", "hcp_id": "h0"}, {"patient_id": "stranger", "hcp_id": "h1"}]
    by_service = store.feast.get_online_features(rows, "conversion")
    by_reference = store.feast.get_online_features(rows, ["patient_features:treatment_count"])
    assert by_reference["treatment_count"] == by_service["treatment_count"]
    assert by_reference["treatment_count"][1] is None


def test_the_online_store_follows_until_forwards_and_backwards(tmp_path: Path) -> None:
    feast = feast_in(tmp_path)
    staged = stage(tmp_path, random_history(seed=8)._asdict())
    registry = feast.apply(write_views(feast, staged))
    written: list[int] = []
    for day in (10, 12, 12, 20, 4):
        until = BEGIN + timedelta(days=day)
        written.append(sum(feast.materialize(registry, until).rows.values()))
        rows = entity_rows(60).assign(event_timestamp=until)
        found = feast.online_frame(registry, rows)
        pd.testing.assert_frame_equal(found, feast.training_frame(registry, rows), obj=f"day {day}")
    assert written[2] == written[1], "it was filled so already, and says with what"
    assert 0 < written[1] < written[0]


def test_an_expired_value_is_null_offline_and_online(store: Store) -> None:
    store.feast.materialize(store.registry, UNTIL)
    touched = next(t["patient_id"] for t in store.history.engagement_events if t["patient_id"])
    rows = pd.DataFrame({"patient_id": [touched], "hcp_id": ["h0"], "event_timestamp": [UNTIL + timedelta(days=1825)]})
    for frame in (store.feast.training_frame(store.registry, rows), store.feast.online_frame(store.registry, rows)):
        assert frame.loc[0, "channel_preferences"] is None
        assert pd.isna(frame.loc[0, "total_patients"])
        assert frame.loc[0, "treatment_count"] >= 0


def test_what_cannot_be_filled_is_unknown_to_feast(tmp_path: Path) -> None:
    feast = feast_in(tmp_path)
    history = random_history(seed=5)
    full = feast.apply(write_views(feast, stage(tmp_path, history._asdict())))
    narrow = [{k: v for k, v in row.items() if k not in ("hcp_id", "comorbidities")} for row in history[0]]
    staged = stage(tmp_path, {"patient_journeys": narrow, "treatment_events": history.treatment_events})
    tables = write_views(feast, staged)
    registry = feast.apply(tables)
    assert tables["hcp_features"].is_absent
    assert tables["engagement_features"].is_absent
    assert registry.key != full.key
    assert registry.left_out["specialty"].startswith("patient_journeys has no hcp_id")
    assert registry.left_out["risk_factors"] == "patient_journeys has no comorbidities"
    assert {f.view for f in registry.features} == {PATIENT_FEATURES}
    rows = entity_rows(20).drop(columns="hcp_id")
    found = feast.training_frame(registry, rows)
    assert list(found.columns) == [*rows.columns, *(f.name for f in registry.features)]
    with pytest.raises(ToolRejected, match="no longer holds"):
        feast.training_frame(full, entity_rows(3))
    with pytest.raises(ToolRejected, match="hcp_features"):
        feast.get_historical_features(entity_rows(3), ["hcp_features:specialty"])


def test_lost_definitions_are_written_again(tmp_path: Path) -> None:
    feast = feast_in(tmp_path)
    tables = write_views(feast, stage(tmp_path, random_history(seed=1)._asdict()))
    registry = feast.apply(tables)
    Path(registry.definitions).unlink()
    with pytest.raises(ToolRejected, match="Materialize feature_registry again"):
        feast.training_frame(registry, entity_rows(2))
    assert feast.apply(tables) == registry
    assert len(feast.training_frame(registry, entity_rows(2))) == 2


def test_parallel_applies_agree(store: Store, tmp_path: Path) -> None:
    feast = feast_in(tmp_path)
    tables = write_views(feast, store.staged)
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: feast.apply(tables), range(4)))
    assert {registry.key for registry in applied} == {store.registry.key}
    rows = entity_rows(10)
    pd.testing.assert_frame_equal(
        feast.training_frame(applied[0], rows), store.feast.training_frame(store.registry, rows)
    )


def test_the_same_source_gives_the_same_keys_in_another_folder(store: Store, tmp_path: Path) -> None:
    feast = feast_in(tmp_path)
    tables = write_views(feast, stage(tmp_path, store.history._asdict()))
    assert {v: (t.key, t.version) for v, t in tables.items()} == {
        v: (t.key, t.version) for v, t in store.tables.items()
    }
    assert feast.apply(tables).key == store.registry.key


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"drop": "hcp_id"}, "Missing columns: hcp_id"),
        ({"drop": "event_timestamp"}, "Missing columns: event_timestamp"),
        ({"add": "risk_score"}, "Columns that are features already: risk_score"),
        ({"keep": 0}, "asked for 0 rows"),
        ({"timeless": 2}, "2 of them without a prediction time"),
    ],
)
def test_rows_that_cannot_be_asked_for_are_refused(store: Store, change: dict[str, Any], reason: str) -> None:
    rows = entity_rows(5).head(change.get("keep", 5)).drop(columns=change.get("drop", []))
    if "add" in change:
        rows[change["add"]] = 1.0
    if "timeless" in change:
        rows.loc[: change["timeless"] - 1, "event_timestamp"] = pd.NaT
    with pytest.raises(ToolRejected, match=reason):
        store.feast.training_frame(store.registry, rows)


def test_a_column_named_like_a_feature_is_refused_by_the_join(store: Store) -> None:
    rows = entity_rows(3).assign(specialty="mine")
    with pytest.raises(ToolRejected, match=r"columns that are features too \(specialty\)"):
        store.feast.get_historical_features(rows, "conversion")


def test_a_table_without_its_plan_says_what_to_do(store: Store) -> None:
    lost = store.tables[PATIENT_FEATURES].model_copy(update={"key": "lost"})
    with pytest.raises(ToolRejected, match="Materialize patient_features again"):
        store.feast.apply({**store.tables, PATIENT_FEATURES: lost})


def test_nothing_to_apply_is_refused(tmp_path: Path) -> None:
    feast = feast_in(tmp_path)
    with pytest.raises(ToolRejected, match="nothing to apply"):
        feast.apply({v: feast.write_view(v, {}, [], WINDOW_DAYS).table for v in ENTITIES})


def test_a_registry_that_cannot_be_opened_is_unavailable(store: Store, tmp_path: Path) -> None:
    feast = feast_in(tmp_path, registry=f"sqlite:///{tmp_path}/nowhere/registry.db")
    (tmp_path / "features").symlink_to(Path(store.feast.state_dir) / "features")
    with pytest.raises(ToolUnavailable, match=r"Feast could not apply .* Check FEAST_REGISTRY_PATH"):
        feast.apply(store.tables)


def test_a_missing_repository_is_a_wrong_configuration(store: Store, tmp_path: Path) -> None:
    feast = feast_in(Path(store.feast.state_dir), repo=str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="FEAST_REPO_PATH"):
        feast.apply(store.tables)


def test_the_definitions_open_in_a_text_editor(store: Store) -> None:
    definitions = json.loads(Path(store.registry.definitions).read_text(encoding="utf-8"))
    assert definitions["key"] == store.registry.key
    stored = {c["name"]: c for c in definitions["views"][PATIENT_FEATURES]["covariates"]}
    of_events = [c for c in COVARIATES if c["table"] in ("patient_journeys", "treatment_events")]
    plain = {c["name"] for c in of_events if not c.get("window")}
    assert plain == {name for name, column in stored.items() if "role" not in column["tags"]}
    recent = stored["recent_drug_times"], stored["recent_drug_values"]
    assert [column["dtype"] for column in recent] == ["Array(Int64)", "Array(String)"]
    assert all(column["tags"] == {"role": "anchor", "feature": "recent_drug"} for column in recent)


def test_the_environment_and_the_module_table_are_left_as_they_were(store: Store) -> None:
    before = dict(os.environ), set(sys.modules)
    store.feast.apply(store.tables)
    store.feast.training_frame(store.registry, entity_rows(2))
    assert dict(os.environ) == before[0]
    assert {"definitions", "entities", "services", "sources", "views"}.isdisjoint(sys.modules)
