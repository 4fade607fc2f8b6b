"""Bad input, one case a row: what is wrong, which error says so, in which words, and that nothing downstream changed.

Each case goes through the settings and the composition root as a run does, from landing over the gate to publishing,
until something refuses. What the command lines make of such an error is tried at the end, in processes of their own.
"""

import gzip
import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from e2i_pipeline.errors import (
    CohortTooSmall,
    ConfigurationError,
    E2IError,
    QCGateBlockedError,
    SourceError,
    StateFolderConflict,
    ToolRejected,
)
from e2i_pipeline.storage.references import write_json
from e2i_pipeline_tests.drops import (
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
)
from e2i_pipeline_tests.processes import PROJECT, Product

PERSONAL = re.compile(r"Kisqali-[PJHTE]\d|Eastwick|Galloway|9000000000")
"""What every row of the drop is recognized by."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> World:
    return good_world(tmp_path_factory.mktemp("bad_input"))


@pytest.fixture
def world(good: World, tmp_path: Path) -> World:
    """A copy of the good world, to be spoilt."""
    return copied(good, tmp_path)


def refused(world: World, error: type[E2IError], **settings: str) -> str:
    """The message of a refusal; what was published before is still what is published, to the byte."""
    before = contents(world.state / "published")
    with pytest.raises(error) as caught:
        publish(world, **settings)

    assert contents(world.state / "published") == before
    assert not PERSONAL.search(str(caught.value))
    return str(caught.value)


def also_as_parquet(drop: Path) -> None:
    shutil.copy(drop / "patient_journeys.csv", drop / "kept")
    as_parquet(bytes)(drop)
    (drop / "kept").rename(drop / "patient_journeys.csv")


def no_database(state: Path) -> None:
    for path in state.glob("metadata.db*"):  # its log too, from which SQLite would restore it
        path.write_bytes(b"no database" * 1000)


def german(date: str) -> str:
    return ".".join(reversed(date.split("-")))


CANNOT_BE_READ: dict[str, tuple[Spoil, str]] = {
    "no table": (
        lambda drop: (drop / "patient_journeys.csv").unlink(),
        "holds no input for patient_journeys: looked for patient_journeys.csv, .* found engagement_events.csv, .* Add",
    ),
    "no folder": (shutil.rmtree, "The source's folder .* does not exist. Set source.location or E2I_DATA"),
    "a file in place of the folder": (
        lambda drop: (shutil.rmtree(drop), drop.write_text("")),
        "is a file, not a folder. Set source.location or E2I_DATA",
    ),
    "the table twice": (also_as_parquet, "more than once: patient_journeys.csv and patient_journeys.parquet. Keep one"),
    "an empty file": (content(lambda _: b""), "patient_journeys.csv is empty: not even a header. Write the file again"),
    "no line of column names": (
        content(lambda text: text.partition(b"\n")[2]),
        "its first line names a column more than once .* or add a line of column names, if there is none",
    ),
    "a missing column": (
        content(lambda text: text.replace(b"patient_id", b"patient_no", 1)),
        r"patient_journeys lacks the required column patient_id \(is patient_no meant\?\). Columns found: .* Rename",
    ),
    "cut within a row": (
        content(lambda text: text[: text.rindex(b"\n", 0, -1) + 30]),
        r"patient_journeys.csv, line 301: \d values where the header names \d\d columns. Mend .* if it was cut short",
    ),
    "cut within a quote": (
        content(lambda text: text.rstrip() + b',"and then'),
        "line 301: .* Mend the line; or copy the file again",
    ),
    "cut within a letter": (
        content(lambda text: text + b"J\xc3"),
        "patient_journeys.csv.*: not UTF-8, .* Convert the file|line 302: 1 values where .* Mend the line",
    ),
    "Latin-1": (
        content(lambda text: text.replace(b"patient_id", b"pati\xe9nt_id", 1)),
        "not UTF-8, the encoding expected. Convert the file, e.g. iconv -f WINDOWS-1252",
    ),
    "UTF-16": (
        content(lambda text: text.decode().encode("utf-16")),
        "it begins like UTF-16. Convert the file: iconv -f UTF-16 -t UTF-8",
    ),
    "a workbook named CSV": (content(lambda _: b"PK\x03\x04\xff\xfe"), "a ZIP archive or an Excel workbook .* Export"),
    "gzip named CSV": (content(gzip.compress), "it is a gzip archive under that name. Unpack it"),
    "CSV named Parquet": (
        content(bytes, to="patient_journeys.parquet"),
        r"patient_journeys.parquet \(\d+ bytes\) is no complete Parquet file: .* Write the file again",
    ),
    "half a Parquet file": (
        as_parquet(lambda data: data[: len(data) // 2]),
        r"patient_journeys.parquet \(\d+ bytes\) is no complete Parquet file: .* Write the file again",
    ),
    "a Parquet file with a hole": (
        as_parquet(lambda data: data[:2000] + os.urandom(6000) + data[8000:]),
        "the engine could not read it .* Write the file again",
    ),
}

THE_GATE_REFUSES: dict[str, tuple[Spoil, str]] = {
    "an empty table": (
        journeys(lambda rows: rows.clear()),
        r"patient_journeys: row_count_is_in_range \(critical\) failed: 0 observed. Correct the source",
    ),
    "an unknown brand": (
        column("brand", lambda _: "Aspirin", first=2),
        r"patient_journeys.brand: brand_is_configured \(critical\) failed: 2 of 300 rows do not satisfy it. Correct",
    ),
    "a duplicate journey": (
        journeys(lambda rows: rows.extend(rows[:3])),
        r"patient_journey_id_is_unique_per_known_at \(critical\) failed: 6 of 303 rows do not satisfy it. Correct",
    ),
    "a duplicate key": (
        journeys(lambda rows: rows.extend(rows[:3]), "treatment_events"),
        r"treatment_event_id_is_unique \(critical\) failed: 6 of [\d,]+ rows do not satisfy it. Correct the source",
    ),
    "dates as elsewhere": (
        column("journey_start_date", german),
        r"journey_start_date_is_not_null \(critical\) failed: 300 of 300 rows .*\n.*patient_journeys as it was landed: "
        r"journey_start_date: not a DATE \(YYYY-MM-DD\) between 1700 and 2199, in 300 of 300 rows; corrected",
    ),
    "dates to come": (
        column("journey_start_date", lambda _: "2199-01-01", first=5),
        r"journey_start_date_is_not_in_the_future \(critical\) failed: 5 of 300 rows do not satisfy it. Correct",
    ),
}

NOTHING_TO_LEARN: dict[str, tuple[Spoil, Mapping[str, str], type[E2IError], str]] = {
    "no column of the outcome": (
        content(lambda text: text.replace(b"treatment_initiated", b"treatment_initated", 1)),
        {},
        SourceError,
        r"no column treatment_initiated, the outcome .* \(is treatment_initiated meant\?\). Deliver the column",
    ),
    "no outcome at all": (
        journeys(lambda rows: [row.update(treatment_initiated="", days_to_treatment="") for row in rows]),
        {},
        CohortTooSmall,
        "No outcome is settled on 20.*: of 300 journeys known by then, 300 have no treatment_initiated, .* Deliver",
    ),
    "words for the outcome": (
        journeys(lambda rows: [row.update(treatment_initiated="perhaps", days_to_treatment="") for row in rows]),
        {},
        CohortTooSmall,
        "300 have no treatment_initiated, .* treatment_initiated: not an INTEGER, in 300 of 300 rows. Deliver",
    ),
    "an as_of before all": (
        lambda _: None,
        {"E2I__AS_OF": "2001-01-01"},
        CohortTooSmall,
        "of 0 journeys known by then",
    ),
    "another target": (
        lambda _: None,
        {"E2I__TARGET": "bought"},
        SourceError,
        "no column bought, .* the setting `target`",
    ),
}

SETTINGS: dict[str, tuple[Mapping[str, str], str]] = {
    "a misspelt key": ({"E2I__SPLITS__GAP_DAY": "3"}, "Did you mean splits.gap_days.*variable E2I__SPLITS__GAP_DAY"),
    "a wrong type": ({"E2I__OPTUNA__SEARCH__N_TRIALS": "many"}, "optuna.search.n_trials: .*integer.* E2I__OPTUNA"),
    "a value for a section": ({"E2I__SPLITS": "3", "E2I__SPLITS__GAP_DAYS": "3"}, "Unset one of the two"),
    "not YAML": ({"E2I__BRANDS": "[Kisqali"}, "E2I__BRANDS is not a YAML value"),
    "no such file": ({"E2I_CONFIG": "no/such.yaml"}, "no/such.yaml cannot be read: No such file .* Check E2I_CONFIG"),
    "a folder": ({"E2I_CONFIG": str(PROJECT)}, "cannot be read: Is a directory. Check E2I_CONFIG"),
    "no such profile": ({"E2I_PROFILE": "moon"}, "there is no such profile. Profiles: "),
    "no location": ({"E2I_DATA": ""}, "source.kind is files, so source.location .or E2I_DATA. must say"),
    "an unknown absent table": ({"E2I__SOURCE__ABSENT__TABLES": "[hcp_profile]"}, "Did you mean hcp_profiles"),
    "nothing to predict": ({"E2I__SOURCE__ABSENT__TABLES": "[patient_journeys]"}, "there is nothing to predict"),
    "a null marker with a comma": ({"E2I__SOURCE__FILES__NULL_MARKERS": "['a,b']"}, "holds no delimiter"),
    "no suites": ({"E2I__STORES__GX_ROOT": "/nowhere"}, "There is no suite /nowhere/expectations/"),
    "another database": ({"E2I_METADATA_URL": "mysql://u:hunter2@h/db"}, "neither sqlite:///<file> nor postgresql"),
}

STATE: dict[str, tuple[Spoil, type[E2IError], str]] = {
    "a file in place of the folder": (
        lambda state: (shutil.rmtree(state), state.write_text("")),
        ConfigurationError,
        "The state folder .* cannot be written: .* Set E2I_STATE_DIR to a folder that this user may write",
    ),
    "another source's world": (
        lambda state: (state / "source.json").write_text('{"kind": "synthetic", "location": ""}'),
        StateFolderConflict,
        "holds the source synthetic, and this run is configured for files at .* Set E2I_STATE_DIR to another folder",
    ),
    "a claim that cannot be read": (
        lambda state: (state / "source.json").write_text("{"),
        ConfigurationError,
        "source.json should say whose state folder this is, and cannot be read. Delete that file if",
    ),
    "a key that is too short": (
        lambda state: (state / "pseudonym.key").write_text("abc"),
        ConfigurationError,
        "pseudonym.key has 3 characters and needs 16 at least. Restore it",
    ),
    "half a manifest": (
        lambda state: (state / "published" / "manifest.json").write_text('{"key": "a'),
        E2IError,
        "The manifest .* is not readable. Publish again: materialize validated_dataset after removing it",
    ),
    "a database that is none": (
        no_database,
        ToolRejected,
        "The metadata database sqlite:///.*metadata.db is damaged, .*: file is not a database. Restore it from a copy",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), CANNOT_BE_READ.values(), ids=CANNOT_BE_READ)
def test_input_that_cannot_be_read(world: World, spoil: Spoil, message: str) -> None:
    spoil(world.drop)

    assert re.search(message, refused(world, SourceError))


@pytest.mark.parametrize(("spoil", "message"), THE_GATE_REFUSES.values(), ids=THE_GATE_REFUSES)
def test_input_that_the_gate_refuses(world: World, spoil: Spoil, message: str) -> None:
    spoil(world.drop)

    assert re.search(message, refused(world, QCGateBlockedError))


@pytest.mark.parametrize(("spoil", "settings", "error", "message"), NOTHING_TO_LEARN.values(), ids=NOTHING_TO_LEARN)
def test_input_from_which_nothing_can_be_learned(
    world: World, spoil: Spoil, settings: Mapping[str, str], error: type[E2IError], message: str
) -> None:
    spoil(world.drop)

    assert re.search(message, refused(world, error, **settings))


@pytest.mark.parametrize(("settings", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_cannot_hold(world: World, settings: Mapping[str, str], message: str) -> None:
    said = refused(world, ConfigurationError, **settings)

    assert re.search(message, said)
    assert "hunter2" not in said


@pytest.mark.parametrize(("spoil", "error", "message"), STATE.values(), ids=STATE)
def test_a_state_folder_that_cannot_be_used(world: World, spoil: Spoil, error: type[E2IError], message: str) -> None:
    spoil(world.state)

    assert re.search(message, refused(world, error))


@pytest.mark.parametrize(
    ("spoil", "defect"),
    [
        (column("age_at_diagnosis", lambda _: "unknown"), ("age_at_diagnosis: not an INTEGER", 300)),
        (content(bytes.rstrip), ("a CSV file whose last line has no line break: see that it is complete", 1)),
    ],
    ids=["words for numbers", "cut within the last value"],
)
def test_what_can_be_lived_with_is_counted(world: World, spoil: Spoil, defect: tuple[str, int]) -> None:
    spoil(world.drop)

    table = publish(world).tables["patient_journeys"]

    assert defect in [(d.defect, d.rows) for d in table.defects]


def test_a_table_that_is_absent_by_declaration_may_be_referred_to_all_the_same(world: World) -> None:
    (world.drop / "hcp_profiles.csv").unlink()

    dataset = publish(world, E2I__SOURCE__ABSENT__TABLES="[hcp_profiles]")

    assert dataset.tables["hcp_profiles"].is_absent
    assert dataset.tables["patient_journeys"].has("hcp_id")


def last_lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.strip().splitlines()]


def test_the_command_line_ends_with_the_message(world: World) -> None:
    CANNOT_BE_READ["a missing column"][0](world.drop)
    before = contents(world.state / "published")

    done = Product(world.state, **world.environ).e2i("run")

    *_, headline, reason, _, advice = last_lines(done.err)
    assert done.status == 1
    assert headline == "Why it failed:"
    assert reason.startswith("patient_journeys lacks the required column patient_id")
    assert advice == "The run failed (exit status 1). What was done stays; run again to go on from there."
    assert "Traceback" not in done.text
    assert contents(world.state / "published") == before


def test_dagsters_command_line_ends_with_the_message_below_its_trace(world: World) -> None:
    CANNOT_BE_READ["an empty file"][0](world.drop)

    done = Product(world.state, **world.environ).materialize("patient_journeys")

    *_, headline, reason = last_lines(done.err)
    assert done.status == 1
    assert headline == "Why it failed:"
    assert reason.endswith(
        "patient_journeys.csv is empty: not even a header. Write the file again, with a line of column names."
    )


def test_dagsters_command_line_ends_with_what_is_wrong_with_the_settings(tmp_path: Path) -> None:
    done = Product(tmp_path / "state", E2I__SPLITS__GAP_DAY="3").materialize("patient_journeys")

    *_, headline, reason = last_lines(done.err)
    assert done.status == 1
    assert headline.endswith("ConfigurationError: The configuration has 1 problem:")
    assert reason.startswith("splits.gap_day: unknown key. Did you mean splits.gap_days?")


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_a_port_in_use_is_refused_before_anything_is_started(tmp_path: Path, command: str) -> None:
    product = Product(tmp_path / "state")
    deployed = {"bento_tag": "a:1", "bentoml_home": str(tmp_path), "endpoint": ""}
    write_json(product.state / "deployment" / "Remibrutinib.json", deployed)
    write_json(tmp_path / "bentos" / "a" / "1" / "bento.yaml", {})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        done = product.e2i(command, "--port", port)

    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"ConfigurationError: Nothing can listen on port {port} of 127.0.0.1: ")
    assert done.err.strip().endswith("Stop what is there, or take another port: PORT=3001.")
