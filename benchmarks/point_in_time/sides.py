"""The sides of a bar, each in a process of its own; what they wrote is read in a further one."""

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.frame.bar import Outcome, Room
from benchmarks.frame.child import run_python

_SMALL = 1000
_PRODUCT = "e2i_pipeline.resources.feast_stores.offline.KnownTimeOfflineStore"


def prepare(kind: str) -> Callable[[Room], None]:
    """Writes the tables of a kind, and small ones to warm up on."""

    def written(room: Room) -> None:
        for folder, entities, rows in ((_data(room), *_sizes(room)), (_small(room), _SMALL, _SMALL)):
            command = ["-m", "benchmarks.point_in_time.data", str(folder), kind, str(entities), str(rows)]
            run_python(room.folder / "writing" / folder.name, command)

    return written


def by_feast(kind: str, offline: str = _PRODUCT) -> Callable[[Room], Outcome]:
    """A join through Feast, with one of its offline stores."""
    return lambda room: _timed(room, ["by_feast", offline, str(room.folder / "made"), kind])


def by_query(kind: str) -> Callable[[Room], Outcome]:
    """The same rows by one hand-written query."""
    return lambda room: _timed(room, ["by_query", str(room.folder / "made"), kind])


def _timed(room: Room, command: list[str]) -> Outcome:
    entities, rows = _sizes(room)
    module, *arguments = command
    sizes = [str(entities), str(rows), str(_data(room)), str(_small(room))]
    child = run_python(room.folder, ["-m", f"benchmarks.point_in_time.{module}", *arguments, *sizes])
    made = room.folder / "made" / "1.parquet"
    answer = json.loads(run_python(room.folder / "digest", ["-m", "benchmarks.point_in_time.digest", str(made)]).out)
    return Outcome(float(child.out.strip().splitlines()[-1]), child.peak_mib, answer)


def _sizes(room: Room) -> tuple[int, int]:
    return room.sizes["entities"], room.sizes["rows"]


def _data(room: Room) -> Path:
    return room.shared / "data"


def _small(room: Room) -> Path:
    return room.shared / "small"
