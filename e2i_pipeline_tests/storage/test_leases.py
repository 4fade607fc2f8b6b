"""Leases tell work that a killed process left open from work that another process is still doing."""

import signal
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from e2i_pipeline.storage.leases import Leases

_HOLDER = """
import sys
from e2i_pipeline.storage.leases import Leases
leases = Leases(sys.argv[1])
for name in sys.argv[2:]:
    leases.take(name)
print("taken", flush=True)
sys.stdin.readline()
"""


class Holder:
    """A process of its own that takes leases and then waits."""

    def __init__(self, folder: Path, *names: str) -> None:
        command = [sys.executable, "-c", _HOLDER, str(folder), *names]
        self._process = Popen(command, stdin=PIPE, stdout=PIPE, text=True)  # noqa: S603
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "taken\n"

    def ends(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.communicate()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_what_a_killed_process_had_taken_is_abandoned_once(tmp_path: Path) -> None:
    Holder(tmp_path, "a", "b").ends(signal.SIGKILL)

    assert list(Leases(tmp_path).abandoned()) == ["a", "b"]
    assert list(Leases(tmp_path).abandoned()) == []
    assert files(tmp_path) == []


def test_what_a_living_process_has_taken_is_not_abandoned(tmp_path: Path) -> None:
    holder = Holder(tmp_path, "a")

    assert list(Leases(tmp_path).abandoned()) == []
    assert Leases(tmp_path).is_held("a")
    holder.ends(signal.SIGKILL)
    assert not Leases(tmp_path).is_held("a")


def test_this_process_is_alive_too(tmp_path: Path) -> None:
    ours = Leases(tmp_path)
    ours.take("a")

    assert list(ours.abandoned()) == []
    assert list(Leases(tmp_path).abandoned()) == []


def test_work_that_another_process_goes_on_with_is_not_abandoned(tmp_path: Path) -> None:
    killed, living = Holder(tmp_path, "a"), Holder(tmp_path, "a")
    killed.ends(signal.SIGKILL)

    assert list(Leases(tmp_path).abandoned()) == []
    assert len(files(tmp_path)) == 1
    living.ends(signal.SIGKILL)
    assert list(Leases(tmp_path).abandoned()) == ["a"]


def test_what_was_released_is_done(tmp_path: Path) -> None:
    ours = Leases(tmp_path)
    ours.take("a")
    ours.take("a")
    ours.release("a")
    ours.release("a")

    assert files(tmp_path) == []
    assert list(ours.abandoned()) == []


def test_what_could_not_be_dealt_with_is_found_again(tmp_path: Path) -> None:
    Holder(tmp_path, "a").ends(signal.SIGKILL)

    def fails() -> None:
        for _ in Leases(tmp_path).abandoned():
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fails()

    assert list(Leases(tmp_path).abandoned()) == ["a"]


def test_abandoned_work_is_given_to_one_at_a_time(tmp_path: Path) -> None:
    Holder(tmp_path, "a").ends(signal.SIGKILL)

    for name in Leases(tmp_path).abandoned():
        assert name == "a"
        assert list(Leases(tmp_path).abandoned()) == []


def test_no_folder_holds_no_leases(tmp_path: Path) -> None:
    assert list(Leases(tmp_path / "none").abandoned()) == []
    assert not (tmp_path / "none").exists()
