"""Made-up journeys, staged and published, for the tests of what comes after. Tests only."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from e2i_pipeline.contracts.references import DatasetRef, TableRef
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.stages.publication import PublicationResource
from e2i_pipeline_tests.staged import stage

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = date(2023, 1, 1)
SPLITS: dict[str, Any] = {
    "train": 0.6,
    "validation": 0.2,
    "test": 0.15,
    "holdout": 0.05,
    "gap_days": 7,
    "gap": "days",
    "adopt_incoming": False,
    "version": 1,
}


def publication(folder: Path, **split_settings: Any) -> PublicationResource:
    """The published dataset of a state folder, as a new process sees it."""
    return PublicationResource(
        state_dir=str(folder / "state"),
        engine=EngineResource(temp_dir=str(folder / "spill")),
        cohort={"outcome_window_days": 180},
        split_settings=SPLITS | split_settings,
        target="treatment_initiated",
    )


def journeys(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """One journey per number, one day apart; the last ones are still open in `AS_OF`."""
    return [
        {
            "patient_journey_id": f"journey-{i:05}",
            "patient_id": f"patient-{i:05}",
            "brand": "Kisqali",
            "journey_start_date": FIRST + timedelta(days=i),
            "treatment_initiated": int(i % 3 == 0),
            "known_at": datetime(2023, 1, 1) + timedelta(days=i),  # noqa: DTZ001 - as staged: UTC without a zone
        }
        for i in numbers
    ]


def tables(folder: Path, numbers: Sequence[int]) -> dict[str, TableRef]:
    """These journeys as staged tables."""
    folder.mkdir(exist_ok=True)
    return stage(folder, {"patient_journeys": journeys(numbers), "treatment_events": []})


def publish(published: PublicationResource, given: dict[str, TableRef], as_of: datetime = AS_OF) -> DatasetRef:
    """Publishes tables that were audited, as `validated_dataset` does."""
    return published.publish(published.key(given, as_of, "code"), given, as_of)
