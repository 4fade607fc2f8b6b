"""A million entities with four features online, written in bulk, against Feast's own path.

Both go through Feast's `materialize`. Feast's own writes fewer entities, since it would take minutes; its seconds count
per row. What is there afterwards is read by Feast's own reader on both sides, for entities that both have written.
"""

import json
from pathlib import Path

from benchmarks.frame.bar import Bar, Limit, Outcome, Room
from benchmarks.frame.child import run_python
from benchmarks.online_stores.repository import start_servers, write_rows

_STORES = ("sqlite", "redis", "postgres")
_WARM_UP_ROWS = 100


def prepare(room: Room) -> None:
    """Starts the servers, which end with this process, and writes the rows."""
    _settings(room).write_text(json.dumps(start_servers([*_STORES])), encoding="utf-8")
    for name, rows in {
        "warm_up": _WARM_UP_ROWS,
        "some": room.sizes["feasts_own"],
        "all": room.sizes["entities"],
    }.items():
        write_rows(room.shared / f"{name}.parquet", rows)


def product(room: Room) -> Outcome:
    """All entities, by the product's stores and engine."""
    return _timed(room, "ours", "all", room.sizes["entities"])


def reference(room: Room) -> Outcome:
    """Some entities, by Feast's own."""
    return _timed(room, "feast", "some", room.sizes["feasts_own"])


def _timed(room: Room, side: str, table: str, rows: int) -> Outcome:
    files = [str(room.shared / f"{name}.parquet") for name in ("warm_up", table, "some")]
    arguments = [side, str(_settings(room)), str(room.folder), *files]
    child = run_python(room.folder, ["-m", "benchmarks.online_stores.materialize", *arguments])
    said = json.loads(child.out)
    counts = {_per_row(store): seconds / rows * 1e6 for store, seconds in said["seconds"].items()}
    return Outcome(sum(said["seconds"].values()), child.peak_mib, said["answer"], counts)


def _per_row(store: str) -> str:
    return f"{store}, microseconds per row"


def _settings(room: Room) -> Path:
    return room.shared / "settings.json"


def _share(store: str, at_most: float) -> Limit:
    """A limit on the time per row over that of Feast's own path."""
    count = _per_row(store)
    return Limit(
        f"{store}, per row", "", at_most, lambda product, reference: product.counts[count] / reference.counts[count]
    )


BAR = Bar(
    name="online_materialize",
    limits=(_share("sqlite", 0.2), _share("redis", 0.2), _share("postgres", 0.1)),
    product="entities with four features written online in bulk, in Feast's own layout",
    reference="Feast's own path, on fewer entities, per row",
    run_product=product,
    run_reference=reference,
    sizes={"entities": 1_000_000, "feasts_own": 20_000},
    quick_sizes={"entities": 100_000, "feasts_own": 3_000},
    pairs=3,
    quick_pairs=2,
    prepare=prepare,
)
"""At least 5 times Feast's rows per second for SQLite and Redis, 10 times for PostgreSQL."""
