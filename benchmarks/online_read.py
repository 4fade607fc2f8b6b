"""One entity read online with all features of three views, the TTL honoured, against Feast's own read of the same.

Both read what the product has written, warm, in one process, one entity after another; the median read counts. Feast's
own read honours no TTL.
"""

import json
from pathlib import Path

from benchmarks.frame.bar import Bar, Limit, Outcome, Room
from benchmarks.frame.child import run_python
from benchmarks.online_stores.repository import start_servers, write_rows

_STORES = ("sqlite", "redis")


def prepare(room: Room) -> None:
    """Starts the server, which ends with this process, and writes the rows."""
    _settings(room).write_text(json.dumps(start_servers([*_STORES])), encoding="utf-8")
    write_rows(_rows(room), room.sizes["entities"])


def product(room: Room) -> Outcome:
    """The product's stores."""
    return _timed(room, "ours")


def reference(room: Room) -> Outcome:
    """Feast's own."""
    return _timed(room, "feast")


def _timed(room: Room, side: str) -> Outcome:
    arguments = [side, str(_settings(room)), str(room.folder), str(_rows(room)), str(room.sizes["reads"])]
    child = run_python(room.folder, ["-m", "benchmarks.online_stores.read", *arguments])
    said = json.loads(child.out)
    counts = {f"{store}, microseconds": seconds * 1e6 for store, seconds in said["seconds"].items()}
    return Outcome(sum(said["seconds"].values()), child.peak_mib, said["answer"], counts)


def _settings(room: Room) -> Path:
    return room.shared / "settings.json"


def _rows(room: Room) -> Path:
    return room.shared / "rows.parquet"


def _times(store: str, at_most: float) -> Limit:
    """A limit on the median read over Feast's own."""
    count = f"{store}, microseconds"
    return Limit(store, "", at_most, lambda product, reference: product.counts[count] / reference.counts[count])


BAR = Bar(
    name="online_read",
    limits=(_times("sqlite", 1.2), _times("redis", 1.2)),
    product="one entity with 19 features of three views, the TTL honoured",
    reference="Feast's own read of the same",
    run_product=product,
    run_reference=reference,
    sizes={"entities": 20_000, "reads": 3_000},
    quick_sizes={"entities": 2_000, "reads": 1_000},
    pairs=5,
    quick_pairs=3,
    prepare=prepare,
)
