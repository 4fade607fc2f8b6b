"""A drop of CSV files to staged, pseudonymized, hashed tables, against DuckDB's own conversion of the same files.

Both sides work in a process of their own that has imported what it needs and has warmed up on a small drop. The bar
asks for half of DuckDB's rows per second, which is twice its seconds.
"""

import json
from pathlib import Path

from benchmarks.frame.bar import Bar, Outcome, Room, ratio
from benchmarks.frame.child import run_python

_WARM_UP_JOURNEYS = 100


def prepare(room: Room) -> None:
    """Writes the drops."""
    for drop, journeys in _drops(room).items():
        run_python(room.folder / drop.name, ["-m", "benchmarks.csv_drop.data", str(drop), str(journeys)])


def product(room: Room) -> Outcome:
    """Landing."""
    return _timed(room, "by_product")


def reference(room: Room) -> Outcome:
    """The conversion."""
    return _timed(room, "by_duckdb")


def _timed(room: Room, side: str) -> Outcome:
    drops = map(str, _drops(room))
    child = run_python(room.folder, ["-m", f"benchmarks.csv_drop.{side}", str(room.folder / "made"), *drops])
    found = json.loads(child.out)
    counts = {"rows": sum(found["answer"].values())}
    return Outcome(found["seconds"], child.peak_mib, dict(sorted(found["answer"].items())), counts)


def _drops(room: Room) -> dict[Path, int]:
    return {room.shared / "warm_up": _WARM_UP_JOURNEYS, room.shared / "drop": room.sizes["journeys"]}


BAR = Bar(
    name="landing_csv",
    limits=(ratio(2.0),),
    product="landing of the four tables of a CSV drop",
    reference="DuckDB's own conversion of the same files to Parquet",
    run_product=product,
    run_reference=reference,
    sizes={"journeys": 150_000},
    quick_sizes={"journeys": 20_000},
    pairs=5,
    quick_pairs=2,
    prepare=prepare,
)
