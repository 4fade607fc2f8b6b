"""The source resource: what lands, what never does, what is found again, and every refusal."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.privacy import pseudonym
from e2i_pipeline.errors import ConfigurationError, SourceError, StateFolderConflict, ToolUnavailable
from e2i_pipeline.resources.connectors.files import FilesConnector
from e2i_pipeline.resources.connectors.synthetic import SyntheticConnector
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline.resources.state_folder import StateFolder

NOW = datetime(2026, 2, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 2, tzinfo=UTC)

Make = Callable[..., SourceResource]

JOURNEYS = """patient_journey_id,patient_id,brand,journey_start_date,comorbidities,age_at_diagnosis,\
treatment_initiated,ingestion_timestamp
J1,PATIENT-ONE,Kisqali,2024-01-05,"[""asthma""]",44,1,2024-03-01 10:00:00
J1,PATIENT-ONE,Kisqali,2024-01-05,asthma; obesity,44,1,2024-05-01T12:00:00+02:00
J2,PATIENT-TWO,Kisqali,2024-02-30,,old,,
"""
PROFILES = """hcp_id,npi,first_name,last_name,specialty,updated_at
H-RAW-1,1234567893,Philomena,Quartermaine,oncology,2023-01-01
"""
EVENTS = """treatment_event_id,patient_id,event_date,event_type,created_at
e1,PATIENT-ONE,2024-01-01,consultation,2024-01-02
"""
RAW_TOKENS = (b"PATIENT-ONE", b"PATIENT-TWO", b"H-RAW-1", b"1234567893", b"Philomena", b"Quartermaine")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a source over `tmp_path`; keyword arguments replace its settings."""

    def source(**given: Any) -> SourceResource:
        settings = {
            "kind": "synthetic",
            "state_dir": str(tmp_path / "state"),
            "brands": ["Kisqali"],
            "cohort": {"unit": "patient", "outcome_window_days": 180},
            "known_at": {"kind": "observed", "days": 0, "baseline_lag_days": 0},
            "absent": {"tables": [], "columns": {}},
            "options": {"seed": 7, "journeys_per_brand": 60},
            "engine": EngineResource(temp_dir=str(tmp_path / "spill")),
        }
        return SourceResource(**{**settings, **given})

    return source


@pytest.fixture
def files(tmp_path: Path, make: Make) -> Make:
    """Makes a `files` source over a small drop in `tmp_path / "drop"`."""
    folder = tmp_path / "drop"
    folder.mkdir()
    for name, content in (("patient_journeys", JOURNEYS), ("hcp_profiles", PROFILES), ("treatment_events", EVENTS)):
        (folder / f"{name}.csv").write_text(content)

    def source(**given: Any) -> SourceResource:
        settings = {
            "kind": "files",
            "location": str(folder),
            "options": {"format": "auto", "null_markers": [""]},
            "known_at": {"kind": "observed", "days": 3, "baseline_lag_days": None},
        }
        return make(**{**settings, **given})

    return source


def rows(reference: TableRef) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        return connection.execute(f"FROM read_parquet('{reference.location}')").to_arrow_table().to_pylist()


def everything_under(folder: Path) -> bytes:
    """All bytes under a folder, those of Parquet files also as the text of their rows."""
    found = b""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found += path.name.encode() + path.read_bytes()
        if path.suffix == ".parquet":
            with duckdb.connect() as connection:
                found += str(connection.execute(f"FROM read_parquet('{path}')").fetchall()).encode()
    return found


def test_the_generated_source_lands_every_table(make: Make) -> None:
    for name, schema in TABLES.items():
        reference = make().stage(name, NOW)
        expected = [c.name for c in schema.columns if c.privacy != "direct"]
        extra = ["known_at", "baseline_known_at"] if name == "patient_journeys" else ["known_at"]
        assert [column.name for column in reference.columns] == [*expected, *extra]
        assert reference.rows > 0
        assert reference.landed_at == NOW
        assert reference.known_until is not None
        assert reference.known_until <= datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
        told = [f"{d.defect}: {d.rows} of {d.of_rows}" for d in reference.defects]
        direct = [c.name for c in schema.columns if c.privacy == "direct"]
        assert told == [f"{name}: a direct identifier: {reference.rows} of {reference.rows}" for name in direct]


