"""A small good drop that was published once, ways to spoil a copy of it, and landing, audit and publication in process.

Tests only. It goes through the settings and the composition root as a run does; what Dagster adds is tested elsewhere.
"""

import csv
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.references import DatasetRef, TableRef
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.resources.engine import file_sha256, parquet
from e2i_pipeline_tests.processes import PROJECT

NOW = datetime(2026, 2, 1, tzinfo=UTC)


class World(NamedTuple):
    """A drop, and the state folder in which it was published."""

    drop: Path
    state: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            "E2I_CONFIG": str(PROJECT / "examples" / "files.yaml"),
            "E2I_DATA": str(self.drop),
            "E2I_STATE_DIR": str(self.state),
            "E2I__BRANDS": "[Kisqali]",
            "E2I__GREAT_EXPECTATIONS__DATA_DOCS_SITE": "''",
        }

    def resources(self, **settings: str) -> dict[str, Any]:
        """The resources as a run has them."""
        return build_resources(load_settings({**self.environ, **settings}))


def good_world(root: Path, journeys: int = 300) -> World:
    """A made-up drop of one brand as CSV, published."""
    world = World(root / "drop", root / "state")
    world.drop.mkdir()
    for name, table in generate(["Kisqali"], 7, journeys).tables.items():
        duckdb.from_arrow(table).write_csv(str(world.drop / f"{name}.csv"))
    publish(world)
    return world


def copied(good: World, folder: Path) -> World:
    """A copy of a world, to be spoilt. What was published in it still names the first one's tables."""
    copy = World(folder / "drop", folder / "state")
    for place, target in zip(good, copy, strict=True):
        shutil.copytree(place, target)
    (copy.state / "source.json").write_text(json.dumps({"kind": "files", "location": str(copy.drop)}))
    return copy


def publish(world: World, **settings: str) -> DatasetRef:
    """Lands, audits and publishes as the assets do."""
    resources = world.resources(**settings)
    tables: list[TableRef] = [resources["source"].stage(name, NOW) for name in TABLES]
    for table in tables:
        resources["gate"].audit(table, run_id="a run", now=NOW, others=tables)
    resources["gate"].require(tables)
    as_of = resources["gate"].dataset_as_of(tables)
    named = {table.name: table for table in tables}
    return resources["publication"].publish(resources["publication"].key(named, as_of, "code"), named, as_of)


def warnings(world: World, dataset: DatasetRef) -> str:
    """What the verdicts warned of on the way to a published dataset."""
    verdicts = world.resources()["gate"].require(list(dataset.tables.values()))
    return "\n".join(warning for verdict in verdicts for warning in verdict.warnings)


def require_readable(dataset: DatasetRef) -> None:
    """Opens each file that a manifest names, and holds its bytes and its rows against what the manifest says."""
    for table in (*dataset.tables.values(), dataset.assignments):
        if table.is_absent:
            continue
        counted = duckdb.sql(f"SELECT count(*) FROM {parquet(table.location)}").fetchall()
        assert counted == [(table.rows,)], table.name
        assert file_sha256(table.location) == table.version, table.name


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file under a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


Rows = list[dict[str, str]]
Spoil = Callable[[Path], object]


def journeys(change: Callable[[Rows], object], table: str = "patient_journeys") -> Spoil:
    """Changes the rows of a table; columns of the first row that are new become columns of the table."""

    def spoil(drop: Path) -> None:
        path = drop / f"{table}.csv"
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names, rows = list(reader.fieldnames or ()), list(reader)
        change(rows)
        names = list(dict.fromkeys([*names, *(rows[0] if rows else ())]))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)

    return spoil


def column(name: str, value: Callable[[str], str], first: int | None = None, table: str = "patient_journeys") -> Spoil:
    """Changes a column, in all rows or in the first ones."""
    return journeys(lambda rows: [row.update({name: value(row.get(name, ""))}) for row in rows[:first]], table)


def without(name: str, table: str) -> Spoil:
    """Leaves a column out."""

    def spoil(drop: Path) -> None:
        path = drop / f"{table}.csv"
        rest = duckdb.read_csv(str(path), all_varchar=True).select(f'* EXCLUDE "{name}"')
        rest.write_csv(str(drop / "rest.csv"))
        (drop / "rest.csv").rename(path)

    return spoil


def content(change: Callable[[bytes], bytes], name: str = "patient_journeys.csv", to: str = "") -> Spoil:
    """Changes a file's bytes, and its name where `to` is given."""

    def spoil(drop: Path) -> None:
        changed = change((drop / name).read_bytes())
        (drop / name).unlink()
        (drop / (to or name)).write_bytes(changed)

    return spoil


def as_parquet(change: Callable[[bytes], bytes], table: str = "patient_journeys") -> Spoil:
    """Delivers a table as Parquet, and changes its bytes."""

    def spoil(drop: Path) -> None:
        duckdb.read_csv(str(drop / f"{table}.csv"), all_varchar=True).write_parquet(str(drop / "new.parquet"))
        (drop / f"{table}.csv").unlink()
        content(change, "new.parquet", f"{table}.parquet")(drop)

    return spoil
