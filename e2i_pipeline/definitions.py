"""The code location. It only loads `defs/`, once per process: for one run Dagster asks six times."""

import functools
from pathlib import Path

import dagster as dg

from e2i_pipeline.garbage import look_seldom


@dg.definitions
@functools.cache
def defs() -> dg.Definitions:
    """Everything under `defs/`."""
    look_seldom()
    return dg.load_from_defs_folder(path_within_project=Path(__file__))