def test_the_same_seed_is_the_same_version_and_another_is_not(make: Make, tmp_path: Path) -> None:
    key = StateFolder(tmp_path / "state").pseudonym_key({}).decode()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pseudonym.key").write_text(key)
    first = make().stage("patient_journeys", NOW)
    again = make(state_dir=str(tmp_path / "elsewhere")).stage("patient_journeys", LATER)
    other = make(options={"seed": 8, "journeys_per_brand": 60}).stage("patient_journeys", NOW)
    assert (first.version, first.key) == (again.version, again.key)
    assert other.version != first.version


def test_another_key_gives_other_pseudonyms(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make().stage("hcp_profiles", NOW)
    monkeypatch.setenv("E2I_PSEUDONYM_KEY", "another key of good length")
    second = make().stage("hcp_profiles", NOW)
    assert first.key != second.key
    assert rows(second)[0]["hcp_id"] in {
        pseudonym(b"another key of good length", "hcp", f"Kisqali-H{number:06}") for number in range(20)
    }


def test_files_land_cast_known_and_counted(files: Make, tmp_path: Path) -> None:
    reference = files().stage("patient_journeys", NOW)
    key = StateFolder(tmp_path / "state").pseudonym_key()
    one, two = pseudonym(key, "patient", "PATIENT-ONE"), pseudonym(key, "patient", "PATIENT-TWO")
    landed = {(row["patient_id"], row["ingestion_timestamp"]): row for row in rows(reference)}
    march, may = datetime(2024, 3, 1, 10), datetime(2024, 5, 1, 10)  # noqa: DTZ001 - UTC, as staged
    assert set(landed) == {(one, march), (one, may), (two, None)}
    assert landed[one, march]["comorbidities"] == ["asthma"]
    assert landed[one, may]["comorbidities"] == ["asthma", "obesity"]
    assert landed[one, may]["known_at"] == may
    assert landed[one, may]["baseline_known_at"] == march
    assert landed[two, None]["known_at"] is None
    assert reference.known_until == may.replace(tzinfo=UTC)
    assert {(d.defect, d.rows, d.of_rows) for d in reference.defects} == {
        ("journey_start_date: not a DATE (YYYY-MM-DD) between 1700 and 2199", 1, 3),
        ("age_at_diagnosis: not an INTEGER", 1, 3),
        ("neither ingestion_timestamp nor journey_start_date: known at no time", 1, 3),
    }
    assert not reference.has("engagement_score")


def test_the_same_person_is_the_same_in_every_table(files: Make) -> None:
    journeys, events = (files().stage(name, NOW) for name in ("patient_journeys", "treatment_events"))
    assert {row["patient_id"] for row in rows(events)} <= {row["patient_id"] for row in rows(journeys)}


def test_parquet_lands_as_csv_does(files: Make, tmp_path: Path) -> None:
    csv = files().stage("treatment_events", NOW)
    path = tmp_path / "drop" / "treatment_events.csv"
    duckdb.sql(f"SELECT * FROM read_csv('{path}')").write_parquet(str(path.with_suffix(".parquet")))
    path.unlink()
    assert files().stage("treatment_events", NOW).version == csv.version


def test_no_raw_identifier_reaches_the_staging_folder(files: Make, tmp_path: Path) -> None:
    for name in TABLES:
        files().stage(name, NOW)
    assert all(token in everything_under(tmp_path / "drop") for token in RAW_TOKENS)
    staged = everything_under(tmp_path / "state" / "staging")
    assert not [token for token in RAW_TOKENS if token in staged]
    columns = [c.name for name in TABLES for c in files().stage(name, NOW).columns]
    assert not {"npi", "first_name", "last_name"} & set(columns)
    key = (tmp_path / "state" / "pseudonym.key").read_bytes().strip()
    assert key not in staged


def test_no_generated_identifier_reaches_the_staging_folder(make: Make, tmp_path: Path) -> None:
    for name in TABLES:
        make().stage(name, NOW)
    staged = everything_under(tmp_path / "state" / "staging")
    for token in (
        b"Kisqali-P",
        b"Kisqali-J",
        b"Kisqali-H",
        b"Kisqali-T",
        b"Kisqali-E",
        b"REP-",
        b"Aurelia",
        b"Galloway",
    ):
        assert token not in staged


CHANGES = """treatment_event_id,patient_id,event_date,event_type,created_at,removed
e1,P1,2024-01-01,consultation,2024-01-02,
e1,P1,2024-01-03,lab_test,2024-02-01,
e2,P1,2024-01-01,consultation,2024-01-02,
e2,P1,,,2024-03-01,true
e3,P2,2024-01-01,lab_test,2024-01-02,2024-01-20
e4,P2,2024-01-01,lab_test,2024-01-02,false
"""


def test_a_restated_or_deleted_row_holds_until_then(files: Make, tmp_path: Path) -> None:
    (tmp_path / "drop" / "treatment_events.csv").write_text(CHANGES)
    source = files(history={"restated": [], "tombstones": {"treatment_events": "removed"}})
    table = source.stage("treatment_events", NOW)
    query = f"SELECT event_type, known_at, superseded_at FROM '{table.location}' ORDER BY ALL"
    day = lambda month, number: datetime(2024, month, number)  # noqa: DTZ001, E731 - as staged
    assert duckdb.sql(query).fetchall() == [
        ("consultation", day(1, 2), day(2, 1)),
        ("consultation", day(1, 2), day(3, 1)),
        ("lab_test", day(1, 2), day(1, 20)),
        ("lab_test", day(1, 2), None),
        ("lab_test", day(2, 1), None),
    ]
    assert table.known_until == datetime(2024, 3, 1, tzinfo=UTC)
    assert not [defect for defect in table.defects if "removed" in defect.defect]


def test_an_id_that_stands_twice_is_no_version_where_none_is_declared(files: Make, tmp_path: Path) -> None:
    (tmp_path / "drop" / "treatment_events.csv").write_text(CHANGES)
    assert not files().stage("treatment_events", NOW).has("superseded_at")


def test_a_missing_tombstone_column_is_named(files: Make) -> None:
    with pytest.raises(SourceError, match=r"lacks the column created \(is created_at meant\?\), which source.history"):
        files(history={"tombstones": {"treatment_events": "created"}}).stage("treatment_events", NOW)
    with pytest.raises(ConfigurationError, match=r"source.history.restated names events"):
        files(history={"restated": ["events"]}).stage("treatment_events", NOW)


def test_landed_input_is_found_again(files: Make, tmp_path: Path) -> None:
    first = files().stage("treatment_events", NOW)
    written = Path(first.location).stat().st_mtime_ns
    assert files().stage("treatment_events", LATER) == first
    assert Path(first.location).stat().st_mtime_ns == written
    (tmp_path / "drop" / "treatment_events.csv").write_text(EVENTS + "e2,PATIENT-TWO,2024-01-01,lab_test,2024-01-02\n")
    second = files().stage("treatment_events", LATER)
    assert (second.rows, second.landed_at) == (2, LATER)
    assert second.version != first.version
    assert Path(first.location).is_file()


def test_a_damaged_snapshot_is_landed_again_as_it_was(files: Make) -> None:
    first = files().stage("treatment_events", NOW)
    Path(first.location).write_bytes(b"PAR1")
    assert files().stage("treatment_events", LATER) == first
    assert len(rows(first)) == 1
    Path(first.location).unlink()
    assert files().stage("treatment_events", LATER) == first
    assert len(rows(first)) == 1


def test_settings_that_change_the_result_land_anew(files: Make) -> None:
    first = files().stage("treatment_events", NOW)
    lagged = files(known_at={"kind": "event_plus_lag", "days": 30}).stage("treatment_events", NOW)
    assert lagged.version != first.version
    assert lagged.known_until == datetime(2024, 1, 31, tzinfo=UTC)


def test_what_is_declared_absent_is_absent(files: Make) -> None:
    source = files(absent={"tables": ["hcp_profiles"], "columns": {"treatment_events": ["hcp_id", "cost"]}})
    reference = source.stage("hcp_profiles", NOW)
    assert (reference.is_absent, reference.version, reference.rows, reference.defects) == (True, "absent", 0, ())
    assert source.fingerprint("hcp_profiles") == "absent"
    assert source.stage("treatment_events", NOW).absent_columns == ("cost", "hcp_id")


def test_an_optional_table_without_input_is_absent_and_said_so(files: Make) -> None:
    reference = files().stage("engagement_events", NOW)
    assert reference.is_absent
    assert [d.defect for d in reference.defects] == ["no input for this optional table"]


def test_a_table_with_no_rows_lands(files: Make, tmp_path: Path) -> None:
    (tmp_path / "drop" / "treatment_events.csv").write_text(EVENTS.splitlines()[0] + "\n")
    reference = files().stage("treatment_events", NOW)
    assert (reference.rows, reference.is_absent, reference.known_until) == (0, False, None)
    assert rows(reference) == []


def test_an_unknown_column_is_left_out_and_counted(files: Make, tmp_path: Path) -> None:
    text = EVENTS.replace("event_type", "event_type,Cost").replace("consultation", "consultation,12")
    (tmp_path / "drop" / "treatment_events.csv").write_text(text)
    reference = files().stage("treatment_events", NOW)
    assert not reference.has("Cost")
    assert [(d.defect, d.rows, d.treatment) for d in reference.defects] == [
        ("Cost: not a column of the data dictionary (is cost meant?)", 1, "left out")
    ]


def test_missing_columns_are_refused(files: Make, tmp_path: Path) -> None:
    (tmp_path / "drop" / "treatment_events.csv").write_text(EVENTS.replace("patient_id", "patientid"))
    with pytest.raises(SourceError, match=r"lacks the required column patient_id \(is patientid meant\?\)"):
        files().stage("treatment_events", NOW)


def test_another_source_in_the_same_state_folder_is_refused(files: Make, make: Make) -> None:
    files().stage("treatment_events", NOW)
    with pytest.raises(StateFolderConflict, match="E2I_STATE_DIR"):
        make().stage("treatment_events", NOW)


def test_another_place_is_refused(files: Make, tmp_path: Path) -> None:
    files().stage("treatment_events", NOW)
    with pytest.raises(StateFolderConflict, match=str(tmp_path / "other")):
        files(location=str(tmp_path / "other")).stage("treatment_events", NOW)


def test_an_unknown_kind_is_refused(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="kind is oracle; there are synthetic, files, omop, synthea"):
        make(kind="oracle").stage("patient_journeys", NOW)


@pytest.mark.parametrize("kind", ["omop", "synthea"])
def test_a_drop_with_a_declared_cohort_is_one_brand(make: Make, tmp_path: Path, kind: str) -> None:
    source = make(kind=kind, location=str(tmp_path), brands=["A", "B"], options={"null_markers": [""]})
    with pytest.raises(ConfigurationError, match="brands names 2"):
        source.stage("patient_journeys", NOW)


def test_a_state_folder_that_cannot_be_written_is_said_so(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        make(state_dir=str(tmp_path / "file" / "state")).stage("patient_journeys", NOW)


def test_a_staging_folder_that_cannot_be_written_may_be_tried_again(make: Make, tmp_path: Path) -> None:
    make().stage("patient_journeys", NOW)
    (tmp_path / "state" / "staging" / "hcp_profiles").write_text("in the way")
    with pytest.raises(ToolUnavailable, match="hcp_profiles was read and could not be written"):
        make().stage("hcp_profiles", NOW)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (EVENTS.encode() + b"SECRET,SECRET\n", "line 3: 2 values where the header names 5 columns"),
        (EVENTS.encode() + b"x" * 10_000 + b",P,2024-01-01,SECRET\xe9,\n", "line 3: not UTF-8"),
    ],
)
def test_unreadable_input_is_named_without_its_values(
    files: Make, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "drop" / "treatment_events.csv").write_bytes(content)
    with pytest.raises(SourceError, match=rf"treatment_events\.csv, {message}") as caught:
        files().stage("treatment_events", NOW)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not (tmp_path / "state" / "staging").exists()


