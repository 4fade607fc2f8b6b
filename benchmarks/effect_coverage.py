"""Over 100 seeds of three processes: the interval of the average effect holds the truth, and the mean is the truth.

An interval of exactly 95 % misses more than ten times in a hundred once in a hundred studies. The truth is the
generator's, for exactly what a partially linear model targets; how it relates to the average derivative stands beside
it in `truth.json`. There is nothing to be faster than, so the reference does nothing.
"""

import json

from benchmarks.effects.coverage import PROCESSES
from benchmarks.frame.bar import Bar, Limit, Outcome, Room
from benchmarks.frame.child import run_python


def product(room: Room) -> Outcome:
    """All estimates."""
    child = run_python(
        room.folder, ["-m", "benchmarks.effects.coverage", str(room.sizes["seeds"]), str(room.sizes["journeys"])]
    )
    said = json.loads(child.out)
    return Outcome(said["seconds"], child.peak_mib, None, said["counts"])


def reference(room: Room) -> Outcome:
    """Nothing."""
    return Outcome(0.0, 0.0, None)


def _missed(process: str) -> Limit:
    return Limit(f"missed in {process}", " of 100", 10, lambda product, _: product.counts[f"missed {process}"])


def _off(process: str) -> Limit:
    return Limit(f"mean off in {process}", " s.e.", 2, lambda product, _: product.counts[f"off {process}"])


BAR = Bar(
    name="effect_coverage",
    limits=(*map(_missed, PROCESSES), *map(_off, PROCESSES)),
    product="the average effect with its interval by LinearDML, nuisance models fixed",
    reference="nothing: the truth is known",
    run_product=product,
    run_reference=reference,
    sizes={"seeds": 100, "journeys": 20_000},
    quick_sizes={"seeds": 30, "journeys": 4_000},
    pairs=1,
    quick_pairs=1,
)
