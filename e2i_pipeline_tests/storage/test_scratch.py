"""Folders to work in: gone afterwards, kept while they are used, cleared when their process was killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2i_pipeline.storage.scratch import clear_abandoned, scratch_file, scratch_folder

WORKS = """
import sys, threading
from e2i_pipeline.storage.scratch import scratch_folder
with scratch_folder(sys.argv[1]) as scratch:
    (scratch / "half.parquet").write_text("half")
    print(scratch.name, flush=True)
    threading.Event().wait()
"""

WORKS_OFTEN = """
import sys
from e2i_pipeline.storage.scratch import scratch_folder
for _ in range(200):
    with scratch_folder(sys.argv[1]) as scratch:
        (scratch / "one").write_text("1")
        (scratch / "one").read_text()
"""


def test_a_folder_is_gone_after_its_block_and_what_was_moved_away_stays(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "made") as scratch:
        (scratch / "one").write_text("1")
        (scratch / "two").write_text("2")
        (scratch / "one").rename(tmp_path / "made" / "kept")

    assert [path.name for path in (tmp_path / "made").iterdir()] == ["kept"]


def test_the_folder_itself_can_be_moved_into_place(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as scratch:
        (scratch / "one").write_text("1")
        scratch.rename(tmp_path / "there")

    assert [path.name for path in tmp_path.rglob("*")] == ["there", "one"]


def test_what_another_process_works_in_stays_until_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own code
        assert process.stdout is not None
        theirs = tmp_path / process.stdout.readline().strip()

        with scratch_folder(tmp_path) as ours:
            assert {path.name for path in tmp_path.iterdir()} == {ours.name, theirs.name}
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert (theirs / "half.parquet").is_file()
    with scratch_folder(tmp_path):
        assert not theirs.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_file_becomes_its_target_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made" / "one.json"
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / ".one.json.of-a-killed-process").write_text("{")

    with scratch_file(target) as scratch:
        scratch.write_text("{}")
        scratch.replace(target)

    assert [path.name for path in (tmp_path / "made").iterdir()] == ["one.json"]


def test_an_error_in_the_block_is_raised_and_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), scratch_folder(tmp_path) as scratch:
        (scratch / "nowhere").read_text()

    assert list(tmp_path.iterdir()) == []


def test_many_processes_work_in_one_place_without_clearing_each_others_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKS_OFTEN, str(tmp_path)]
    started = [subprocess.Popen(command) for _ in range(3)]  # noqa: S603 - our own code

    assert [process.wait() for process in started] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_does_no_harm(tmp_path: Path) -> None:
    clear_abandoned(tmp_path / "nowhere")

    assert list(tmp_path.iterdir()) == []
