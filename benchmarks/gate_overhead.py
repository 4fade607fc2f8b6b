"""What the gate of all four tables costs beyond one plain pass over them, imports and data docs aside.

The gate as the product uses it: locks, suites, Great Expectations, verdicts and reports in the metadata database.
"""

import json

from benchmarks.frame.bar import Bar, Outcome, Room, beyond
from benchmarks.frame.child import run_python

_WARM_UP_JOURNEYS = 300


def prepare(room: Room) -> None:
    """Lands the tables, and small ones to warm up with."""
    for name, journeys in (("warm_up", _WARM_UP_JOURNEYS), ("tables", room.sizes["journeys"])):
        arguments = [str(room.shared / name), str(room.shared / f"{name}.json"), str(journeys)]
        run_python(room.folder / name, ["-m", "benchmarks.gate_tables.landing", *arguments])


def product(room: Room) -> Outcome:
    """The gate."""
    return _timed(room, "by_gate")


def reference(room: Room) -> Outcome:
    """The plain pass."""
    return _timed(room, "by_pass")


def _timed(room: Room, side: str) -> Outcome:
    files = [str(room.shared / f"{name}.json") for name in ("warm_up", "tables")]
    child = run_python(room.folder, ["-m", f"benchmarks.gate_tables.{side}", str(room.folder / "state"), *files])
    said = json.loads(child.out)
    return Outcome(said["seconds"], child.peak_mib, said["answer"])


BAR = Bar(
    name="gate_overhead",
    limits=(beyond(3.0),),
    product="the gate of all four tables",
    reference="one pass over the same tables that counts what is given in each column",
    run_product=product,
    run_reference=reference,
    sizes={"journeys": 20_000},
    quick_sizes={"journeys": 2_000},
    quick_pairs=2,
    prepare=prepare,
)
