"""How long a process takes to know what exists: the definitions loaded, against Dagster imported and nothing else.

Every command, every code server and every run pays this. What counts is the whole process, from its start to its end;
the time until all is loaded stands in the record too.
"""

from benchmarks.frame.bar import Bar, Outcome, Room, ratio
from benchmarks.frame.child import run_python

_IMPORT = "import dagster"
_LOAD = "import dagster, e2i_pipeline.definitions as code; code.defs()"
_TIMED = "import time; began = time.perf_counter(); {}; print(dagster.__version__, time.perf_counter() - began)"


def product(room: Room) -> Outcome:
    """A fresh process that loads the definitions."""
    return _timed(room, _LOAD)


def reference(room: Room) -> Outcome:
    """A fresh process that imports Dagster."""
    return _timed(room, _IMPORT)


def prepare(room: Room) -> None:
    """Writes the bytecode of both, and brings the files into memory."""
    product(room)
    reference(room)


def _timed(room: Room, program: str) -> Outcome:
    environment = {"E2I_STATE_DIR": str(room.folder / "state")}
    done = run_python(room.folder, ["-c", _TIMED.format(program)], environment)
    version, loaded = done.out.split()
    return Outcome(done.seconds, done.peak_mib, version, {"until loaded, s": float(loaded)})


BAR = Bar(
    name="definitions_import",
    limits=(ratio(1.3),),
    product="a process that loads the definitions",
    reference="a process that imports Dagster",
    run_product=product,
    run_reference=reference,
    pairs=15,
    quick_pairs=7,
    prepare=prepare,
)
