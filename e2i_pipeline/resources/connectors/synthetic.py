"""The generated source: writes the world of `domain/synthetic.py` once per setting, and reads it like any other input.

The tables and `truth.json` beside them lie under `<state>/synthetic/<key>/`, complete or not at all.
"""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.synthetic import GENERATOR_VERSION, generate
from e2i_pipeline.resources.engine import parquet

if TYPE_CHECKING:
    import duckdb

TRUTH = "truth.json"
"""File with what a method should find in the tables; written last, so that its presence means the folder is whole."""


class SyntheticConnector:
    """A `Connector` over a generated world.

    Args:
        state_dir: The state folder.
        brands: Brand names.
        seed: >= 0.
        journeys_per_brand: Journeys of each brand, >= 1.
        outcome_window_days: Days from the index date (included) in which treatment counts.
        process: Name of the generating process.
    """

    def __init__(
        self,
        state_dir: str | Path,
        brands: list[str],
        seed: int,
        journeys_per_brand: int,
        outcome_window_days: int,
        process: str = "confounded",
    ) -> None:
        self._arguments = (tuple(brands), seed, journeys_per_brand, outcome_window_days, process)
        self._key = content_key(GENERATOR_VERSION, self._arguments)
        self.folder = Path(state_dir) / "synthetic" / self._key

    def fingerprint(self, table: str) -> str:
        """The settings and the generator's version: they decide every value."""
        return content_key(self._key, table)

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str:
        """The table as generated; generates the world when this is the first question about it."""
        self.ensure()
        return f"SELECT * FROM {parquet(str(self.folder / f'{table}.parquet'))}"

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """None: what is generated is as intended."""
        return ()

    def ensure(self) -> None:
        """Writes the world unless it is there; of several processes, one writes and the others wait."""
        from filelock import FileLock

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder.parent / ".lock"):
            if not self._is_whole():
                shutil.rmtree(self.folder, ignore_errors=True)
                self._write()

    def _is_whole(self) -> bool:
        names = [TRUTH, *(f"{table}.parquet" for table in TABLES)]
        return all((self.folder / name).is_file() for name in names)

    def _write(self) -> None:
        import pyarrow.parquet as pq

        scratch = self.folder.with_name(f".writing-{self._key}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        world = generate(*self._arguments)
        for name, table in world.tables.items():
            pq.write_table(table, scratch / f"{name}.parquet", compression="zstd")
        (scratch / TRUTH).write_text(json.dumps(world.truth, indent=2) + "\n", encoding="utf-8")
        os.rename(scratch, self.folder)  # noqa: PTH104 - Path.rename moves into an existing folder on some systems
