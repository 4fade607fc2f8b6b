"""How often Python looks for garbage in a process that holds the definitions: seldom, since what it loads stays.

What is measured about it stands in docs/benchmarks.md.
"""

import gc
import sys

OBJECTS = 50_000
"""New objects after which Python looks for garbage; by default 700. Importing the tools makes millions, and all of them
stay: looking took 2 s of a first run of 25 s. The run's peak memory is the same."""


def look_seldom() -> None:
    """Leaves out what is loaded so far, and looks through the rest less often."""
    if "duckdb" not in sys.modules:  # it reports at the end what nobody has looked through
        gc.freeze()  # Dagster's modules are no garbage; not looking through them saves a process 0.3 s, most at its end
    gc.set_threshold(OBJECTS, 20, 50)
