"""The third-party OMOP drop through `examples/omop.yaml`: its counts agree with the README that lies beside it."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

from e2i_pipeline.config.loader import PROJECT, load_settings
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain import cohorts, splits
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.connectors.omop import OmopConnector
from e2i_pipeline_tests.resources.connectors.omop_drop import shared_omop

AS_OF = "TIMESTAMP '2019-01-09 00:00:00'"  # the drop's last day


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(
        {
            "E2I_CONFIG": str(PROJECT / "examples" / "omop.yaml"),
            "E2I_DATA": str(shared_omop()),
            "E2I_STATE_DIR": str(tmp_path_factory.mktemp("state")),
        }
    )


@pytest.fixture(scope="module")
def source(chosen: Settings) -> OmopConnector:
    assert chosen.source.location is not None
    return OmopConnector(chosen.source.location, chosen.cohort, chosen.brands[0], chosen.source.omop.null_markers)


@pytest.fixture(scope="module")
def connection(source: OmopConnector) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        for table in ("patient_journeys", "treatment_events"):
            opened.execute(f"CREATE TABLE {table} AS {source.query(opened, table)}")
        yield opened


def only(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    return connection.execute(query).fetchone() or ()


@pytest.fixture(scope="module")
def defects(connection: duckdb.DuckDBPyConnection, source: OmopConnector) -> dict[str, dict[str, tuple[int, int]]]:
    """Rows and rows looked at, by defect, by OMOP table."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for table in ("patient_journeys", "treatment_events"):
        for defect in source.defects(connection, table):
            found.setdefault(defect.table, {})[defect.defect] = (defect.rows, defect.of_rows)
    return found


def test_example_is_valid_and_wants_a_folder(tmp_path: Path) -> None:
    environment = {"E2I_CONFIG": str(PROJECT / "examples" / "omop.yaml"), "E2I_STATE_DIR": str(tmp_path)}
    with pytest.raises(ConfigurationError, match="E2I_DATA"):
        load_settings(environment)
    loaded = load_settings({**environment, "E2I_DATA": str(tmp_path)})
    assert (loaded.source.kind, loaded.source.location) == ("omop", str(tmp_path))
    OmopConnector(str(tmp_path), loaded.cohort, loaded.brands[0], **loaded.source.omop.model_dump())


