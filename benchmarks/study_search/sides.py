"""Runs the arms, each in a process of its own."""

import json
from pathlib import Path
from typing import Any

from benchmarks.frame.bar import Outcome, Room
from benchmarks.frame.child import run_python

_WRITE = """
import sys, pathlib
from benchmarks.study_search.data import write
write(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
"""


def prepare(room: Room) -> None:
    """Makes the rows, and writes the tools' bytecode."""
    run_python(room.folder / "rows", ["-c", _WRITE, str(_rows(room)), str(room.sizes["rows"])])


def searched(room: Room, workers: int, seed: int | None = None) -> tuple[dict[str, Any], float]:
    """The product's study with so many workers: what it said, and its peak memory in MiB.

    Args:
        room: Where.
        workers: How many.
        seed: Of the study; None for one of each pair's own.
    """
    return _arm(room, "product", workers, seed)


def looped(room: Room, kind: str) -> tuple[dict[str, Any], float]:
    """The loop by hand, `plain` or `pruned`: what it said, and its peak memory in MiB."""
    return _arm(room, "loops", kind)


def outcome(said: dict[str, Any], peak_mib: float, **counts: float) -> Outcome:
    """An arm as a side of a pair; sides need not find the same parameters, but finish the same number of trials."""
    figures = {"auc": said["auc"], "pruned": said["pruned"], "processor seconds": said["cpu"]}
    return Outcome(said["seconds"], peak_mib, {"trials": said["trials"]}, {**figures, **counts})


def _arm(room: Room, module: str, last: object, fixed: int | None = None) -> tuple[dict[str, Any], float]:
    seed = _next_seed(room.shared / f"{module} {last}.seed") if fixed is None else fixed
    arguments = ["-m", f"benchmarks.study_search.{module}", str(_rows(room)), str(room.sizes["trials"]), str(seed)]
    child = run_python(room.folder / f"{module} {last}", [*arguments, str(last)])
    return json.loads(child.out), child.peak_mib


def _rows(room: Room) -> Path:
    return room.shared / "rows.npz"


def _next_seed(counted: Path) -> int:
    """A seed of its own for each pair, and the same one for all arms of a pair."""
    seed = int(counted.read_text()) + 1 if counted.exists() else 1
    counted.write_text(str(seed))
    return seed
