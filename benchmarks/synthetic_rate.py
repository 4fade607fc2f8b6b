"""A million generated journeys with all tables: the product's source, and writing the same files from arrays in memory.

The reference writes the same Arrow tables by the same lines; what it took to make them does not count. Each side has a
process of its own that has imported what it needs. The same bytes are the same answer.
"""

import json

from benchmarks.frame.bar import Bar, Outcome, Room, peak, ratio
from benchmarks.frame.child import run_python


def product(room: Room) -> Outcome:
    """The generated source, truth included."""
    return _timed(room, "by_product")


def reference(room: Room) -> Outcome:
    """The writing alone."""
    return _timed(room, "by_arrays")


def _timed(room: Room, side: str) -> Outcome:
    arguments = ["-m", f"benchmarks.synthetic_world.{side}", str(room.folder), str(room.sizes["journeys"])]
    child = run_python(room.folder, arguments)
    said = json.loads(child.out)
    return Outcome(said["seconds"], child.peak_mib, said["answer"])


BAR = Bar(
    name="synthetic_rate",
    limits=(ratio(3.0), peak(2048)),
    product="making and writing all tables of the generated source, and its truth",
    reference="writing the same Parquet files from arrays that exist already",
    run_product=product,
    run_reference=reference,
    sizes={"journeys": 1_000_000},
    quick_sizes={"journeys": 150_000},
    pairs=3,
    quick_pairs=2,
)
