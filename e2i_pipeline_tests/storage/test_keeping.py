"""Who says first that a thing is in use keeps it; who takes it away first has it; never both."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureTableRef, TableRef
from e2i_pipeline.storage.keeping import in_use, keep_for_use, places_named, take_away
from e2i_pipeline.storage.scratch import scratch_folder

NAME = "0123456789abcdef" * 2
LONG_AGO = 1_000_000_000.0


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    """The folder of a version that was last used long ago."""
    folder = tmp_path / "staging" / NAME
    folder.mkdir(parents=True)
    (folder / "data.parquet").write_text("rows")
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder


def test_what_was_not_used_for_long_is_taken_away_whole(thing: Path, tmp_path: Path) -> None:
    assert take_away(thing, tmp_path / "away", used_before=LONG_AGO + 1)

    assert not thing.exists()
    assert (tmp_path / "away" / "data.parquet").read_text() == "rows"


def test_what_is_in_use_stays(thing: Path, tmp_path: Path) -> None:
    assert not take_away(thing, tmp_path / "away", used_before=LONG_AGO)
    assert in_use(thing)

    assert thing.stat().st_mtime > time.time() - 3600
    assert not take_away(thing, tmp_path / "away", used_before=LONG_AGO + 1)
    assert (thing / "data.parquet").is_file()


def test_what_is_gone_cannot_be_used_nor_taken(thing: Path, tmp_path: Path) -> None:
    assert take_away(thing, tmp_path / "away", used_before=LONG_AGO + 1)

    assert not in_use(thing)
    assert not in_use(thing / "data.parquet")
    assert not take_away(thing, tmp_path / "away again", used_before=LONG_AGO + 1)


def test_a_manifest_is_a_thing_too(tmp_path: Path) -> None:
    manifest = tmp_path / f"{NAME}.json"
    manifest.write_text("{}")
    os.utime(manifest, (LONG_AGO, LONG_AGO))

    assert take_away(manifest, tmp_path / "away.json", used_before=LONG_AGO + 1)
    assert not in_use(manifest)


def test_what_somebody_writes_at_the_moment_is_not_taken_away(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as scratch:
        os.utime(scratch, (LONG_AGO, LONG_AGO))
        assert not take_away(scratch, tmp_path / "away", used_before=LONG_AGO + 1)
        assert scratch.is_dir()


def test_a_reference_keeps_everything_that_it_names(thing: Path, tmp_path: Path) -> None:
    location = str(thing / "data.parquet")
    table = FeatureTableRef(key="k", name="patient_features", version="v", location=location, entity="patient_id")
    absent = FeatureTableRef(key="k", name="hcp_features", version="v", is_absent=True, entity="hcp_id")
    registry = FeatureRegistryRef(
        key="k",
        project="p",
        service="s",
        features=(),
        tables={"patient_features": table, "hcp_features": absent},
        left_out={},
        definitions=str(tmp_path / "definitions.json"),
    )

    assert set(places_named(registry)) == {location, str(tmp_path / "definitions.json")}
    assert keep_for_use(registry)
    assert thing.stat().st_mtime > LONG_AGO


def test_a_reference_to_what_is_gone_says_so(tmp_path: Path) -> None:
    gone = TableRef(key="k", name="hcp_profiles", version="v", location=str(tmp_path / NAME / "data.parquet"))

    assert not keep_for_use(gone)


_USES = """
import sys
from pathlib import Path
from e2i_pipeline.storage.keeping import in_use
print("ready", flush=True)
sys.stdin.readline()
for thing in sorted(Path(sys.argv[1]).iterdir()):
    if in_use(thing):
        (thing / "data.parquet").read_text()  # fails where it was taken away all the same
        print(thing.name)
"""


def test_of_a_user_and_a_cleaner_at_once_one_is_told_no(tmp_path: Path) -> None:
    folder, away = tmp_path / "staging", tmp_path / "away"
    away.mkdir()
    for number in range(400):
        (folder / f"{number:032x}").mkdir(parents=True)
        (folder / f"{number:032x}" / "data.parquet").write_text("rows")
        os.utime(folder / f"{number:032x}", (LONG_AGO, LONG_AGO))
    command = [sys.executable, "-c", _USES, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:  # noqa: S603
        assert user.stdout is not None
        assert user.stdout.readline() == "ready\n"
        user.stdin.write("go\n")  # type: ignore[union-attr] - it is a pipe
        user.stdin.flush()  # type: ignore[union-attr]
        for thing in sorted(folder.iterdir()):
            take_away(thing, away / thing.name, used_before=LONG_AGO + 1)
        used = set(user.stdout.read().split())

    assert user.returncode == 0
    taken = {path.name for path in away.iterdir()}
    assert used | taken == {f"{number:032x}" for number in range(400)}
    assert used & taken == set()
