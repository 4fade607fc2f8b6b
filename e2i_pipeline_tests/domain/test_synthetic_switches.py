"""What can be switched on: late and restated rows, what is missing and why, the seasons. Off by default."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow.compute as pc
import pytest

from e2i_pipeline.domain.synthetic import BLOCK, World, generate, generate_blocks
from e2i_pipeline.domain.synthetic_process import Design

JOURNEYS = 8_000
LAST = "QUALIFY row_number() OVER (PARTITION BY patient_journey_id ORDER BY ingestion_timestamp DESC) = 1"
VERSION = "rank() OVER (PARTITION BY patient_journey_id ORDER BY ingestion_timestamp) AS version"
FINAL = "TIMESTAMP '2025-12-31 23:59:59'"


def world_of(**switches: Any) -> World:
    return generate(["Kisqali"], seed=5, journeys_per_brand=JOURNEYS, **switches)


@contextmanager
def asked(**worlds: World) -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables of worlds, each under the schema of its name."""
    with duckdb.connect() as connection:
        for name, world in worlds.items():
            connection.execute(f"CREATE SCHEMA {name}")
            for table, rows in world.tables.items():
                connection.register("rows", rows)
                connection.execute(f"CREATE TABLE {name}.{table} AS FROM rows")
        yield connection


