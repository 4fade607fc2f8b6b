"""What `make` must be told to find a configuration and its state folder again. The rules are the Makefile's."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from e2i_pipeline.config.loader import PROJECT
from e2i_pipeline.config.schema import Settings


def make_arguments(chosen: Settings, environ: Mapping[str, str]) -> str:
    """`CONFIG=`, `DATA=` and `E2I_STATE_DIR=` where they are needed, each after a space.

    Args:
        chosen: The settings in force.
        environ: The environment that they were read from.

    Returns:
        Text to put behind `make <target>`; empty where the defaults hold.
    """
    config, data = environ.get("E2I_CONFIG", ""), environ.get("E2I_DATA", "")
    usual = PROJECT / f".e2i-{Path(config).stem}" if config else PROJECT / ".e2i"
    given = {
        "CONFIG": config,
        "DATA": data,
        "E2I_STATE_DIR": "" if chosen.state_dir == usual else str(chosen.state_dir),
    }
    return "".join(f" {name}={shlex.quote(_short(place))}" for name, place in given.items() if place)


def _short(place: str) -> str:
    """A path as `make` is given it, from the project's folder."""
    path = Path(place).absolute()
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)
