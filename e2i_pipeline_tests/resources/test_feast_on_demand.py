"""On-demand views: the same values as the pipeline computes, offline and online, and no pickle in the registry."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast.protos.feast.core.OnDemandFeatureView_pb2 import OnDemandFeatureView as ViewProto

from e2i_pipeline.domain.features import ANCHORS, PATIENT_FEATURES
from e2i_pipeline.domain.prediction_time import at_prediction_time
from e2i_pipeline.resources.feast_repository import FeastRepository
from e2i_pipeline_tests.feature_store import (
    FEATURE_REPO,
    UNTIL,
    WINDOW_DAYS,
    Store,
    applied_store,
    entity_rows,
    feast_in,
    write_views,
)
from e2i_pipeline_tests.staged import stage

DAY = timedelta(days=1)
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
PICKLE = b"\x80\x04\x95"  # how every pickle of protocol 4 begins; dill writes no other


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return applied_store(tmp_path_factory.mktemp("state"))


def _view_protos(state: Path) -> list[ViewProto]:
    with sqlite3.connect(state / "feast" / "registry.db") as connection:
        tables = ("on_demand_feature_views", "feature_view_version_history WHERE feature_view_type LIKE 'on_demand%'")
        rows = [row[0] for t in tables for row in connection.execute(f"SELECT feature_view_proto FROM {t}")]
    return [ViewProto.FromString(row) for row in rows]


def _expected(rows: pd.DataFrame, stored: pd.DataFrame, store: Store, window_days: int) -> pd.DataFrame:
    timely = [feature for feature in store.registry.features if feature.name in ANCHORS]
    return at_prediction_time(stored, rows["event_timestamp"], timely, window_days)


def test_offline_they_equal_what_the_pipeline_computes(store: Store) -> None:
    rows = entity_rows(300)
    found = store.feast.get_historical_features(rows, list(_TIMELY))
    expected = _expected(rows, store.feast.get_historical_features(rows, "conversion"), store, WINDOW_DAYS)
    pd.testing.assert_frame_equal(found[list(ANCHORS)].astype("float64"), expected[list(ANCHORS)])
    assert expected.notna().any().all(), "each of them has values"
    assert expected.isna().any().all(), "and nulls"


_TIMELY = {f"{name}_on_demand:{name}": name for name in ANCHORS}


def test_online_they_equal_what_the_pipeline_computes(store: Store) -> None:
    store.feast.materialize(store.registry, UNTIL)
    rows = entity_rows(60).assign(event_timestamp=UNTIL)
    asked: list[dict[str, Any]] = [
        {"patient_id": r.patient_id, "hcp_id": r.hcp_id or "", "prediction_time": UNTIL.replace(tzinfo=UTC)}
        for r in rows.itertuples()
    ]
    answer = store.feast.get_online_features(asked, list(_TIMELY))
    expected = store.feast.online_frame(store.registry, rows)
    for name in ANCHORS:
        found = pd.Series(answer[name], dtype="float64")
        pd.testing.assert_series_equal(found, expected[name], check_names=False)
        assert all(value is None for value, is_null in zip(answer[name], found.isna(), strict=True) if is_null), name


def test_at_the_edges_they_equal_the_pipeline(store: Store) -> None:
    """The function of the registry itself, on anchors that a small history does not have."""
    window = WINDOW_DAYS * DAY
    microsecond = timedelta(microseconds=1)
    touches = [NOW - window, NOW - window + microsecond, NOW, NOW + microsecond]
    microseconds = [int(t.timestamp()) * 1_000_000 + t.microsecond for t in touches]
    calls = [0, 1, 7, None, 3]
    stored = pd.DataFrame(
        {
            "first_diagnosis_date": [NOW, NOW - DAY, NOW - DAY + microsecond, None, NOW + DAY],
            "call_count": pd.array(calls, dtype="Int64"),
            "first_call_date": [None, NOW, NOW - 30 * DAY, NOW - 31 * DAY, NOW - 300 * DAY],
            "recent_touch_times": [microseconds, [], None, np.array(microseconds), microseconds[:1]],
        }
    )
    prediction = pd.Series([NOW] * len(stored))
    timely = [feature for feature in store.registry.features if feature.name in ANCHORS]
    expected = at_prediction_time(stored.astype({"call_count": "float64"}), prediction, timely, WINDOW_DAYS)
    for zone in (prediction, prediction.dt.tz_localize(None), prediction.dt.tz_convert("Asia/Tokyo")):
        inputs = stored.assign(prediction_time=zone)
        for view in _open(store).list_on_demand_feature_views():
            name = view.features[0].name
            if name in ANCHORS:
                found = view.feature_transformation.udf(inputs)[name]
                pd.testing.assert_series_equal(found, expected[name], obj=f"{name} {zone.dtype}")
    assert list(expected["recent_touches"][:2]) == [2, 0]
    assert list(expected["days_since_diagnosis"][:3]) == [0, 1, 0]


def _open(store: Store) -> Any:
    return _repository(store).open()


def _repository(store: Store) -> FeastRepository:
    return store.feast._repository()


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_what_only_the_request_knows_meets_what_is_stored(store: Store, mode: str) -> None:
    store.feast.materialize(store.registry, UNTIL)
    stored = store.feast.online_frame(store.registry, entity_rows(40).assign(event_timestamp=UNTIL))
    rows = stored[["patient_id", "hcp_id", "event_timestamp", "channel_preferences"]].drop_duplicates("patient_id")
    rows["planned_channel"] = ["fax", "email", "phone", "webinar", None, "crm"][: len(rows)]
    expected = [
        None
        if row.planned_channel is None or row.channel_preferences is None
        else float((row.planned_channel if row.planned_channel != "fax" else "other") == row.channel_preferences)
        for row in rows.itertuples()
    ]
    asked = rows.drop(columns="channel_preferences")
    reference = ["is_preferred_channel_on_demand:is_preferred_channel"]
    if mode == "offline":
        values = store.feast.get_historical_features(asked, reference)["is_preferred_channel"]
    else:
        entities = asked[["patient_id", "planned_channel"]].to_dict("records")
        values = pd.Series(store.feast.get_online_features(entities, reference)["is_preferred_channel"])
    assert [None if pd.isna(v) else float(v) for v in values] == expected
    assert {0.0, None} <= set(expected)


def test_one_service_gives_stored_and_ready_values_together(store: Store) -> None:
    rows = entity_rows(5).assign(planned_channel="email")
    found = store.feast.get_historical_features(rows, "on_demand")
    assert {*ANCHORS, "is_preferred_channel", "recent_touch_times", "specialty"} <= set(found.columns)
    assert list(found["label"]) == list(rows["label"])


def test_no_pickle_is_ever_in_the_registry_and_another_window_is_another_function(tmp_path: Path) -> None:
    store = applied_store(tmp_path, seed=3)
    rows, reference = entity_rows(100), ["recent_touches_on_demand:recent_touches"]
    narrow = store.feast.get_historical_features(rows, reference)["recent_touches"]
    file = tmp_path / "feast" / "registry.db"
    moments = [file.read_bytes()]
    store.feast.apply(store.tables)
    moments.append(file.read_bytes())
    store.feast.materialize(store.registry, UNTIL)
    moments.append(file.read_bytes())
    wider = store.feast.apply(write_views(store.feast, store.staged, window_days=30))
    moments.append(file.read_bytes())
    assert [moment.count(PICKLE) for moment in moments] == [0, 0, 0, 0]
    functions = [proto.spec.feature_transformation.user_defined_function for proto in _view_protos(tmp_path)]
    assert len(functions) == 4 + 6, "the four views, and their history: two of them read a table that is another now"
    assert {f.body for f in functions} == {b""}
    assert all(f"def {f.name}(" in f.body_text for f in functions)
    wide = store.feast.get_historical_features(rows, reference)["recent_touches"].astype("float64")
    pd.testing.assert_series_equal(wide, store.feast.training_frame(wider, rows)["recent_touches"])
    assert narrow.sum() < wide.sum()


def test_without_its_anchor_a_view_is_left_out(tmp_path: Path) -> None:
    store = applied_store(tmp_path)
    journeys = [{k: v for k, v in row.items() if k != "hcp_id"} for row in store.history.patient_journeys]
    staged = stage(tmp_path, {"patient_journeys": journeys, "engagement_events": store.history.engagement_events})
    registry = store.feast.apply(write_views(store.feast, staged))
    views = {view.name for view in _open(store).list_on_demand_feature_views()}
    assert views == {"recent_touches_on_demand", "is_preferred_channel_on_demand"}
    assert {"days_since_diagnosis", "call_frequency"} <= set(registry.left_out)
    assert PATIENT_FEATURES in registry.tables
    assert feast_in(tmp_path).is_applied(registry)


def test_the_services_are_made_for_their_purposes(store: Store) -> None:
    services = {service.name: service for service in _open(store).list_feature_services()}
    assert {"conversion", "regression", "effect", "on_demand"} <= set(services)
    seen = {name: {f.name for p in s.feature_view_projections for f in p.features} for name, s in services.items()}
    engagement = {f.name for f in _open(store).get_feature_view("engagement_features").features}
    assert {"recent_touch_times", "channel_preferences", "channel_counts"} <= engagement
    engagement |= {"engagement_rate", "call_count"}
    assert seen["regression"] == seen["conversion"]
    assert seen["effect"] == seen["conversion"] - engagement - {"first_call_date", "last_call_date"}
    assert all(service.description and service.owner for service in services.values())
    assert (FEATURE_REPO / "on_demand.py").is_file()
