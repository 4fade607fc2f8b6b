"""The effect on 200,000 x 20: LinearDML and the causal forest by the product, against EconML's bare calls.

Both have the same settings, folds and boosted trees, and give effects with intervals for the same rows.
"""

import json

from benchmarks.frame.bar import Bar, Outcome, Room, peak, ratio
from benchmarks.frame.child import run_python


def product(room: Room) -> Outcome:
    """The product's estimators."""
    return _timed(room, "product")


def reference(room: Room) -> Outcome:
    """EconML's own calls."""
    return _timed(room, "econml")


def _timed(room: Room, side: str) -> Outcome:
    sizes = [str(room.sizes["rows"]), str(room.sizes["columns"])]
    child = run_python(room.folder, ["-m", "benchmarks.effects.fit", side, *sizes])
    said = json.loads(child.out)
    return Outcome(said["seconds"], child.peak_mib, said["answer"])


BAR = Bar(
    name="effect_fit",
    limits=(ratio(1.2), peak(6144)),
    product="the linear effect and the causal forest with intervals, nuisance models from the registry",
    reference="the same by EconML with scikit-learn's interface to the same boosted trees",
    run_product=product,
    run_reference=reference,
    sizes={"rows": 200_000, "columns": 20},
    quick_sizes={"rows": 20_000, "columns": 20},
    pairs=3,
    quick_pairs=2,
)
