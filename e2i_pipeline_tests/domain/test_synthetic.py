"""The generated world: canonical, seeded, honest about time, and with the causal effect that it says."""

from collections.abc import Iterator

import duckdb
import pyarrow.compute as pc
import pytest

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.synthetic import PROCESSES, World, generate

BRANDS = ["Remibrutinib", "Fabhalta", "Kisqali"]


@pytest.fixture(scope="module")
def world() -> World:
    return generate([*BRANDS, "Novel"], seed=7, journeys_per_brand=1500)


@pytest.fixture(scope="module")
def connection(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        for name, table in world.tables.items():
            opened.register(name, table)
        yield opened


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {query}").fetchone()
    assert found is not None
    return found[0]


def test_tables_have_the_canonical_columns_and_types(connection: duckdb.DuckDBPyConnection) -> None:
    for name, schema in TABLES.items():
        described = connection.execute(f"DESCRIBE {name}").fetchall()
        assert [(column, dtype) for column, dtype, *_ in described] == [(c.name, c.dtype) for c in schema.columns]


def test_the_same_seed_gives_the_same_world() -> None:
    first, again, other = (generate(["Kisqali"], seed, 200) for seed in (7, 7, 8))
    assert first.tables == again.tables
    assert first.truth == again.truth
    assert first.tables["patient_journeys"] != other.tables["patient_journeys"]


def test_a_brand_does_not_depend_on_the_others(world: World) -> None:
    alone = generate(["Kisqali"], seed=7, journeys_per_brand=1500)
    for name, table in alone.tables.items():
        among = world.tables[name]
        is_own = pc.starts_with(among[TABLES[name].columns[0].name], "Kisqali-")
        assert among.filter(is_own) == table


@pytest.mark.parametrize(
    "violation",
    [
        "(SELECT patient_id FROM patient_journeys GROUP BY 1 HAVING count(*) > 1)",
        "(SELECT treatment_event_id FROM treatment_events GROUP BY 1 HAVING count(*) > 1)",
        "(SELECT engagement_event_id FROM engagement_events GROUP BY 1 HAVING count(*) > 1)",
        "(SELECT hcp_id, updated_at FROM hcp_profiles GROUP BY ALL HAVING count(*) > 1)",
        "patient_journeys WHERE source_timestamp > ingestion_timestamp OR ingestion_timestamp < journey_start_date",
        "patient_journeys WHERE journey_end_date < journey_start_date",
        "patient_journeys WHERE (days_to_treatment IS NOT NULL) <> (coalesce(treatment_initiated, 0) = 1)",
        "patient_journeys WHERE days_to_treatment NOT BETWEEN 0 AND 179",
        "patient_journeys WHERE NOT regexp_full_match(primary_diagnosis_code, '[A-Z][0-9]{2}(\\.[0-9]{1,4})?')",
        "treatment_events WHERE created_at < event_date OR source_timestamp > created_at OR cost < 0",
        "treatment_events WHERE created_at >= TIMESTAMP '2026-01-01'",
        "treatment_events WHERE patient_id NOT IN (FROM patient_journeys SELECT patient_id)",
        "treatment_events JOIN patient_journeys USING (patient_journey_id) WHERE event_date > journey_end_date",
        "patient_journeys WHERE hcp_id NOT IN (FROM hcp_profiles SELECT hcp_id)",
        "engagement_events WHERE hcp_id NOT IN (FROM hcp_profiles SELECT hcp_id)",
        "engagement_events WHERE created_at < event_timestamp OR created_at >= TIMESTAMP '2026-01-01'",
        "hcp_profiles WHERE priority_tier NOT BETWEEN 1 AND 5 OR decile NOT BETWEEN 1 AND 10",
        "hcp_profiles WHERE digital_engagement_score NOT BETWEEN 0 AND 1 OR peer_influence_score NOT BETWEEN 0 AND 1",
        "(SELECT hcp_id FROM hcp_profiles GROUP BY 1 HAVING min(updated_at) >= DATE '2023-01-01' OR count(*) > 2)",
        """(SELECT sequence_number - row_number() OVER (PARTITION BY patient_id ORDER BY event_date, sequence_number)
            AS off FROM treatment_events) WHERE off <> 0""",
    ],
)
def test_no_row_breaks_the_rule(connection: duckdb.DuckDBPyConnection, violation: str) -> None:
    assert count(connection, violation) == 0


def test_an_open_window_has_no_label(connection: duckdb.DuckDBPyConnection) -> None:
    is_open = "journey_start_date + 180 > DATE '2025-12-31'"
    assert count(connection, f"patient_journeys WHERE (treatment_initiated IS NULL) <> ({is_open})") == 0
    assert 0.05 < count(connection, f"patient_journeys WHERE {is_open}") / 6000 < 0.10


def test_initiators_have_a_prescription_of_the_brand_on_the_day(connection: duckdb.DuckDBPyConnection) -> None:
    prescribed = "SELECT patient_journey_id, event_date FROM treatment_events WHERE drug_name = brand"
    without = f"""patient_journeys AS j WHERE treatment_initiated = 1 AND created_at < TIMESTAMP '2025-06-01'
        AND (patient_journey_id, journey_start_date + days_to_treatment) NOT IN ({prescribed})"""
    assert count(connection, without) == 0
    before = f"patient_journeys JOIN ({prescribed}) USING (patient_journey_id) WHERE event_date < journey_start_date"
    assert count(connection, before) == 0


def test_sizes_are_as_documented(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    assert world.tables["patient_journeys"].num_rows == 6000
    assert 6 < world.tables["treatment_events"].num_rows / 6000 < 8
    assert count(connection, "(SELECT DISTINCT hcp_id FROM hcp_profiles)") == 4 * 30
    assert 0 < count(connection, "patient_journeys WHERE insurance_type IS NULL") / 6000 < 0.03


@pytest.mark.parametrize(
    ("brand", "codes", "specialties"),
    [
        ("Remibrutinib", {"L50.1", "L50.8", "L50.9"}, {"dermatology", "allergy and immunology", "rheumatology"}),
        ("Fabhalta", {"D59.5"}, {"haematology", "internal medicine", "neurology"}),
        ("Kisqali", {"C50.911", "C50.912", "C50.919", "C50.411"}, {"oncology"}),
        ("Novel", {"I10", "E11.9", "J45.909"}, {"internal medicine", "family medicine", "general practice"}),
    ],
)
def test_the_brand_shapes_codes_and_specialties(
    connection: duckdb.DuckDBPyConnection, brand: str, codes: set[str], specialties: set[str]
) -> None:
    def values(column: str, table: str, key: str) -> set[str]:
        query = f"SELECT DISTINCT {column} FROM {table} WHERE starts_with({key}, '{brand}-')"
        return {value for (value,) in connection.execute(query).fetchall()}

    assert values("primary_diagnosis_code", "patient_journeys", "patient_id") == codes
    assert values("specialty", "hcp_profiles", "hcp_id") == specialties


def test_the_truth_is_told_per_brand(world: World) -> None:
    assert list(world.truth["brands"]) == [*BRANDS, "Novel"]
    for truth in world.truth["brands"].values():
        assert 0.72 < truth["best_auc"] < 0.82
        assert truth["treatment_rate"] == 0.30
    journeys = world.tables["patient_journeys"]
    assert pc.mean(journeys["treatment_initiated"]).as_py() == pytest.approx(0.30, abs=0.03)


def test_an_unknown_process_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'magic'; there are simple_linear, confounded") as caught:
        generate(["Kisqali"], 1, 10, process="magic")
    assert all(name in str(caught.value) for name in PROCESSES)


def test_the_smallest_world_is_whole() -> None:
    world = generate(["Kisqali"], seed=1, journeys_per_brand=10, outcome_window_days=1)
    assert world.tables["patient_journeys"].num_rows == 10
    assert world.tables["patient_journeys"]["treatment_initiated"].null_count == 0
