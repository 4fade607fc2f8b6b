"""Feature tables that take over what no change touched are, byte for byte, those that are computed whole."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.features import ENTITIES, PATIENT_FEATURES
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feature_tables import Made, write_view
from e2i_pipeline_tests.feature_oracle import BEGIN, COVARIATES, History, Row, random_history, restated
from e2i_pipeline_tests.staged import stage

WINDOW_DAYS = 7
PATIENTS = 40


def _staged(folder: Path, history: History) -> dict[str, TableRef]:
    """The tables in a folder of their own, as each snapshot has one."""
    place = folder / "staging" / content_key([repr(rows) for rows in history])
    place.mkdir(parents=True, exist_ok=True)
    return stage(place, history._asdict())


def _write(folder: Path, staged: dict[str, TableRef], view: str, **changes: Any) -> Made:
    asked: dict[str, Any] = {"covariates": COVARIATES, "touch_window_days": WINDOW_DAYS, "most_touched": 1.0} | changes
    engine = EngineResource(temp_dir=str(folder / "spill"))
    return write_view(engine, folder / "features", view, staged, **asked)


def _changed(history: History, seed: int) -> History:
    """The history after a while: rows arrive late, are restated, deleted and reassigned; one row is delivered twice."""
    chance = random.Random(seed)  # noqa: S311 - test data

    def rows_of(rows: list[Row], *columns: str) -> list[Row]:
        found: list[Row] = []
        for row in rows:
            what = chance.random()
            later = row["known_at"] + timedelta(days=chance.choice((1, 4)))
            if what < 0.03:
                continue  # it is gone without a trace
            if what < 0.06:
                found.append({**row, "superseded_at": later})
            elif what < 0.1:
                column = chance.choice(columns)
                other = chance.choice(rows)[column]
                found += [{**row, "superseded_at": later}, {**row, column: other, "known_at": later}]
            elif what < 0.12:
                found += [row, row]
            else:
                found.append(row)
        return found

    return History(
        rows_of(history.patient_journeys, "patient_id", "hcp_id", "risk_score"),
        rows_of(history.treatment_events, "patient_id", "hcp_id", "cost", "event_date"),
        rows_of(history.hcp_profiles, "specialty"),
        rows_of(history.engagement_events, "patient_id", "hcp_id", "event_timestamp", "response"),
    )


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_the_table_is_the_one_of_a_whole_computation(seed: int, tmp_path: Path) -> None:
    history = restated(random_history(seed, patients=PATIENTS), seed)
    spared = 0
    for step in range(3):
        staged = _staged(tmp_path, history)
        for view in ENTITIES:
            found = _write(tmp_path / "kept", staged, view)
            whole = _write(tmp_path / f"whole{step}", staged, view)
            assert whole.computed == "full"
            assert found.computed == ("incremental" if step else "full")
            places = [Path(made.table.location) for made in (found, whole)]
            assert places[0].read_bytes() == places[1].read_bytes()
            elsewhere = found.table.model_copy(update={"location": whole.table.location})
            assert elsewhere == whole.table, "how it was made is no part of what it is"
            spared += found.rows_reused
        history = _changed(history, 10 * seed + step)
    assert spared > 0


def test_rows_that_nobody_reads_change_nothing_and_nothing_is_computed(tmp_path: Path) -> None:
    history = random_history(3, patients=PATIENTS)
    first = _write(tmp_path, _staged(tmp_path, history), PATIENT_FEATURES)
    touches = [{**touch, "response": "viewed"} for touch in history.engagement_events]
    again = _write(tmp_path, _staged(tmp_path, history._replace(engagement_events=touches)), PATIENT_FEATURES)
    assert again.table.location == first.table.location
    assert (again.computed, again.entities_recomputed) == ("incremental", 0)
    assert again.rows_reused == again.table.rows == first.table.rows


def test_only_the_patients_whom_a_change_touches_are_computed(tmp_path: Path) -> None:
    """A touch without a patient reaches those of its HCP; a journey's versions are ranked together."""
    history = random_history(3, patients=PATIENTS)
    staged = _staged(tmp_path, history)
    for view in ENTITIES:
        _write(tmp_path, staged, view)
    touch = {**history.engagement_events[0], "engagement_event_id": "new", "hcp_id": "h1", "patient_id": None}
    more = _staged(tmp_path, history._replace(engagement_events=[*history.engagement_events, touch]))
    of_h1 = {j["patient_id"] for j in history.patient_journeys if j["hcp_id"] == "h1"}
    found = {view: _write(tmp_path, more, view).entities_recomputed for view in ENTITIES}
    assert found == {"patient_features": 0, "hcp_features": 1, "engagement_features": len(of_h1)}


@pytest.mark.parametrize(
    "reason", ["window", "covariates", "columns", "table gone", "source gone", "many", "unreadable"]
)
def test_all_is_computed_where_what_was_kept_cannot_serve(reason: str, tmp_path: Path) -> None:
    history = random_history(3, patients=PATIENTS)
    staged = _staged(tmp_path, history)
    first = _write(tmp_path, staged, PATIENT_FEATURES)
    late = {**history.treatment_events[0], "treatment_event_id": "new", "known_at": BEGIN + timedelta(days=50)}
    events = [*history.treatment_events, late]
    changes: dict[str, Any] = {}
    if reason == "window":
        changes = {"covariates": [{**c, "window": c["window"] + 1} if c.get("window") else c for c in COVARIATES]}
    elif reason == "covariates":
        changes = {"covariates": COVARIATES[1:]}
    elif reason == "columns":
        events = [{**event, "drug_name": None} for event in events]
    elif reason == "table gone":
        Path(first.table.location).unlink()
    elif reason == "source gone":
        Path(staged["treatment_events"].location).unlink()
    elif reason == "many":
        changes = {"most_touched": 0.0}
    else:
        (tmp_path / "features" / PATIENT_FEATURES / "last.json").write_text("{", encoding="utf-8")
    new = _staged(tmp_path, history._replace(treatment_events=events))
    found = _write(tmp_path, new, PATIENT_FEATURES, **changes)
    assert (found.computed, found.entities_recomputed, found.rows_reused) == ("full", None, 0)
    assert found.table == _write(tmp_path / "whole", new, PATIENT_FEATURES, **changes).table.model_copy(
        update={"location": found.table.location}
    )
