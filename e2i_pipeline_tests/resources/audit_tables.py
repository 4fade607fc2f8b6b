"""Small tables that satisfy their suites, and the way to stage a changed copy of one. Tests only."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.great_expectations import GreatExpectationsResource

GX_ROOT = Path(__file__).parents[2] / "gx"
BRANDS = ["Remibrutinib", "Fabhalta", "Kisqali"]
PARAMETERS: dict[str, Any] = {"brands": BRANDS, "cohort_unit": "patient", "as_of": "2026-01-01T00:00:00"}
ROWS = 12
TYPES = {
    "journey_start_date": "DATE",
    "journey_end_date": "DATE",
    "event_date": "DATE",
    "observation_date": "TIMESTAMP",
    "first_call_date": "TIMESTAMP",
    "last_call_date": "TIMESTAMP",
    "age_at_diagnosis": "INTEGER",
    "days_to_treatment": "INTEGER",
    "treatment_initiated": "INTEGER",
    "sequence_number": "INTEGER",
    "target": "INTEGER",
    "cost": "DOUBLE",
}


def auditor(folder: Path, **changed: Any) -> GreatExpectationsResource:
    """The resource over the repository's own suites, with its state in `folder` and no data docs."""
    fields: dict[str, Any] = {
        "gx_root": str(GX_ROOT),
        "data_docs": "",
        "min_pass_rate": 0.95,
        "block_on_failure": True,
        "critical_expectations": ["expect_column_values_to_not_be_null"],
        "default_suites": {"classification": "e2i_classification_suite", "regression": "e2i_regression_suite"},
        "engine": EngineResource(temp_dir=str(folder / "tmp")),
    }
    return GreatExpectationsResource(**fields | changed)


def stage(folder: Path, name: str, columns: dict[str, list[Any]], **described: Any) -> TableRef:
    """Writes columns as a Parquet table, as landing would."""
    import pandas as pd

    engine = EngineResource(temp_dir=str(folder / "tmp"))
    types = {c: TYPES.get(c, "TIMESTAMP" if c.endswith(("_timestamp", "_at")) else "") for c in columns}
    casts = (f'CAST("{c}" AS {kind}) AS "{c}"' if kind else f'"{c}"' for c, kind in types.items())
    with engine.connect() as connection:
        connection.register("given", pd.DataFrame(columns))
        written = engine.write(connection, f"SELECT {', '.join(casts)} FROM given", folder / name)
    landed: dict[str, Any] = {"landed_at": datetime(2026, 2, 1, tzinfo=UTC)} | described
    return TableRef(
        key="test",
        name=name,
        location=written.location,
        version=written.version,
        rows=written.rows,
        columns=written.columns,
        **landed,
    )


def journeys() -> dict[str, list[Any]]:
    """Twelve journeys of twelve patients."""
    return {
        "patient_journey_id": [f"journey-{i}" for i in range(ROWS)],
        "patient_id": [f"patient-{i}" for i in range(ROWS)],
        "hcp_id": [f"hcp-{i % 3}" for i in range(ROWS)],
        "brand": [[*BRANDS, "competitor", "other"][i % 5] for i in range(ROWS)],
        "journey_start_date": ["2025-03-01"] * ROWS,
        "journey_end_date": ["2025-09-01", None] * (ROWS // 2),
        "primary_diagnosis_code": ["L50.1", "D59.5", "C50.911"] * (ROWS // 3),
        "age_at_diagnosis": [40 + i for i in range(ROWS)],
        "treatment_initiated": [1, 0, None] * (ROWS // 3),
        "days_to_treatment": [30, None, None] * (ROWS // 3),
        "source_timestamp": ["2025-03-01 10:00:00"] * ROWS,
        "ingestion_timestamp": ["2025-03-02 10:00:00"] * ROWS,
        "known_at": ["2025-03-02 10:00:00"] * ROWS,
    }


def events() -> dict[str, list[Any]]:
    """Twelve events of six patients, two each."""
    return {
        "treatment_event_id": [f"event-{i}" for i in range(ROWS)],
        "patient_journey_id": [f"journey-{i // 2}" for i in range(ROWS)],
        "patient_id": [f"patient-{i // 2}" for i in range(ROWS)],
        "hcp_id": [f"hcp-{i % 3}" for i in range(ROWS)],
        "event_date": ["2025-03-01", "2025-04-01"] * (ROWS // 2),
        "event_type": ["diagnosis", "prescription"] * (ROWS // 2),
        "cost": [10.5, None] * (ROWS // 2),
        "sequence_number": [1, 2] * (ROWS // 2),
        "created_at": ["2025-04-02 00:00:00"] * ROWS,
        "known_at": ["2025-04-02 00:00:00"] * ROWS,
    }


def profiles() -> dict[str, list[Any]]:
    """Three professionals, each with two versions of the profile."""
    return {
        "hcp_id": ["hcp-0", "hcp-1", "hcp-2"] * 2,
        "specialty": ["GENERAL PRACTICE", "Dermatology", "allergy_&_immunology"] * 2,
        "geographic_region": ["northeast", "south", "west"] * 2,
        "decile": [1, 5, 10] * 2,
        "updated_at": ["2024-01-01 00:00:00"] * 3 + ["2025-01-01 00:00:00"] * 3,
        "known_at": ["2024-01-01 00:00:00"] * 3 + ["2025-01-01 00:00:00"] * 3,
    }


def touches() -> dict[str, list[Any]]:
    """Three touches."""
    return {
        "engagement_event_id": ["touch-0", "touch-1", "touch-2"],
        "hcp_id": ["hcp-0", "hcp-1", "hcp-2"],
        "event_timestamp": ["2025-05-01 09:00:00"] * 3,
        "channel": ["email", "in_person", "webinar"],
        "response": ["viewed", None, "ignored"],
        "created_at": ["2025-05-01 12:00:00"] * 3,
        "known_at": ["2025-05-01 12:00:00"] * 3,
    }


def modelling_rows() -> dict[str, list[Any]]:
    """Twelve modelling rows: four in train, two in each other split, two unassigned without an outcome."""
    splits = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2 + ["holdout"] * 2 + ["unassigned"] * 2
    return {
        "patient_journey_id": [f"journey-{i}" for i in range(ROWS)],
        "patient_id": [f"patient-{i}" for i in range(ROWS)],
        "hcp_id": [f"hcp-{i % 3}" for i in range(ROWS)],
        "brand": ["Kisqali"] * ROWS,
        "observation_date": ["2025-03-01"] * ROWS,
        "target": [*([0, 1] * 5), None, None],
        "data_split": splits,
        "call_frequency": [float(i) for i in range(ROWS)],
        "first_call_date": ["2025-01-01"] * ROWS,
        "last_call_date": ["2025-02-01"] * ROWS,
    }


GOOD = {
    "patient_journeys": ("e2i_patient_journeys", journeys),
    "treatment_events": ("e2i_treatment_events", events),
    "hcp_profiles": ("e2i_hcp_profiles", profiles),
    "engagement_events": ("e2i_engagement_events", touches),
    "training_dataset": ("e2i_classification_suite", modelling_rows),
}
