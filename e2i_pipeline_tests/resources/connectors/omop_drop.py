"""A small OMOP drop, made row by row by a test: columns as the CDM names them, all text unless a test wants types."""

import csv
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.resources.connectors.omop import OmopConnector
from e2i_pipeline_tests.resources.connectors.delivered import Row, events_of, journeys_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "person": (
        *("person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth"),
        *("provider_id", "gender_source_value"),
    ),
    "observation_period": ("person_id", "observation_period_start_date", "observation_period_end_date"),
    "condition_occurrence": (
        *("condition_occurrence_id", "person_id", "condition_concept_id", "condition_start_date"),
        *("condition_end_date", "provider_id", "visit_occurrence_id", "condition_source_value"),
        "condition_source_concept_id",
    ),
    "drug_exposure": (
        *("drug_exposure_id", "person_id", "drug_concept_id", "drug_exposure_start_date"),
        *("drug_exposure_end_date", "provider_id", "visit_occurrence_id", "drug_source_value"),
        "drug_source_concept_id",
    ),
    "visit_occurrence": (
        *("visit_occurrence_id", "person_id", "visit_concept_id", "visit_start_date", "visit_end_date"),
        "provider_id",
    ),
    "concept": ("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code"),
}

SINUSITIS, BRONCHITIS, HYPERTENSION = 40481087, 260139, 316866
ACETAMINOPHEN, VACCINE = 1127433, 40213154

COHORT = CohortDefinition(
    index_event=ConceptSet(table="condition_occurrence", concepts=(SINUSITIS, BRONCHITIS)),
    treatment=ConceptSet(table="drug_exposure", concepts=(ACETAMINOPHEN,)),
    outcome_window_days=180,
)


class Drop:
    """An OMOP drop in the making: two patients, one treated on the index day, with nothing wrong in it."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, object]]] = {name: [] for name in COLUMNS}
        self._next = 100
        self.person("1")
        self.person("2", gender_concept_id="8507")
        self.condition("1", "2015-03-10")
        self.drug("1", "2015-03-10")
        self.condition("2", "2016-05-01", condition_concept_id=BRONCHITIS)
        self.visit("2", "2019-12-31")  # the last day of which the data knows
        for concept, name, domain, vocabulary in (
            (SINUSITIS, "Viral sinusitis", "Condition", "SNOMED"),
            (BRONCHITIS, "Acute bronchitis", "Condition", "SNOMED"),
            (HYPERTENSION, "Hypertensive disorder", "Condition", "SNOMED"),
            (ACETAMINOPHEN, "acetaminophen 325 MG Oral Tablet", "Drug", "RxNorm"),
            (VACCINE, "Influenza vaccine", "Drug", "CVX"),
            (9202, "Outpatient Visit", "Visit", "Visit"),
            (9201, "Inpatient Visit", "Visit", "Visit"),
        ):
            self.add(
                "concept",
                concept_id=concept,
                concept_name=name,
                domain_id=domain,
                vocabulary_id=vocabulary,
                concept_code=f"{concept}0",
            )

    def add(self, table: str, **values: object) -> str:
        """Adds a row; a key that is not given is numbered."""
        key = f"{table}_id"
        if key in COLUMNS.get(table, ()) and key not in values:
            self._next += 1
            values[key] = self._next
        self.tables.setdefault(table, []).append(values)
        return str(values.get(key, ""))

    def person(self, person_id: str, **values: object) -> None:
        base = {"person_id": person_id, "gender_concept_id": 8532, "year_of_birth": 1980, "provider_id": 7}
        self.add("person", **{**base, **values})
        self.add(
            "observation_period",
            person_id=person_id,
            observation_period_start_date="1980-01-01",
            observation_period_end_date="2019-12-31",
        )

    def condition(self, person_id: str, day: str, **values: object) -> str:
        base = {"person_id": person_id, "condition_concept_id": SINUSITIS, "condition_start_date": day}
        return self.add("condition_occurrence", **{**base, **_visited(), **values})

    def drug(self, person_id: str, day: str, **values: object) -> str:
        base = {"person_id": person_id, "drug_concept_id": ACETAMINOPHEN, "drug_exposure_start_date": day}
        return self.add("drug_exposure", **{**base, **_visited(), **values})

    def visit(self, person_id: str, day: str, **values: object) -> str:
        base = {"person_id": person_id, "visit_concept_id": 9202, "visit_start_date": day, "provider_id": 7}
        base["visit_occurrence_id"] = 1 if not self.tables["visit_occurrence"] else self._next + 1
        self._next += 1
        return self.add("visit_occurrence", **{**base, **values})

    def write(self, folder: Path, form: str = "parquet", skip: Iterable[str] = ()) -> Path:
        """Writes the drop as all-text `parquet`, `typed` Parquet or `csv`; a table without rows keeps its header."""
        folder.mkdir(parents=True, exist_ok=True)
        for table, rows in self.tables.items():
            if table not in skip:
                _write(folder, table, rows, form)
        return folder


def _visited() -> Mapping[str, object]:
    return {"visit_occurrence_id": 1, "provider_id": 7}


def _write(folder: Path, table: str, rows: list[dict[str, object]], form: str) -> None:
    columns = list(dict.fromkeys([*COLUMNS.get(table, ()), *(name for row in rows for name in row)]))
    texts = {name: ["" if row.get(name) is None else str(row[name]) for row in rows] for name in columns}
    if form == "csv":
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*texts.values(), strict=True))
        return
    arrays = {name: _typed(name, values) if form == "typed" else pa.array(values) for name, values in texts.items()}
    pq.write_table(pa.table(arrays), folder / f"{table}.parquet")


def _typed(name: str, values: list[str]) -> pa.Array:
    """Dates as timestamps and ids as floats: what a careless export through pandas makes of them."""
    if name.endswith("_date"):
        return pa.array([datetime.fromisoformat(v).replace(tzinfo=UTC) if v else None for v in values]).cast(
            pa.timestamp("us")
        )
    if name.endswith("_id") and name not in ("domain_id", "vocabulary_id"):
        return pa.array([float(v) if v else None for v in values], type=pa.float64())
    return pa.array([v or None for v in values], type=pa.string())


def connector(folder: Path, cohort: CohortDefinition = COHORT, **options: Any) -> OmopConnector:
    """The connector over a drop."""
    return OmopConnector(str(folder), cohort, "Relief", **options)


def journeys(connection: duckdb.DuckDBPyConnection, folder: Path, cohort: CohortDefinition = COHORT) -> list[Row]:
    """The journeys of a drop."""
    return journeys_of(connection, connector(folder, cohort))


def events(connection: duckdb.DuckDBPyConnection, folder: Path, cohort: CohortDefinition = COHORT) -> list[Row]:
    """The events of a drop."""
    return events_of(connection, connector(folder, cohort))


def shared_omop() -> Path:
    """The third-party drop, or a skip with the reason."""
    repository = Path(__file__).resolve().parents[3]
    shared = Path(os.environ.get("E2I_SHARED_DATA") or repository.parent / "shared" / "data")
    folder = shared / "omop_synthea_1000"
    if not folder.is_dir():
        pytest.skip(f"the third-party OMOP drop is not at {folder}; set E2I_SHARED_DATA to the folder that holds it")
    return folder
