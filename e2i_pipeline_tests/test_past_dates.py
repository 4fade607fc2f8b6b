"""A year of rows that are corrected and deleted: what was known on any day can be told from what is known at its end.

The drop of a day holds what had been delivered by then. Staged, published and joined as of that day, it gives the same
training rows, byte for byte, as the last day's drop does with `as_of` set back.
"""

import csv
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.domain.features import ENTITIES

FIRST, DAYS, WINDOW = datetime(2024, 1, 1, tzinfo=UTC), 365, 30
KEY = "a key for the tests of past dates"
SETTINGS = """
source:
  kind: files
  known_at: {kind: observed, days: 0, baseline_lag_days: null}
  history: {restated: [], tombstones: {patient_journeys: gone, treatment_events: gone, engagement_events: deleted_at}}
brands: [Kisqali]
cohort: {outcome_window_days: 30, minimum_journeys: 50, minimum_train_positives: 5, minimum_evaluation_positives: 1}
"""


class Row(NamedTuple):
    """A delivered row, and the day on which it was delivered; a cell may come later than its row."""

    day: float
    cells: dict[str, Any]
    later: tuple[float, str, Any] | None = None


def moment(day: float) -> datetime:
    return FIRST + timedelta(days=day)


def year() -> dict[str, list[Row]]:
    """Deliveries of a year, in versions."""
    chance = random.Random(20240101)  # noqa: S311 - test data
    found: dict[str, list[Row]] = {name: [] for name in TABLES}
    for number in range(DAYS):
        person = {"patient_id": f"P{number}", "hcp_id": f"H{number % 12}"}
        found["patient_journeys"] += versions(chance, journey(chance, number, person), "ingestion_timestamp")
        for event in range(chance.randrange(5)):
            happened = number + chance.randrange(-60, 40)
            cells = {
                **person,
                "treatment_event_id": f"E{number}-{event}",
                "event_date": moment(happened).date(),
                "event_type": chance.choice(("diagnosis", "consultation", "lab_test", "hospitalization")),
                "cost": chance.choice(("", 10, 250)),
            }
            first = (max(happened, -30) + chance.choice((0, 1, 9, 45)), cells)
            again = (first[0] + chance.choice((3, 50)), cells | {"cost": 99, "event_type": "consultation"})
            found["treatment_events"] += versions(chance, [first, again][: chance.choice((1, 1, 2))], "created_at")
        touch = {**person, "engagement_event_id": f"T{number}", "channel": chance.choice(("email", "phone", "crm"))}
        at = number - chance.randrange(40)
        known = at + chance.choice((0, 2, 20))
        times = {"event_timestamp": moment(at + 0.4), "created_at": moment(known + 0.5), "deleted_at": ""}
        gone = (known + chance.choice((4, 70)), "deleted_at", moment) if chance.random() < 0.3 else None
        found["engagement_events"].append(Row(known + 0.5, touch | times, gone))
    for hcp in range(12):
        for day in sorted(chance.sample(range(-40, DAYS), 3)):
            profile = {"hcp_id": f"H{hcp}", "specialty": "oncology", "total_patient_volume": chance.randrange(9, 90)}
            found["hcp_profiles"].append(Row(day, profile | {"updated_at": moment(day)}))
    return found


def journey(chance: random.Random, number: int, person: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
    """A journey as it begins, with its outcome and, for some, corrected later on."""
    cells = {
        **person,
        "patient_journey_id": f"J{number}",
        "brand": "Kisqali",
        "journey_start_date": moment(number).date(),
        "age_at_diagnosis": chance.randrange(20, 90),
        "disease_severity": round(chance.uniform(0, 10), 1),
        "treatment_initiated": "",
    }
    begun = number + chance.choice((0, 0, 6))
    outcome = cells | {"treatment_initiated": chance.randrange(2)}
    corrected = outcome | {"disease_severity": 5.5, "treatment_initiated": chance.randrange(2)}
    states = [(begun, cells), (number + WINDOW + chance.choice((1, 12)), outcome), (number + 90, corrected)]
    return states[: chance.choice((2, 2, 3))]


def versions(chance: random.Random, states: list[tuple[float, dict[str, Any]]], known_at: str) -> list[Row]:
    """The states as rows that are delivered one after the other; one in ten is deleted at last."""
    rows = [Row(day + 0.25, cells | {known_at: moment(day + 0.25), "gone": "false"}) for day, cells in states]
    if chance.random() < 0.1:
        day = rows[-1].day + chance.choice((2, 33))
        rows.append(Row(day, rows[-1].cells | {known_at: moment(day), "gone": "true"}))
    return rows


def drop(folder: Path, year: dict[str, list[Row]], until: float) -> Path:
    """The drop of a day: what had been delivered by then."""
    folder.mkdir()
    for name, rows in year.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            cells = list(delivered(rows, until))
            writer = csv.DictWriter(file, list(cells[0]))
            writer.writeheader()
            writer.writerows(cells)
    return folder


def delivered(rows: Iterable[Row], until: float) -> Iterable[dict[str, Any]]:
    for row in rows:
        if row.day <= until:
            day, column, value = row.later or (0.0, "", None)
            yield row.cells | ({column: value(day)} if column and day <= until else {})


def training(folder: Path, data: Path, as_of: datetime) -> TrainingDatasetRef:
    """The training dataset of a drop as of a day, in a state folder of its own."""
    folder.mkdir()
    (folder / "e2i.yaml").write_text(SETTINGS)
    chosen = load_settings(
        {"E2I_CONFIG": str(folder / "e2i.yaml"), "E2I_DATA": str(data), "E2I_STATE_DIR": str(folder / "state")}
    )
    made: dict[str, Any] = build_resources(chosen)
    tables = {name: made["source"].stage(name, datetime.now(UTC)) for name in TABLES}
    publication, feast = made["publication"], made["feast"]
    dataset = publication.publish(publication.key(tables, as_of, "code"), tables, as_of)
    covariates = [covariate.model_dump() for covariate in chosen.features.covariates]
    window = chosen.features.touch_window_days
    views = {view: feast.write_view(view, tables, covariates, window).table for view in ENTITIES}
    modelling, registry = made["modelling"], feast.apply(views)
    return modelling.training_dataset("key", "Kisqali", dataset, registry)


@pytest.mark.parametrize("day", [200, 330])
def test_the_training_rows_of_a_past_date_are_rebuilt_byte_for_byte(
    day: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2I_PSEUDONYM_KEY", KEY)
    told, as_of = year(), moment(day + 0.9)
    then = training(tmp_path / "then", drop(tmp_path / "of the day", told, day + 0.9), as_of)
    now = training(tmp_path / "now", drop(tmp_path / "of the end", told, 10_000), as_of)
    assert then.rows > 100
    assert Path(then.location).read_bytes() == Path(now.location).read_bytes()
    later = training(tmp_path / "later", tmp_path / "of the end", moment(day + 31))
    assert later.version != now.version
