"""The matrix: what is wrong with a source table, what becomes of it, and in which words; and what only looks wrong.

A blocked table changes nothing; one with warnings is published; and the last good dataset can be read to the last byte
all the while. Further input that cannot be read is tried in `test_bad_input.py`, the modelling rows in
`test_modelling_matrix.py`.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from e2i_pipeline.contracts.references import DatasetRef
from e2i_pipeline.errors import E2IError, QCGateBlockedError, SourceError
from e2i_pipeline_tests.drops import (
    Rows,
    Spoil,
    World,
    as_parquet,
    column,
    content,
    contents,
    copied,
    good_world,
    journeys,
    publish,
    require_readable,
    warnings,
    without,
)
from e2i_pipeline_tests.processes import PROJECT

J, T, H, E = "patient_journeys", "treatment_events", "hcp_profiles", "engagement_events"
BLOCKED, WARNED, FINE = "blocked", "warned", "fine"
SEVERITY = {BLOCKED: "critical", WARNED: "warning"}
REMEDY = re.compile(
    r"Correct (it at )?the source and materialize|Correct it at the source|change the rule in gx/expectations|Deliver |"
    r"Rename |Add |Write the file again|Convert the file|Mend the line|See that the delivery is complete"
)
PERSONAL = re.compile(r"Kisqali-[PJHTE]\d|Eastwick|Galloway|9000000000|cured|pigeon|astrology|nobody|aspirin")
"""What rows of the drop, and what it is spoilt with, are recognized by."""


class Case(NamedTuple):
    """One corruption.

    Attributes:
        outcome: `blocked`, `warned` or `fine`.
        table: The table that is spoilt.
        spoil: How.
        says: What the message says of table, column and count.
        expectation: The suite's rule that notices it; empty where landing or the comparison with the last version does.
    """

    outcome: str
    table: str
    spoil: Spoil
    says: str = ""
    expectation: str = ""


def values(outcome: str, table: str, name: str, value: str, expectation: str, found: str = "2 of") -> Case:
    """One value in the first two rows of a column, and the rule that it breaks."""
    says = rf"{table}\.[\w,]*\b{name}\b[\w,]*: {expectation} \({SEVERITY[outcome]}\) failed: {found} [\d,]+ rows"
    return Case(outcome, table, column(name, lambda _: value, first=2, table=table), says, expectation)


def unread(table: str, name: str, value: str, kind: str) -> Case:
    """One value that does not fit the type of a column that need not be given: it is taken as null, and said."""
    says = rf"{table} as it was landed: {name}: not an? {kind}.*, in 2 of [\d,]+ rows; corrected: set to null"
    return Case(WARNED, table, column(name, lambda _: value, first=2, table=table), says)


def rows(outcome: str, table: str, change: Spoil, says: str, expectation: str = "") -> Case:
    return Case(outcome, table, change, f"{table}.*{expectation}.*{says}", expectation)


def half(found: Rows) -> None:
    del found[len(found) // 2 :]


def twice(found: Rows) -> None:
    found.extend(found[:3])


def restate(found: Rows) -> None:
    """New versions of five journeys, known later."""
    found.extend({**row, "risk_score": "0.5", "ingestion_timestamp": "2026-01-05 00:00:00"} for row in found[:5])


def one_patient_at_two_times(found: Rows) -> None:
    """The earliest and the latest journey are one patient's, who would stand in two splits."""
    ordered = sorted(found, key=lambda row: row["journey_start_date"])
    ordered[-1]["patient_id"] = ordered[0]["patient_id"]


def american(date: str) -> str:
    return f"{date[5:7]}/{date[8:]}/{date[:4]}"


def renamed(table: str, old: str, new: str) -> Spoil:
    return content(lambda text: text.replace(old.encode(), new.encode(), 1), f"{table}.csv")


def gone(table: str) -> Spoil:
    return lambda drop: (drop / f"{table}.csv").unlink()


