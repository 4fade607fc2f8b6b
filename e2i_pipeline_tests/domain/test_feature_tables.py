"""The SQL of the feature tables against the oracle, row by row and moment by moment."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from e2i_pipeline.domain.feature_tables import view_query
from e2i_pipeline.domain.features import ENTITIES, PATIENT_FEATURES, model_features, plan_view
from e2i_pipeline.domain.prediction_time import at_prediction_time
from e2i_pipeline_tests.feature_oracle import (
    BEGIN,
    COVARIATES,
    History,
    Oracle,
    Row,
    midnight,
    random_history,
    restated,
)
from e2i_pipeline_tests.staged import stage

WINDOW_DAYS = 7


class Known:
    """The feature tables of a history, read as Feast reads them."""

    def __init__(self, folder: Path, history: History, covariates: list[Row], bound: str = "<=") -> None:
        tables = stage(folder, history._asdict())
        relations = {name: f"read_parquet('{ref.location}')" for name, ref in tables.items()}
        self._plans = [plan_view(view, tables, covariates, bound) for view in ENTITIES]
        self.features = model_features(self._plans)
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        for plan in self._plans:
            query = view_query(plan, tables, relations, WINDOW_DAYS)
            self.connection.execute(f"CREATE TABLE {plan.view} AS {query}")
        self._rows = {plan.view: self._by_entity(plan.view, plan.entity) for plan in self._plans}

    def at(self, patient: str, hcp: str | None, time: datetime) -> Row:
        """The model's features, and the auxiliary dates, of one entity row."""
        return self.at_all([(patient, hcp, time)])[0]

    def at_all(self, asked: list[tuple[str, str | None, datetime]]) -> list[Row]:
        """The same, of several entity rows."""
        stored = pd.DataFrame([self._stored(*one) for one in asked], dtype=object)
        times = pd.Series([time for *_, time in asked])
        features = at_prediction_time(stored, times, self.features, WINDOW_DAYS)
        dates = stored[["first_call_date", "last_call_date"]]
        return [{**f, **d} for f, d in zip(features.to_dict("records"), dates.to_dict("records"), strict=True)]

    def _by_entity(self, view: str, entity: str) -> dict[str, list[Row]]:
        rows: dict[str, list[Row]] = {}
        for row in self.connection.sql(f"FROM {view}").to_arrow_table().to_pylist():
            naive = {n: v.replace(tzinfo=None) if isinstance(v, datetime) else v for n, v in row.items()}
            rows.setdefault(row[entity], []).append(naive)
        return rows

    def _stored(self, patient: str, hcp: str | None, time: datetime) -> Row:
        keys = {"patient_id": patient, "hcp_id": hcp}
        stored: Row = {}
        for plan in self._plans:
            rows = self._rows[plan.view].get(keys[plan.entity], [])
            seen = [r for r in rows if r["event_timestamp"] <= time and r["created_timestamp"] <= time]
            latest: Row = max(seen, key=lambda r: (r["event_timestamp"], r["created_timestamp"]), default={})
            stored |= {name: latest.get(name) for name in plan.names}
        return stored


def _assert_same(found: Row, expected: Row) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        if value is None:
            assert pd.isna(found[name]), name
        elif isinstance(value, str | datetime):
            assert found[name] == value, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("is_restated", [False, True])
@pytest.mark.parametrize(
    ("seed", "bound"), [*((seed, "<=") for seed in range(12)), *((seed, "<") for seed in range(6))]
)
def test_every_feature_is_what_was_known_at_each_moment(
    seed: int, bound: str, is_restated: bool, tmp_path: Path
) -> None:
    history = restated(random_history(seed), seed) if is_restated else random_history(seed)
    known, oracle = Known(tmp_path, history, COVARIATES, bound), Oracle(history, WINDOW_DAYS, bound)
    pairs = (("p0", "h0"), ("p1", "h1"), ("p2", "h2"), ("p3", "nobody"), ("elsewhere", None))
    times = [BEGIN + timedelta(days=day, hours=hours) for day in range(40) for hours in (0, 9, 20)]
    asked = [(patient, hcp, time) for time in times for patient, hcp in pairs]
    for one, found in zip(asked, known.at_all(asked), strict=True):
        _assert_same(found, oracle.features(*one))


