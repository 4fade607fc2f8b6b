"""Drops of the `files` source that can be told apart in what is published: each row bears its drop's mark. Tests only.

`published` looks at a state folder as any reader does: it reads files, and neither waits nor writes.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2i_pipeline.contracts.references import DatasetRef, TableRef
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.resources.engine import file_sha256, parquet, quoted
from e2i_pipeline_tests.processes import PROJECT, Product

GOOD, SHORTER, CORRUPT = "good", "shorter", "corrupt"
MARKED = {
    "patient_journeys": "data_source",
    "treatment_events": "data_source",
    "hcp_profiles": "territory_id",
    "engagement_events": "event_type",
}
"""A column of text per table that no rule looks at."""

JOURNEYS = 150

Rows = list[dict[str, Any]]


class Published(NamedTuple):
    """A published dataset that was read to the last row.

    Attributes:
        mark: The drop that it is made of.
        key: Its key.
    """

    mark: str
    key: str


class Drop:
    """A folder with one file per table.

    Args:
        folder: The folder; made when absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._world = generate(["Kisqali"], seed=7, journeys_per_brand=JOURNEYS).tables
        folder.mkdir(parents=True, exist_ok=True)

    def deliver(self, mark: str, kind: str = GOOD) -> None:
        """Writes all tables.

        Args:
            mark: What each row bears.
            kind: `good`, `shorter` (good, and one journey less) or `corrupt` (two journeys of one patient, and a brand
                that nobody configured).
        """
        for name, table in self._world.items():
            rows = [{**row, MARKED[name]: mark} for row in _changed(name, table.to_pylist(), kind)]
            scratch = self.folder / f".{name}"
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), scratch)
            scratch.replace(self.folder / f"{name}.parquet")

    def product(self, state: Path, **settings: str) -> Product:
        """The product over this drop."""
        environment = {
            "E2I_CONFIG": str(PROJECT / "examples" / "files.yaml"),
            "E2I_DATA": str(self.folder),
            "E2I__BRANDS": "[Kisqali]",
            "E2I__GREAT_EXPECTATIONS__DATA_DOCS_SITE": "''",
        }
        return Product(state, **environment, **settings)


def _changed(name: str, rows: Rows, kind: str) -> Rows:
    last = f"Kisqali-J{JOURNEYS - 1:07}"
    if kind == SHORTER:
        return [row for row in rows if row.get("patient_journey_id") != last]
    if kind == CORRUPT and name == "patient_journeys":
        rows[1]["patient_id"] = rows[0]["patient_id"]
        rows[2]["brand"] = "Unheard-Of"
    return rows


def published(state: Path) -> Published:
    """What is published, after reading all of it.

    Raises:
        AssertionError: Something is missing, is not what the manifest says, or is of another drop than the rest.
    """
    return read_dataset(state / "published" / "manifest.json")


def read_dataset(manifest: Path) -> Published:
    """A dataset by its manifest, after reading all of it. Raises as `published`."""
    dataset = DatasetRef.model_validate(json.loads(manifest.read_text(encoding="utf-8")))
    for table in [*dataset.tables.values(), dataset.assignments]:
        assert Path(table.location).is_file(), f"{table.name} of {manifest.name} is gone"
        assert file_sha256(table.location) == table.version, f"{table.name} of {manifest.name} is another"
        assert _column(f"SELECT count(*) FROM {parquet(table.location)}") == {table.rows}
    marks = {name: _marks(table) for name, table in dataset.tables.items()}
    assert set(marks) == set(MARKED)
    [mark] = set().union(*marks.values())
    _assert_consistent(dataset)
    return Published(mark, dataset.key)


def _assert_consistent(dataset: DatasetRef) -> None:
    """Each journey has its split, and nobody refers to a journey or HCP that is not there."""
    read = {name: parquet(table.location) for name, table in dataset.tables.items()}
    journeys = _column(f"SELECT patient_journey_id FROM {read['patient_journeys']}")
    profiles = _column(f"SELECT hcp_id FROM {read['hcp_profiles']}")
    assert _column(f"SELECT patient_journey_id FROM {parquet(dataset.assignments.location)}") == journeys
    assert _column(f"SELECT patient_journey_id FROM {read['treatment_events']}") <= journeys | {None}
    for name in ("patient_journeys", "treatment_events", "engagement_events"):
        assert _column(f"SELECT hcp_id FROM {read[name]}") <= profiles | {None}, name


def _marks(table: TableRef) -> set[Any]:
    return _column(f"SELECT {quoted(MARKED[table.name])} FROM {parquet(table.location)}")


def _column(query: str) -> set[Any]:
    with duckdb.connect() as connection:
        return {value for (value,) in connection.execute(query).fetchall()}
