"""The code location. It only loads `defs/`, once per process: for one run Dagster asks six times."""

import functools
from pathlib import Path

import dagster as dg

from e2i_pipeline.garbage import held_for_good


@dg.definitions
@functools.cache
def defs() -> dg.Definitions:
    """Everything under `defs/`."""
    with held_for_good():
        return dg.load_from_defs_folder(path_within_project=Path(__file__))