@pytest.mark.parametrize("is_restated", [False, True])
def test_a_change_is_one_row_and_rows_never_go_back(is_restated: bool, tmp_path: Path) -> None:
    history = restated(random_history(3), 3) if is_restated else random_history(3)
    known = Known(tmp_path, history, COVARIATES)
    for view, entity in ENTITIES.items():
        columns = f"{entity}, event_timestamp AS event, created_timestamp AS created"
        assert known.connection.sql(f"SELECT * FROM {view} WHERE event_timestamp > created_timestamp").fetchall() == []
        assert (
            known.connection.sql(f"""
                SELECT * FROM (SELECT {columns}, lag(event) OVER of_one AS before, lag(created) OVER of_one AS known
                    FROM {view} WINDOW of_one AS (PARTITION BY {entity} ORDER BY created))
                WHERE event < before OR created = known""").fetchall()
            == []
        )


def _journey(**changes: Any) -> Row:
    start = midnight(date(2024, 3, 1))
    return {
        "patient_journey_id": "j",
        "patient_id": "p",
        "hcp_id": "h",
        "journey_start_date": start.date(),
        "comorbidities": ["a"],
        "risk_score": 0.5,
        "known_at": start,
        "baseline_known_at": start,
        **changes,
    }


def _event(day: int, kind: str = "prescription", **changes: Any) -> Row:
    return {
        "treatment_event_id": f"e{day}{kind}",
        "patient_id": "p",
        "event_date": date(2024, 3, day),
        "event_type": kind,
        "cost": 1.0,
        "known_at": datetime(2024, 3, day),  # noqa: DTZ001
        **changes,
    }


def _known(
    folder: Path,
    journeys: list[Row],
    events: list[Row],
    touches: list[Row] | None = None,
    covariates: list[Row] | None = None,
) -> Known:
    touch = {
        "engagement_event_id": "t",
        "hcp_id": "nobody",
        "patient_id": None,
        "event_timestamp": BEGIN,
        "channel": "email",
        "event_type": None,
        "response": None,
        "known_at": BEGIN,
    }
    profile = {"hcp_id": "h", "specialty": "s", "total_patient_volume": 1, "updated_at": BEGIN, "known_at": BEGIN}
    history = History(journeys, events, [profile], [{**touch, **t} for t in touches or [{}]])
    return Known(folder, history, covariates or [])


def test_an_event_of_the_index_day_is_not_seen_at_the_index_date_but_the_baseline_is(tmp_path: Path) -> None:
    known = _known(tmp_path, [_journey()], [_event(1), _event(1, "diagnosis")])
    index = midnight(date(2024, 3, 1))
    on_the_day = known.at("p", "h", index)
    assert on_the_day["treatment_count"] == 0
    assert on_the_day["risk_score"] == 0.5
    assert pd.isna(on_the_day["days_since_diagnosis"])
    assert on_the_day["total_patients"] == 1
    a_day_later = known.at("p", "h", index + timedelta(days=1))
    assert a_day_later["treatment_count"] == 1
    assert a_day_later["days_since_diagnosis"] == 1


def test_a_touch_of_the_very_moment_is_seen_and_one_of_the_windows_edge_is_not(tmp_path: Path) -> None:
    index = midnight(date(2024, 3, 1))
    edge = index - timedelta(days=WINDOW_DAYS)
    times = [edge - timedelta(microseconds=1), edge, edge + timedelta(microseconds=1), index]
    touches = [
        {"engagement_event_id": f"t{n}", "hcp_id": "h", "event_timestamp": t, "known_at": t}
        for n, t in enumerate(times)
    ]
    known = _known(tmp_path, [_journey()], [_event(1)], touches)
    assert known.at("p", "h", index)["recent_touches"] == 2


