"""Which world both sides make, and what they answer."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WINDOW_DAYS = 180
_SEED = 7


def brands() -> tuple[str, ...]:
    """The configured brands."""
    from e2i_pipeline.config.loader import load_settings

    return tuple(load_settings({}).brands)


def design(journeys: int) -> Any:
    """The default process, so many journeys over all brands."""
    from e2i_pipeline.domain.synthetic_process import Design

    return Design(_SEED, -(-journeys // len(brands())), _WINDOW_DAYS)


def connector(folder: Path, names: Sequence[str], journeys: int) -> Any:
    """The product's source of so many journeys over the named brands."""
    from e2i_pipeline.resources.connectors.synthetic import SyntheticConnector

    return SyntheticConnector(folder, list(names), _SEED, -(-journeys // len(names)), _WINDOW_DAYS)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each table's file."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.parquet")):
        with file.open("rb") as opened:
            found[file.stem] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found