def number(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    found = connection.execute(query).fetchone()
    assert found is not None
    return found[0]


def test_restated_journeys_begin_on_the_index_day_and_end_with_the_truth() -> None:
    with asked(restated=world_of(restated_share=0.2), plain=world_of()) as connection:
        connection.execute(f"CREATE VIEW last AS FROM restated.patient_journeys {LAST}")
        same = "patient_journey_id, patient_id, treatment_initiated, days_to_treatment, engagement_score, risk_score"
        other = f"SELECT {same} FROM last EXCEPT SELECT {same} FROM plain.patient_journeys"
        assert number(connection, f"SELECT count(*) FROM ({other})") == 0
        assert number(connection, "SELECT count(*) FROM last") == JOURNEYS
        connection.execute(f"CREATE VIEW v AS SELECT *, {VERSION} FROM restated.patient_journeys")
        baseline = "FROM v WHERE version = 1"
        late_or_told = """ingestion_timestamp <> journey_start_date OR treatment_initiated IS NOT NULL
            OR days_to_treatment IS NOT NULL OR journey_stage <> 'diagnosis' OR journey_end_date IS NOT NULL"""
        assert number(connection, f"SELECT count(*) FILTER ({late_or_told}) {baseline}") == 0
        assert number(connection, f"SELECT count(*) {baseline}") == JOURNEYS
        share = "SELECT count(*) FILTER (version = 3) / count(*) FILTER (version = 2) FROM v"
        assert 0.15 < number(connection, share) < 0.20
        changed = """SELECT count(*) FROM v AS a JOIN v AS b USING (patient_journey_id)
            WHERE a.version = 2 AND b.version = 3 AND a.treatment_initiated = 0 AND b.treatment_initiated = 1"""
        assert number(connection, changed) > 100
        early = "treatment_initiated = 0 AND ingestion_timestamp < journey_start_date + 180"
        assert number(connection, f"SELECT count(*) FROM v WHERE {early}") == 0


@pytest.mark.parametrize("switches", [{"restated_share": 0.3}, {"late_share": 0.3, "restated_share": 0.3}])
def test_versions_are_in_order_and_known_by_the_final_day(switches: dict[str, float]) -> None:
    with asked(w=world_of(**switches)) as connection:
        journeys = "FROM w.patient_journeys"
        assert number(connection, f"SELECT count(*) {journeys} WHERE source_timestamp > ingestion_timestamp") == 0
        assert number(connection, f"SELECT count(*) {journeys} WHERE ingestion_timestamp > {FINAL}") == 0
        twice = f"SELECT 1 {journeys} GROUP BY patient_journey_id, ingestion_timestamp HAVING count(*) > 1"
        assert number(connection, f"SELECT count(*) FROM ({twice})") == 0
        baseline = "(disease_severity, risk_score, hcp_id, zip_code, journey_start_date)"
        differing = f"SELECT 1 {journeys} GROUP BY patient_journey_id HAVING count(DISTINCT {baseline}) > 1"
        assert number(connection, f"SELECT count(*) FROM ({differing})") == 0


def test_late_rows_come_months_late_and_say_the_same() -> None:
    with asked(late=world_of(late_share=0.25), plain=world_of()) as connection:
        joined = "FROM late.patient_journeys AS l JOIN plain.patient_journeys AS p USING (patient_journey_id)"
        delay = "l.ingestion_timestamp - p.ingestion_timestamp"
        is_late = f"{delay} > INTERVAL 29 DAYS"
        can_be = f"p.ingestion_timestamp < {FINAL} - INTERVAL 121 DAYS"
        assert 0.22 < number(connection, f"SELECT avg(({is_late})::INT) {joined} WHERE {can_be}") < 0.28
        differs = "l.treatment_initiated IS DISTINCT FROM p.treatment_initiated"
        assert number(connection, f"SELECT count(*) {joined} WHERE {differs}") == 0
        events = """SELECT avg((created_at > event_date + INTERVAL 30 DAYS)::INT) FROM {}.treatment_events
            WHERE event_date < DATE '2025-06-01'"""
        assert 0.22 < number(connection, events.format("late")) < 0.28
        assert number(connection, events.format("plain")) == 0
        touches = """SELECT avg((created_at > event_timestamp + INTERVAL 29 DAYS)::INT) FROM late.engagement_events
            WHERE event_timestamp < DATE '2025-06-01'"""
        assert 0.22 < number(connection, touches) < 0.28


def test_restated_events_come_again_with_the_same_id_and_another_cost() -> None:
    with asked(w=world_of(restated_event_share=0.1), plain=world_of()) as connection:
        version = "rank() OVER (PARTITION BY treatment_event_id ORDER BY created_at) AS version"
        connection.execute(f"CREATE VIEW v AS SELECT *, {version} FROM w.treatment_events")
        assert number(connection, "SELECT max(version) FROM v") == 2
        share = "SELECT count(*) FILTER (version = 2) / count(*) FILTER (version = 1) FROM v"
        assert 0.08 < number(connection, share) < 0.10
        first = "SELECT * EXCLUDE (version) FROM v WHERE version = 1"
        assert number(connection, f"SELECT count(*) FROM ({first} EXCEPT FROM plain.treatment_events)") == 0
        pairs = "FROM v AS a JOIN v AS b USING (treatment_event_id) WHERE a.version = 1 AND b.version = 2"
        same = "(a.event_date, a.event_type, a.sequence_number) = (b.event_date, b.event_type, b.sequence_number)"
        assert number(connection, f"SELECT count(*) {pairs} AND NOT ({same})") == 0
        assert number(connection, f"SELECT avg((a.cost <> b.cost)::INT) {pairs}") > 0.9
        untimely = f"source_timestamp > created_at OR created_at > {FINAL}"
        assert number(connection, f"SELECT count(*) FROM w.treatment_events WHERE {untimely}") == 0


def test_severity_is_missing_by_age_and_physician_and_not_by_itself() -> None:
    with asked(w=world_of(missing_share=0.15), plain=world_of()) as connection:
        joined = "FROM w.patient_journeys AS w JOIN plain.patient_journeys AS p USING (patient_journey_id)"
        share = "SELECT avg((w.disease_severity IS NULL)::INT)"
        assert number(connection, f"{share} {joined}") == pytest.approx(0.15, abs=0.015)
        old, young, elsewhere, academic, high, low = (
            number(connection, f"{share} {joined} WHERE {who}")
            for who in (
                *("w.age_at_diagnosis >= 65", "w.age_at_diagnosis < 50"),
                *("w.academic_hcp = 0", "w.academic_hcp = 1"),
                *("p.disease_severity > 5", "p.disease_severity <= 5"),
            )
        )
        assert old > 1.3 * young
        assert elsewhere > 2 * academic
        assert high == pytest.approx(low, abs=0.025)
        assert number(connection, f"SELECT count(*) {joined} WHERE w.disease_severity <> p.disease_severity") == 0


def test_winters_have_more_of_everything() -> None:
    with asked(w=world_of(seasonality=0.6), plain=world_of()) as connection:

        def winter_to_summer(table: str, day: str, value: str = "1", how: str = "sum") -> float:
            part = f"{how}({value}) FILTER (month({day}) IN {{}})"
            winter, summer = part.format("(12, 1, 2)"), part.format("(6, 7, 8)")
            return number(connection, f"SELECT {winter} / {summer} FROM {table} WHERE year({day}) = 2024")

        assert winter_to_summer("w.patient_journeys", "journey_start_date") > 2
        assert winter_to_summer("(FROM w.engagement_events WHERE patient_id IS NULL)", "event_timestamp") > 1.7
        treated = ("journey_start_date", "treatment_initiated", "avg")
        assert winter_to_summer("w.patient_journeys", *treated) > 1.2
        assert 0.85 < winter_to_summer("plain.patient_journeys", "journey_start_date") < 1.15
        assert 0.85 < winter_to_summer("plain.patient_journeys", *treated) < 1.2


def test_a_world_of_several_blocks_is_one_world() -> None:
    design = Design(seed=7, journeys_per_brand=BLOCK + 1_000)
    blocks = list(generate_blocks(["Novel"], design))
    assert [block["patient_journeys"].num_rows for block in blocks] == [BLOCK, 1_000]
    assert {block["treatment_events"].schema for block in blocks} == {blocks[0]["treatment_events"].schema}
    for table, key in (
        ("patient_journeys", "patient_id"),
        ("treatment_events", "treatment_event_id"),
        ("engagement_events", "engagement_event_id"),
    ):
        ids = [block[table][key].cast("string") for block in blocks]
        assert pc.count_distinct(ids[0]).as_py() == len(ids[0])
        assert pc.max(ids[0]).as_py() < pc.min(ids[1]).as_py()
    profiled = {one for block in blocks for one in block["hcp_profiles"]["hcp_id"].to_pylist()}
    assert len(profiled) == (BLOCK + 1_000) // 50
    hcps = [block["patient_journeys"]["hcp_id"].cast("string") for block in blocks]
    named = {one for ids in hcps for one in pc.unique(ids).to_pylist()}
    assert named <= profiled
    first = blocks[0]["patient_journeys"]["engagement_score"][:1_000]
    assert not first.equals(blocks[1]["patient_journeys"]["engagement_score"])
