"""From PostgreSQL to a staged, pseudonymized, hashed snapshot, against a bare COPY of the same table into nothing.

The bar starts a server of its own. Both sides work in a process that has imported what it needs and has read a small
table, on the same server, with its pages in memory.
"""

import json
from pathlib import Path

from benchmarks.frame.bar import Bar, BarError, Outcome, Room, peak, ratio
from benchmarks.frame.child import run_python

_WARM_UP_ROWS = 1000


def prepare(room: Room) -> None:
    """Starts the server, which ends with this process, and fills it."""
    from e2i_pipeline_tests import servers

    binaries = servers._postgres_binaries()
    if binaries is None:
        raise BarError("PostgreSQL's server (initdb, postgres) is not installed: .ci/install-services installs it.")
    url = servers.Postgres(binaries).database()
    _url(room).write_text(url, encoding="utf-8")
    for schema, rows in (("warm_up", _WARM_UP_ROWS), ("large", room.sizes["events"])):
        run_python(
            room.folder / schema,
            ["-m", "benchmarks.postgres_events.data", url, schema, str(rows), str(room.folder / schema)],
        )


def product(room: Room) -> Outcome:
    """The snapshot."""
    return _timed(room, "by_product", str(room.folder))


def reference(room: Room) -> Outcome:
    """The copy."""
    return _timed(room, "by_copy")


def _timed(room: Room, side: str, *further: str) -> Outcome:
    url = _url(room).read_text(encoding="utf-8")
    child = run_python(room.folder, ["-m", f"benchmarks.postgres_events.{side}", url, *further])
    said = json.loads(child.out)
    return Outcome(said["seconds"], child.peak_mib, said["answer"])


def _url(room: Room) -> Path:
    return room.shared / "url"


BAR = Bar(
    name="landing_postgres",
    limits=(ratio(2.5), peak(3072)),
    product="a table of PostgreSQL staged: read, pseudonymized, ordered, compressed, hashed",
    reference="a bare COPY TO STDOUT of the same table into nothing",
    run_product=product,
    run_reference=reference,
    sizes={"events": 1_000_000},
    quick_sizes={"events": 200_000},
    pairs=5,
    quick_pairs=3,
    prepare=prepare,
)
"""At least 0.4 of the rows per second of the copy: at most 2.5 times its seconds."""