def test_drop_that_is_not_there_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("E2I_SHARED_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="E2I_SHARED_DATA"):
        shared_omop()


def test_cohort_has_the_known_size(connection: duckdb.DuckDBPyConnection) -> None:
    found = only(
        connection,
        "SELECT count(*), count(DISTINCT patient_id), count_if(treatment_initiated = 1), "
        "count_if(days_to_treatment = 0), count_if(treatment_initiated IS NULL) FROM patient_journeys",
    )
    # 367 begin treatment within 180 days, 333 of them on the index day; 3 of these in a window that is still open
    assert found == (970, 970, 364, 330, 14)


def test_events_are_those_that_are_left(connection: duckdb.DuckDBPyConnection) -> None:
    found = dict(connection.execute("SELECT event_type, count(*) FROM treatment_events GROUP BY event_type").fetchall())
    assert found == {
        "diagnosis": 7294,
        "prescription": 18885,
        "consultation": 27987,
        "hospitalization": 915,
        "procedure": 15131,
        "lab_test": 178652,
    }
    rows, distinct = only(connection, "SELECT count(*), count(DISTINCT treatment_event_id) FROM treatment_events")
    assert rows == distinct


def test_defects_agree_with_the_readme(defects: dict[str, dict[str, tuple[int, int]]]) -> None:
    drugs = defects["drug_exposure"]
    assert drugs["no standard concept (drug_concept_id 0)"] == (7911, 29518)
    assert round(7911 / 29518, 3) == 0.268
    assert drugs["no drug concept, and the source code is a condition's"] == (6758, 29518)
    assert (round(6758 / 29518, 3), round(6758 / 7911, 2)) == (0.229, 0.85)
    assert drugs["no drug concept, and a condition row has the same person, code and day"] == (1141, 29518)
    assert drugs["without a visit"] == (464, 29518)
    assert drugs["equal to another row in all but the primary key"] == (2, 29518)
    conditions = defects["condition_occurrence"]
    assert conditions["without a visit"] == (11, 7900)
    assert conditions["no standard concept (condition_concept_id 0)"] == (825, 7900)
    persons = defects["person"]
    assert persons["without an observation period"] == (4, 1130)
    assert persons["year of birth is missing, before 1850 or after the last event in the data"] == (1, 1130)
    visits = defects["visit_occurrence"]
    assert visits["dated before 1930, from 1909 on"] == (54, 32153)
    assert any("a subset of 639 concepts" in words for words in defects["concept"])


def test_rules_of_the_cohort_exclude_what_they_say(chosen: Settings) -> None:
    rules = {"index_in_observation": True, "prior_observation_days": 365, "washout_days": 365}
    source = OmopConnector(str(chosen.source.location), chosen.cohort.model_copy(update=rules), chosen.brands[0])
    with duckdb.connect() as opened:
        query = source.query(opened, "patient_journeys")
        assert only(opened, f"SELECT count(*), count_if(treatment_initiated = 1) FROM ({query})") == (942, 342)
        found = source.defects(opened, "patient_journeys")
    excluded = [(d.rows, d.of_rows) for d in found if d.table == "cohort"]
    assert excluded == [(7, 2301), (1, 970), (90, 2294), (18, 969), (205, 2204), (9, 951)]
    assert [d.defect for d in found if d.table == "cdm_source"] == ["OMOP CDM 5.4 by its columns"]


def test_eras_of_the_drop_are_those_that_would_be_derived(chosen: Settings, tmp_path: Path) -> None:
    """Of eras whose ingredient is also the concept of an exposure: without a vocabulary only these are comparable."""
    folder = shared_omop()
    for file in folder.glob("*.parquet"):
        if file.stem != "drug_era":
            (tmp_path / file.name).symlink_to(file)
    assert chosen.cohort.treatment is not None
    treatment = chosen.cohort.treatment.model_copy(update={"table": "drug_era"})
    cohort = chosen.cohort.model_copy(update={"treatment": treatment})
    source = OmopConnector(str(tmp_path), cohort, chosen.brands[0])
    with duckdb.connect() as opened:
        query = source.query(opened, "patient_journeys")
        assert only(opened, f"SELECT count(*), count_if(treatment_initiated = 1) FROM ({query})") == (970, 364)
        columns = "person_id, drug_concept_id, drug_era_start_date, drug_era_end_date"
        given = f"(SELECT {columns} FROM '{folder}/drug_era.parquet')"
        derived = (
            f"(SELECT {columns} FROM omop_drug_era WHERE drug_concept_id IN (SELECT drug_concept_id FROM {given}))"
        )
        assert only(
            opened, f"SELECT (SELECT count(*) FROM {derived}), count(*) FROM ({derived} INTERSECT {given})"
        ) == (
            6,
            6,
        )


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("person", 1130),
        ("condition_occurrence", 7900),
        ("drug_exposure", 29518),
        ("visit_occurrence", 32153),
        ("procedure_occurrence", 17333),
        ("measurement", 199514),
    ],
)
def test_provider_is_missing_everywhere(defects: dict[str, dict[str, tuple[int, int]]], table: str, rows: int) -> None:
    assert defects[table]["provider_id is empty or 0"] == (rows, rows)


def test_example_declares_absent_exactly_what_is_not_delivered(
    connection: duckdb.DuckDBPyConnection, chosen: Settings
) -> None:
    assert set(chosen.source.absent.tables) == {"hcp_profiles", "engagement_events"}
    for table in ("patient_journeys", "treatment_events"):
        delivered = {name for name, *_ in connection.execute(f"DESCRIBE {table}").fetchall()}
        assert set(chosen.source.absent.columns[table]) == set(TABLES[table].names) - delivered
        assert {c.column for c in chosen.features.covariates if c.table == table} <= delivered


def test_cohort_is_large_enough_to_learn(connection: duckdb.DuckDBPyConnection, chosen: Settings) -> None:
    mature = cohorts.mature_sql(chosen.cohort.outcome_window_days, AS_OF, known_at="journey_start_date")
    frame = connection.execute(f"SELECT *, {mature} AS is_mature FROM patient_journeys").df()
    index_dates = frame["journey_start_date"].to_numpy().astype("datetime64[D]")
    is_mature = frame["is_mature"].to_numpy(dtype=bool)
    assert is_mature.sum() == 956
    shares = (chosen.splits.train, chosen.splits.validation, chosen.splits.test, chosen.splits.holdout)
    cuts = splits.compute_cuts(index_dates[is_mature], shares, chosen.splits.gap_days, chosen.splits.version)
    split = splits.assign(index_dates, frame["patient_id"].to_numpy(), is_mature, cuts)
    positive = frame["treatment_initiated"].eq(1).to_numpy(dtype=bool, na_value=False)
    counts = {str(s): (int((split == s).sum()), int((positive & (split == s)).sum())) for s in np.unique(split)}
    assert counts == {
        "train": (574, 214),
        "validation": (189, 75),
        "test": (142, 50),
        "holdout": (47, 25),
        "unassigned": (18, 0),
    }
    cohorts.check_size(counts, chosen.cohort)
