"""The generated source: writes the world of `domain/synthetic.py` once per setting, and reads it like any other input.

The tables and `truth.json` beside them lie under `<state>/synthetic/<key>/`, complete or not at all. They are made and
written block by block, so that memory does not grow with the world.
"""

# pyarrow ships no types, so what comes out of it is unknown to the type checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import json
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.synthetic import BLOCK, GENERATOR_VERSION, generate_blocks, truth
from e2i_pipeline.domain.synthetic_process import Design
from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline.resources.engine import parquet

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

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
        switches: The other attributes of `Design`, e.g. `process`.
    """

    def __init__(
        self,
        state_dir: str | Path,
        brands: list[str],
        seed: int,
        journeys_per_brand: int,
        outcome_window_days: int,
        **switches: Any,
    ) -> None:
        self._brands = tuple(brands)
        self._design = Design(seed, journeys_per_brand, outcome_window_days, **switches)
        self._key = content_key(GENERATOR_VERSION, BLOCK, self._brands, vars(self._design))
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
        """Writes the world unless it is there; of several processes, one writes and the others wait.

        Raises:
            ToolUnavailable: The disk does not take it.
        """
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
        scratch = self.folder.with_name(f".writing-{self._key}")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir()
            write_blocks(generate_blocks(self._brands, self._design), scratch)
            told = json.dumps(truth(self._brands, self._design), indent=2)
            (scratch / TRUTH).write_text(told + "\n", encoding="utf-8")
            os.rename(scratch, self.folder)  # noqa: PTH104 - Path.rename moves into an existing folder on some systems
        except OSError as err:
            raise ToolUnavailable(
                f"The generated source could not be written to {self.folder} ({type(err).__name__}), and nothing of it "
                "was kept. Make room on that disk, or lower source.synthetic.journeys_per_brand, and run again."
            ) from err
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def write_blocks(blocks: "Iterable[dict[str, pa.Table]]", folder: Path) -> None:
    """Writes tables that come in blocks, one Parquet file per table, one row group per block and table.

    One block is written while the next is made, and no third is in memory.

    Args:
        blocks: Tables by name, all blocks with the same columns.
        folder: An existing folder.

    Raises:
        OSError: The disk does not take them.
    """
    writers: dict[str, Any] = {}
    with ExitStack() as opened, ThreadPoolExecutor(1, "synthetic") as beside:

        def write(block: "dict[str, pa.Table]") -> None:
            for name, table in block.items():
                if name not in writers:
                    writers[name] = opened.enter_context(_writer(folder / f"{name}.parquet", table.schema))
                writers[name].write_table(table, row_group_size=max(1, table.num_rows))

        before: Future[None] | None = None
        for block in blocks:
            if before is not None:
                before.result()
            before = beside.submit(write, block)
        if before is not None:
            before.result()


def _writer(file: Path, schema: "pa.Schema") -> Any:
    """A Parquet file to write to; what it says of its types is what the tables say with their texts spelt out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A dictionary of what is different in nearly each row costs time and saves nothing; one of a block's ids does.
    lists = [f"{field.name}.list.element" for field in schema if pa.types.is_list(field.type)]
    distinct = (pa.types.is_string, pa.types.is_timestamp, pa.types.is_list)
    others = [field.name for field in schema if not any(is_it(field.type) for is_it in distinct)]
    encoded: Any = [*lists, *others]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=encoded,
        dictionary_pagesize_limit=2**22,
        store_schema=False,
    )
