"""A million rows of 30 features: training and evaluation, and the bare calls that fit and predict.

The product encodes, fits, recalibrates and sets the threshold on further rows, scores all rows and computes all
metrics, calibration included (intervals by resampling aside). The reference makes XGBoost's own matrix, trains and
predicts the same rows. Each side has a process of its own that has imported what it needs. Boosters that rank all rows
equally well are the same answer.
"""

import json

from benchmarks.frame.bar import Bar, Outcome, Room, peak, ratio
from benchmarks.frame.child import run_python


def product(room: Room) -> Outcome:
    """Training and evaluation."""
    return _timed(room, "by_product")


def reference(room: Room) -> Outcome:
    """The bare calls."""
    return _timed(room, "by_calls")


def _timed(room: Room, side: str) -> Outcome:
    child = run_python(room.folder, ["-m", f"benchmarks.million_rows.{side}", str(room.sizes["rows"])])
    said = json.loads(child.out)
    return Outcome(said["seconds"], child.peak_mib, said["answer"])


BAR = Bar(
    name="train_1m",
    limits=(ratio(1.2), peak(4096)),
    product="training and evaluation of a million rows of 30 features, metrics and calibration",
    reference="the bare calls that make XGBoost's matrix, train and predict",
    run_product=product,
    run_reference=reference,
    sizes={"rows": 1_000_000},
    quick_sizes={"rows": 150_000},
    pairs=3,
    quick_pairs=2,
)
