"""Fifty expectations on many treatment events: the product's audit against one hand-written query that counts the same.

Both sides work in a process of their own that has imported what it needs and has warmed up on a small table; the
product's data docs are off. Each counts at full size and at a tenth of it, for the growth.
"""

import json
from pathlib import Path

from benchmarks.frame.bar import Bar, Outcome, Room, growth, peak, ratio
from benchmarks.frame.child import run_python

SMALLER = "at a tenth, s"
_WARM_UP_ROWS = 1000


def prepare(room: Room) -> None:
    """Writes the tables."""
    for file, rows in _files(room).items():
        run_python(room.folder / str(rows), ["-m", "benchmarks.wide_events.data", str(file), str(rows)])


def product(room: Room) -> Outcome:
    """The audit."""
    return _timed(room, "by_product")


def reference(room: Room) -> Outcome:
    """The query."""
    return _timed(room, "by_query")


def _timed(room: Room, side: str) -> Outcome:
    files = map(str, _files(room))
    child = run_python(room.folder, ["-m", f"benchmarks.wide_events.{side}", str(room.folder), *files])
    small, large = json.loads(child.out)
    answer = {"small": small["answer"], "large": large["answer"]}
    return Outcome(large["seconds"], child.peak_mib, answer, {SMALLER: small["seconds"]})


def _files(room: Room) -> dict[Path, int]:
    sizes = {"warm_up": _WARM_UP_ROWS, "small": room.sizes["events"] // 10, "large": room.sizes["events"]}
    return {room.shared / f"{name}.parquet": rows for name, rows in sizes.items()}


BAR = Bar(
    name="gate_scan",
    limits=(ratio(2.0), peak(2048), growth(SMALLER, 1.1)),
    product="the audit of treatment events by 50 expectations",
    reference="one query that counts the same",
    run_product=product,
    run_reference=reference,
    sizes={"events": 10_000_000},
    quick_sizes={"events": 1_000_000},
    pairs=3,
    quick_pairs=2,
    prepare=prepare,
)
