"""How often Python looks for garbage in a process that holds the definitions: seldom, since what it loads stays.

What is measured about it stands in docs/benchmarks.md.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 50_000
"""New objects after which Python looks for garbage; by default 700. Importing the tools makes millions, and all of them
stay: looking took 2 s of a first run of 25 s. The run's peak memory is the same."""


@contextmanager
def held_for_good() -> Iterator[None]:
    """Looks through nothing within the block, leaves out what is loaded by its end, and looks less often from there."""
    was_looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_looking:
            gc.enable()
        if "duckdb" not in sys.modules:  # it reports at the end what nobody has looked through
            gc.freeze()  # Dagster and the definitions are no garbage; not looking saves 0.3 s, most of it at the end
        gc.set_threshold(OBJECTS, 20, 50)