def test_a_view_that_declares_a_strict_bound_sees_a_touch_only_after_its_moment(tmp_path: Path) -> None:
    index = midnight(date(2024, 3, 1))
    history = random_history(0)
    touch = {**history.engagement_events[0], "patient_id": "p", "event_timestamp": index, "known_at": index}
    history = history._replace(patient_journeys=[_journey()], engagement_events=[touch])
    seen = {
        bound: [
            Known(tmp_path, history, [], bound).at("p", "h", at)["recent_touches"]
            for at in (index, index + timedelta(microseconds=1))
        ]
        for bound in ("<=", "<")
    }
    assert seen == {"<=": [1, 1], "<": [0, 1]}


def test_a_window_of_days_holds_as_many_days_before_the_midnight_of_prediction(tmp_path: Path) -> None:
    """The day of prediction is not among them, the day at the far end is; what arrives late counts when it is known."""
    days = {9: 1.0, 10: 10.0, 19: 100.0, 20: 1000.0}
    late = _event(15, treatment_event_id="late", cost=1e4, known_at=datetime(2024, 3, 20, 12))  # noqa: DTZ001
    events = [*(_event(day, cost=cost) for day, cost in days.items()), late]
    covariate = {"name": "spent", "table": "treatment_events", "column": "cost", "dtype": "numeric", "window": 10}
    covariates = [{**covariate, "aggregation": "sum"}, {**covariate, "name": "bills", "aggregation": "count"}]
    known = _known(tmp_path, [_journey()], events, covariates=covariates)
    at = midnight(date(2024, 3, 20))
    assert (known.at("p", "h", at)["spent"], known.at("p", "h", at)["bills"]) == (110.0, 2.0)
    at += timedelta(hours=12)
    assert known.at("p", "h", at)["spent"] == 100.0 + 1000.0 + 1e4
    much_later = known.at("p", "h", at + timedelta(days=90))
    assert pd.isna(much_later["spent"])
    assert much_later["bills"] == 0


def test_a_patient_whom_nobody_touched_has_no_recent_touch_and_an_unknown_patient_has_null(tmp_path: Path) -> None:
    known = _known(tmp_path, [_journey()], [_event(1)])
    index = midnight(date(2024, 3, 1))
    assert known.at("p", "h", index)["recent_touches"] == 0
    assert pd.isna(known.at("stranger", "h", index)["recent_touches"])


def test_a_restated_baseline_counts_from_its_own_arrival(tmp_path: Path) -> None:
    late = datetime(2024, 3, 9)  # noqa: DTZ001
    versions = [_journey(), _journey(risk_score=0.9, known_at=late)]
    known = _known(tmp_path, versions, [_event(1)])
    assert known.at("p", "h", late - timedelta(microseconds=1))["risk_score"] == 0.5
    assert known.at("p", "h", late)["risk_score"] == 0.9


def test_of_two_versions_that_count_from_one_moment_the_later_one_wins(tmp_path: Path) -> None:
    baseline = datetime(2024, 3, 20)  # noqa: DTZ001
    versions = [
        _journey(risk_score=0.9, baseline_known_at=baseline),
        _journey(risk_score=0.1, baseline_known_at=baseline, known_at=datetime(2024, 3, 2)),  # noqa: DTZ001
    ]
    known = _known(tmp_path, versions, [_event(1)])
    assert known.at("p", "h", baseline)["risk_score"] == 0.1


def test_rows_that_cannot_be_placed_are_left_out(tmp_path: Path) -> None:
    events = [_event(1), _event(2, known_at=None), _event(3, event_date=None), _event(4, patient_id=None)]
    known = _known(tmp_path, [_journey()], events)
    later = midnight(date(2024, 5, 1))
    assert known.at("p", "h", later)["treatment_count"] == 1


def test_a_sum_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    events = [_event(day % 28 + 1, treatment_event_id=f"e{day}", cost=0.1 * day) for day in range(3000)]
    tables = stage(tmp_path, {"patient_journeys": [_journey()], "treatment_events": events})
    relations = {name: f"read_parquet('{ref.location}')" for name, ref in tables.items()}
    query = view_query(plan_view(PATIENT_FEATURES, tables), tables, relations, WINDOW_DAYS)
    found = []
    for threads in (1, 4):
        connection = duckdb.connect(config={"threads": threads})
        found.append(connection.sql(f"SELECT created_timestamp, total_cost FROM ({query}) ORDER BY ALL").fetchall())
    assert found[0] == found[1]
