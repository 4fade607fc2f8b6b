"""Over 100 worlds in which engagement changes nothing: how many effects the gate lets through.

One in twenty intervals of 95 % misses 0 by chance; the rules together may let at most ten of a hundred through. There
is nothing to be faster than, so the reference does nothing.
"""

import json

from benchmarks.frame.bar import Bar, Limit, Outcome, Room
from benchmarks.frame.child import run_python


def product(room: Room) -> Outcome:
    """All worlds."""
    child = run_python(
        room.folder, ["-m", "benchmarks.effects.null", str(room.sizes["seeds"]), str(room.sizes["journeys"])]
    )
    said = json.loads(child.out)
    return Outcome(said["seconds"], child.peak_mib, None, said["counts"])


def reference(room: Room) -> Outcome:
    """Nothing."""
    return Outcome(0.0, 0.0, None)


BAR = Bar(
    name="effect_null",
    limits=(Limit("let through", " of 100", 10, lambda product, _: product.counts["passed"]),),
    product="overlap, effect, evaluation and refutation by their rules",
    reference="nothing: there is no effect",
    run_product=product,
    run_reference=reference,
    sizes={"seeds": 100, "journeys": 20_000},
    quick_sizes={"seeds": 10, "journeys": 4_000},
    pairs=1,
    quick_pairs=1,
)