class Replaced(FilesConnector):
    """A drop whose file is replaced after its query was made: what a careless copy job does."""

    def query(self, connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
        query = super().query(connection, table)
        path = Path(self._files(table)[0].address)
        path.write_text(EVENTS * 3)
        os.utime(path, ns=(1, 1))
        return query


class Careless(SyntheticConnector):
    """A connector whose own SQL fails on a value, and which explains nothing."""

    def query(self, connection: duckdb.DuckDBPyConnection, table: str) -> str:
        bad = "CAST('SECRET' || hcp_id AS INTEGER) AS duration_days"
        return f"SELECT * REPLACE ({bad}) FROM ({super().query(connection, table)})"


def test_input_replaced_while_it_is_read_is_refused(files: Make, tmp_path: Path) -> None:
    class Source(SourceResource):
        def _connector(self) -> FilesConnector:
            return Replaced(self.location)

    with pytest.raises(SourceError, match="treatment_events changed while it was read; nothing of it was kept"):
        Source(**dict(files())).stage("treatment_events", NOW)
    assert not (tmp_path / "state" / "staging").exists()


def test_an_error_of_the_engine_passes_no_value_on(make: Make, tmp_path: Path) -> None:
    class Source(SourceResource):
        def _connector(self) -> SyntheticConnector:
            return Careless(self.state_dir, self.brands, 7, 60, 180)

    with pytest.raises(SourceError, match=r"cannot be read as declared \(\w+Exception in the engine\)") as caught:
        Source(**dict(make())).stage("treatment_events", NOW)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_it_works_as_a_dagster_resource(files: Make) -> None:
    @dg.asset
    def treatment_events(source: SourceResource) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"rows": source.stage("treatment_events", NOW).rows})

    cohort = CohortDefinition(index_event=ConceptSet(table="condition_occurrence", concepts=(1, 2)))
    for each in (cohort, CohortDefinition()):  # None, lists and nested mappings pass through Dagster's configuration
        source = files(cohort=each.model_dump(mode="json"), absent={"tables": [], "columns": {"hcp_profiles": ["npi"]}})
        result = dg.materialize([treatment_events], resources={"source": source})
    (event,) = result.asset_materializations_for_node("treatment_events")
    assert event.metadata["rows"].value == 1