COLUMNS = {
    "a required column is missing": Case(
        BLOCKED, T, without("event_type", T), f"{T} lacks the required column event_type"
    ),
    "another required column is missing": Case(
        BLOCKED, H, without("specialty", H), f"{H} lacks the required .*specialty"
    ),
    "an optional column is missing": Case(
        WARNED, J, without("disease_severity", J), rf"{J}\.disease_severity: the last published .* none of the 300 rows"
    ),
    "there is a column too many": Case(FINE, J, column("shoe_size", lambda _: "42")),
    "a required column is renamed": Case(BLOCKED, E, renamed(E, "channel", "chanel"), r"channel \(is chanel meant\?\)"),
    "an optional column is renamed": Case(
        WARNED, J, renamed(J, "zip_code", "zip"), rf"{J}\.zip_code: the last published .* none of the 300 rows has it"
    ),
    "an optional column is retyped": Case(
        WARNED,
        J,
        column("age_at_diagnosis", lambda age: f"{age} years"),
        f"{J} as it was landed: age_at_diagnosis: not an INTEGER, in 300 of 300 rows; corrected: set to null",
    ),
    "a required column is retyped": Case(
        BLOCKED,
        E,
        column("event_timestamp", lambda _: "1700000000", table=E),
        rf"{E}\.event_timestamp: event_timestamp_is_not_null \(critical\) failed: (\d+) of \1 (.|\n)*not a TIMESTAMP",
        "event_timestamp_is_not_null",
    ),
    "dates as elsewhere": Case(
        BLOCKED,
        T,
        column("event_date", american, table=T),
        rf"{T}\.event_date: event_date_is_not_null \(critical\) failed: ([\d,]+) of \1 rows(.|\n)*not a DATE",
        "event_date_is_not_null",
    ),
    "numbers with a comma": Case(
        WARNED,
        T,
        column("cost", lambda cost: cost.replace(".", ","), table=T),
        f"{T} as it was landed: cost: not a finite DOUBLE, in [0-9,]+ of [0-9,]+ rows",
    ),
    "a word for a rank": unread(H, "decile", "top", "INTEGER"),
    "a word for a flag": unread(T, "adverse_event_flag", "maybe", "BOOLEAN"),
    "no number": unread(J, "disease_severity", "NaN", "finite DOUBLE"),
    "a year of five digits": unread(J, "journey_end_date", "20204-01-01", "DATE"),
}
VALUES = {
    "a patient is not named": values(BLOCKED, J, "patient_id", "", "patient_id_is_not_null"),
    "a journey's name is blank": values(BLOCKED, J, "patient_journey_id", "  ", "patient_journey_id_is_not_null"),
    "a journey has no beginning": values(BLOCKED, J, "journey_start_date", "", "journey_start_date_is_not_null"),
    "a day that is none": values(BLOCKED, J, "journey_start_date", "2024-02-30", "journey_start_date_is_not_null"),
    "a journey to come": values(
        BLOCKED, J, "journey_start_date", "2199-01-01", "journey_start_date_is_not_in_the_future"
    ),
    "a journey ends before it begins": values(
        WARNED, J, "journey_end_date", "2000-01-01", "journey_end_date_is_not_before_start"
    ),
    "a negative duration": values(WARNED, J, "journey_duration_days", "-5", "journey_duration_days_is_not_negative"),
    "a patient of 200 years": values(WARNED, J, "age_at_diagnosis", "200", "age_at_diagnosis_is_plausible"),
    "an outcome of 2": values(WARNED, J, "treatment_initiated", "2", "treatment_initiated_is_zero_or_one"),
    "an unknown brand": values(BLOCKED, J, "brand", "aspirin", "brand_is_configured"),
    "an unknown stage": values(WARNED, J, "journey_stage", "cured", "journey_stage_is_known"),
    "an illness in words": values(
        WARNED, J, "primary_diagnosis_code", "cured", "primary_diagnosis_code_has_icd_10_cm_shape"
    ),
    "letters read in two encodings": values(WARNED, J, "geographic_region", "sÃ¼d", "geographic_region_is_known"),
    "an HCP that is in no profile": values(WARNED, J, "hcp_id", "nobody", "hcp_id_exists_in_hcp_profiles"),
    "known before it happened": values(
        WARNED, J, "ingestion_timestamp", "2001-01-01 00:00:00", "ingestion_timestamp_is_not_before_source"
    ),
    "known after it was landed": values(
        WARNED, J, "ingestion_timestamp", "2199-01-01 00:00:00", "known_at_is_not_after_landing"
    )._replace(says=rf"{J}\.known_at: known_at_is_not_after_landing \(warning\) failed: 2 of 300 rows"),
    "an event is not named": values(BLOCKED, T, "treatment_event_id", "", "treatment_event_id_is_not_null"),
    "an unknown kind of event": values(BLOCKED, T, "event_type", "surgery", "event_type_is_known"),
    "an event to come": values(BLOCKED, T, "event_date", "2199-01-01", "event_date_is_not_in_the_future"),
    "a sequence against the dates": values(
        BLOCKED, T, "sequence_number", "99", "sequence_number_agrees_with_event_date", r"\d+ of"
    ),
    "a sequence from 0": values(WARNED, T, "sequence_number", "0", "sequence_number_is_positive"),
    "a negative amount": values(WARNED, T, "cost", "-1", "cost_is_not_negative"),
    "an event of no journey": values(
        WARNED, T, "patient_journey_id", "nobody", "patient_journey_id_exists_in_patient_journeys"
    ),
    "an unknown specialty": values(BLOCKED, H, "specialty", "astrology", "specialty_is_known"),
    "an HCP without a specialty": values(BLOCKED, H, "specialty", "", "specialty_is_not_null"),
    "an unknown region": values(BLOCKED, H, "geographic_region", "north", "geographic_region_is_known"),
    "a tier out of range": values(WARNED, H, "priority_tier", "9", "priority_tier_is_in_range"),
    "a negative volume": values(WARNED, H, "prescribing_volume", "-1", "prescribing_volume_is_not_negative"),
    "an unknown channel": values(WARNED, E, "channel", "pigeon", "channel_is_known"),
    "a touch without a channel": values(BLOCKED, E, "channel", "", "channel_is_not_null"),
    "a touch to come": values(
        WARNED, E, "event_timestamp", "2199-01-01 00:00:00", "event_timestamp_is_not_in_the_future"
    ),
    "an unknown answer": values(WARNED, E, "response", "cured", "response_is_known"),
}
ROWS = {
    "a journey twice": rows(BLOCKED, J, journeys(twice), "6 of 303 rows", "patient_journey_id_is_unique_per_known_at"),
    "an event twice": rows(BLOCKED, T, journeys(twice, T), "6 of [0-9,]+ rows", "treatment_event_id_is_unique"),
    "a profile twice": rows(BLOCKED, H, journeys(twice, H), "6 of 14 rows", "hcp_id_is_unique_per_version"),
    "a touch twice": rows(BLOCKED, E, journeys(twice, E), "6 of [0-9,]+ rows", "engagement_event_id_is_unique"),
    "a patient in two splits": rows(
        BLOCKED, J, journeys(one_patient_at_two_times), "2 of 300 rows", "patient_id_is_unique_as_of"
    ),
    "no events": rows(BLOCKED, T, journeys(list.clear, T), "0 observed", "row_count_is_in_range"),
    "no profiles": rows(BLOCKED, H, journeys(list.clear, H), "0 observed", "row_count_is_in_range"),
    "no touches": rows(BLOCKED, E, journeys(list.clear, E), "0 observed", "row_count_is_in_range"),
    "half of the journeys": rows(WARNED, J, journeys(half), "150 rows, 50% fewer than the 300"),
    "half of the events": rows(WARNED, T, journeys(half, T), "rows, 50% fewer than the [0-9,]+ of the last published"),
    "half of the touches": rows(WARNED, E, journeys(half, E), "rows, 50% fewer than the [0-9,]+ of the last published"),
    "an older version is changed": rows(
        WARNED,
        J,
        column("risk_score", lambda _: "0.5", first=5),
        r"5 of 300 rows say something else .* \(risk_score in 5\): history was changed",
    ),
    "events are changed": rows(
        WARNED, T, column("event_type", lambda _: "lab_test", first=2, table=T), r"\d of .* \(event_type in \d"
    ),
    "a journey is restated": Case(FINE, J, journeys(restate)),
    "a few rows less": Case(FINE, E, journeys(lambda found: found[-20:].clear(), E)),
}
FILES = {
    "no profiles file": Case(BLOCKED, H, gone(H), f"holds no input for {H}: looked for {H}.csv"),
    "no touches file": Case(WARNED, E, gone(E), rf"{E}: there is no input for this .* had \d+ rows"),
    "a truncated file": Case(
        BLOCKED,
        T,
        content(lambda text: text[: text.rindex(b"\n", 0, -1) + 30], f"{T}.csv"),
        rf"{T}.csv, line \d+: \d+ val",
    ),
    "half of a Parquet file": Case(
        BLOCKED,
        E,
        as_parquet(lambda data: data[: len(data) // 2], E),
        rf"{E}.parquet \(\d+ bytes\) is no complete Parquet",
    ),
    "mixed encodings": Case(
        BLOCKED, J, content(lambda text: text.replace(b"northeast", b"nord\xe9st", 3)), rf"{J}.csv.*: not UTF-8"
    ),
    "a byte order mark": Case(FINE, J, content(lambda text: b"\xef\xbb\xbf" + text)),
    "line ends as on Windows": Case(FINE, T, content(lambda text: text.replace(b"\n", b"\r\n"), f"{T}.csv")),
    "the same as Parquet": Case(FINE, H, as_parquet(bytes, H)),
    "cut within the last value": Case(
        WARNED, J, content(lambda text: text.rstrip()[:-1]), f"{J} as it was landed: .* no line break"
    ),
}
MATRIX: dict[str, Case] = {**COLUMNS, **VALUES, **ROWS, **FILES}


class Published(NamedTuple):
    """The good world, and what is published in it."""

    world: World
    dataset: DatasetRef


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Published:
    world = good_world(tmp_path_factory.mktemp("matrix"))
    dataset = world.resources()["publication"].current()
    assert warnings(world, dataset) == ""
    return Published(world, dataset)


@pytest.mark.parametrize("case", MATRIX.values(), ids=MATRIX)
def test_a_corruption_is_answered_as_declared(good: Published, tmp_path: Path, case: Case) -> None:
    world = copied(good.world, tmp_path)
    case.spoil(world.drop)
    before = contents(world.state / "published")

    outcome, said = answer(world)

    assert outcome == case.outcome, said
    assert re.search(case.says, said), said
    assert outcome == FINE or REMEDY.search(said)
    assert not PERSONAL.search(said)
    if outcome == BLOCKED:
        assert contents(world.state / "published") == before
    require_readable(good.dataset)
    require_readable(world.resources()["publication"].current())


def answer(world: World) -> tuple[str, str]:
    """What becomes of a drop, and in which words."""
    try:
        dataset = publish(world)
    except (QCGateBlockedError, SourceError) as err:
        return BLOCKED, str(err)
    said = warnings(world, dataset)
    return (WARNED if said else FINE), said


def test_the_matrix_is_large_and_expects_what_the_suites_declare() -> None:
    assert len(MATRIX) >= 40
    assert {case.table for case in MATRIX.values()} == {J, T, H, E}
    for name, case in MATRIX.items():
        if case.expectation:
            suite = json.loads((PROJECT / "gx" / "expectations" / f"e2i_{case.table}.json").read_text(encoding="utf-8"))
            [declared] = [e["severity"] for e in suite["expectations"] if e["meta"]["name"] == case.expectation]
            assert declared == SEVERITY[case.outcome], name


def test_a_blocked_drop_is_published_once_it_is_mended(good: Published, tmp_path: Path) -> None:
    world = copied(good.world, tmp_path)
    whole = (world.drop / f"{J}.csv").read_bytes()
    VALUES["an unknown brand"].spoil(world.drop)
    with pytest.raises(E2IError):
        publish(world)
    (world.drop / f"{J}.csv").write_bytes(whole)

    assert publish(world).tables[J].version == good.dataset.tables[J].version
