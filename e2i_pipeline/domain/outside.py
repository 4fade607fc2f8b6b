"""Algorithms from outside of this package: where they are named, and how they are found.

An installed distribution names its algorithms as entry points of the group `e2i_pipeline.algorithms`; a module of one's
own is named in the environment variable `E2I_ALGORITHMS` (`module:object`, several with commas), which every process
that a run starts inherits. A Bento and an MLflow model carry such a module, and its name in a file beside this one.
Which algorithm a name means stands in `algorithms`, what is carried in `serving.carried`.
"""

import functools
import importlib
import importlib.metadata
import os
from pathlib import Path
from typing import NamedTuple

from e2i_pipeline.domain.learners import Algorithm
from e2i_pipeline.errors import ConfigurationError

GROUP = "e2i_pipeline.algorithms"
VARIABLE = "E2I_ALGORITHMS"
CARRIED_FILE = "carried_algorithms.txt"
"""File beside this one, in a copy of this package that a model carries: one `module:object` a line."""


class Outside(NamedTuple):
    """An algorithm from outside.

    Attributes:
        algorithm: The algorithm.
        reference: `module:object`.
        distribution: Name of the installed distribution that brings it; empty for a module of one's own.
    """

    algorithm: Algorithm
    reference: str
    distribution: str = ""


def outside_algorithms() -> dict[str, Outside]:
    """The algorithms from outside that are named now, by name.

    Raises:
        ConfigurationError: One cannot be imported or is no algorithm, or two have one name.
    """
    return _found(os.environ.get(VARIABLE, ""))


@functools.cache
def _found(named: str) -> dict[str, Outside]:
    carried = Path(__file__).with_name(CARRIED_FILE)
    lines = carried.read_text(encoding="utf-8").split() if carried.is_file() else []
    references = dict.fromkeys([*lines, *(part.strip() for part in named.split(",") if part.strip())], "")
    for entry in importlib.metadata.entry_points(group=GROUP):
        references[entry.value.replace(" ", "")] = entry.dist.name if entry.dist else ""
    found: dict[str, Outside] = {}
    for reference, distribution in references.items():
        algorithm = _loaded(reference)
        if algorithm.name in found:
            raise ConfigurationError(
                f"the algorithm {algorithm.name!r} is named twice, as {found[algorithm.name].reference} and as "
                f"{reference} ({VARIABLE}, or entry points of {GROUP}). Name one of them."
            )
        found[algorithm.name] = Outside(algorithm, reference, distribution)
    return found


def _loaded(reference: str) -> Algorithm:
    module, _, name = reference.partition(":")
    try:
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as err:
        raise ConfigurationError(
            f"{reference} ({VARIABLE}, or an entry point of {GROUP}) was not found ({type(err).__name__}: {err}). "
            "Write module:object, and put the module's folder on the Python path (PYTHONPATH) or install it."
        ) from err
    algorithm = named() if isinstance(named, type) else named
    if not isinstance(algorithm, Algorithm):
        raise ConfigurationError(
            f"{reference} ({VARIABLE}, or an entry point of {GROUP}) is no algorithm: make it a class that extends "
            "e2i_pipeline.domain.learners.Algorithm, or an instance of one."
        )
    return algorithm