def test_the_record_of_a_snapshot_opens_in_a_text_editor(files: Make, tmp_path: Path) -> None:
    reference = files().stage("treatment_events", NOW)
    record = tmp_path / "state" / "staging" / "treatment_events" / "keys" / f"{reference.key}.json"
    stored = json.loads(record.read_text())
    assert TableRef.model_validate(stored["table"]) == reference
    assert stored["bytes"] == Path(reference.location).stat().st_size


@pytest.mark.parametrize("column", ["email", "Date of Birth", "homePhone", "SSN"])
def test_a_covariate_cannot_bring_a_direct_identifier(files: Make, tmp_path: Path, column: str) -> None:
    source = files(covariates={"patient_journeys": {column: "VARCHAR"}})
    for ask in (lambda: source.stage("patient_journeys", NOW), lambda: source.is_landed("patient_journeys")):
        with pytest.raises(ConfigurationError, match=f"features.covariates: {column} .* is a direct identifier"):
            ask()
    assert not (tmp_path / "state" / "staging").exists()


def test_direct_identifiers_that_nobody_asked_for_are_dropped_and_said(files: Make, tmp_path: Path) -> None:
    drop = tmp_path / "drop" / "patient_journeys.csv"
    header, *rows = drop.read_text(encoding="utf-8").splitlines()
    more = [f"{row},canary{i}@example.org,1970-01-0{i + 1},x" for i, row in enumerate(rows)]
    drop.write_text("\n".join([f"{header},E-Mail,patientDOB,ward", *more]) + "\n", encoding="utf-8")

    reference = files().stage("patient_journeys", NOW)

    told = {d.defect: (d.rows, d.treatment) for d in reference.defects}
    dropped = (len(rows), "left out: never landed, since it identifies a person by itself")
    assert told["E-Mail: a direct identifier"] == told["patientDOB: a direct identifier"] == dropped
    assert [d for d in told if d.startswith("ward: not a column of the data dictionary")]
    written = everything_under(tmp_path / "state")
    assert b"canary" not in written
    assert b"1970-01-0" not in written
