"""Writes the feature table of a view: what the plan says, from the staged tables, as one Parquet file with its plan.

What a view holds stands in `domain/feature_tables.py`, whom a change of the source touches in
`domain/feature_changes.py`; how Feast is told of the tables in `feast.py`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import ColumnInfo, FeatureTableRef, TableRef
from e2i_pipeline.domain import feature_changes as changes
from e2i_pipeline.domain.feature_tables import view_query
from e2i_pipeline.domain.features import ViewPlan, plan_view
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.engine import EngineResource, WrittenTable, parquet, quoted
from e2i_pipeline.storage.keeping import in_use
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_TOUCHED = 0.5
"""Share of a view's entities above which all are computed. At 0.2 it is still two thirds of the work, and to find out
who is touched costs a seventh of it, also where all are computed then (docs/benchmarks.md)."""

_ORDER = ("event_timestamp", "created_timestamp")


class Made(NamedTuple):
    """A feature table, and how it was made, which the table itself does not show.

    Attributes:
        table: The table.
        entities_recomputed: Entities whose rows were computed; None where all were.
        rows_reused: Rows taken over from the table before.
    """

    table: FeatureTableRef
    entities_recomputed: int | None = None
    rows_reused: int = 0

    @property
    def computed(self) -> str:
        """`full` or `incremental`."""
        return "full" if self.entities_recomputed is None else "incremental"


def write_view(
    engine: EngineResource,
    folder: Path,
    view: str,
    tables: Mapping[str, TableRef],
    covariates: Sequence[Mapping[str, Any]],
    touch_window_days: int,
    most_touched: float = MOST_TOUCHED,
    bound: str = "<=",
) -> Made:
    """Computes the feature table of one view.

    Where the table before was made by the same statement and is still there with its sources, only the entities that a
    difference touches are computed, and the rows of all others taken over: the file is the same, byte for byte.

    Args:
        engine: Computes it.
        folder: Folder of all feature tables.
        view: Name of the view.
        tables: Staged tables by canonical name; one that is missing counts as absent.
        covariates: Configured covariates.
        touch_window_days: Look-back window of `recent_touches`.
        most_touched: Share of the entities, 0..1, up to which the rows of the others are taken over.
        bound: Whether an event with a time is seen at that time (`<=`) or only afterwards (`<`).

    Returns:
        The table; an absent one where the source can fill nothing of it.

    Raises:
        ConfigurationError: A covariate cannot be what it is declared to be.
    """
    plan = plan_view(view, tables, covariates, bound)
    present = {name: ref for name, ref in tables.items() if not ref.is_absent}
    query_of = {name: parquet(ref.location) for name, ref in present.items()}
    versions = {name: ref.version for name, ref in present.items()}
    if plan.is_empty:
        key = content_key(view, versions, plan)
        return Made(
            FeatureTableRef(key=key, name=view, version=key, is_absent=True, entity=plan.entity, left_out=plan.left_out)
        )
    # The statement without locations: the same source gives the same key in another folder.
    neutral = view_query(plan, tables, {name: name for name in present}, touch_window_days)
    statement = content_key(view, neutral, _engine_version())
    last = _last(folder / view)
    with engine.connect() as connection:
        touched = _touched(connection, view, statement, neutral, present, last, most_touched)
        query, reused = view_query(plan, tables, query_of, touch_window_days), 0
        if last is not None and touched:
            query = _spliced(connection, plan, present, last, touch_window_days)
            reused = _reused(connection, plan.entity, last.table)
        if last is not None and touched == 0:
            written, reused = last.table, last.table.rows
        else:
            # The bytes of a file depend on how the statement hands rows over (seen with DuckDB 2.0); from a table they
            # are the same whichever statement filled it.
            connection.execute(f"CREATE TEMP TABLE made AS {query}")
            written = engine.write(connection, "SELECT * FROM made", folder / view, order_by=(plan.entity, *_ORDER))
        known = connection.execute(
            f"SELECT CAST(max(created_timestamp) AS TIMESTAMP) FROM {parquet(written.location)}"
        ).fetchone()
    ref = FeatureTableRef(
        key=content_key(view, versions, plan, neutral),
        name=view,
        location=written.location,
        version=written.version,
        rows=written.rows,
        columns=written.columns,
        known_until=known[0].replace(tzinfo=UTC) if known and known[0] else None,
        entity=plan.entity,
        left_out=plan.left_out,
    )
    write_json(plan_path(folder, ref), {"plan": plan.model_dump(mode="json"), "touch_window_days": touch_window_days})
    write_json(_last_path(folder / view), _Last(statement, present, written).as_json())
    return Made(ref, touched, reused)


class _Last(NamedTuple):
    """What a view's feature table was made of the last time: statement, source tables, and what came of them."""

    statement: str
    sources: Mapping[str, TableRef]
    table: WrittenTable

    def as_json(self) -> dict[str, Any]:
        return {
            "statement": self.statement,
            "sources": {name: ref.model_dump(mode="json") for name, ref in self.sources.items()},
            "table": {**self.table._asdict(), "columns": [c.model_dump() for c in self.table.columns]},
        }

    @property
    def is_there(self) -> bool:
        """Whether all of its files are, and stay for now."""
        places = [Path(self.table.location), *(Path(ref.location) for ref in self.sources.values())]
        return all(in_use(place.parent) and place.is_file() for place in places)


def _last_path(folder: Path) -> Path:
    return folder / "last.json"


def _last(folder: Path) -> _Last | None:
    try:
        told = json.loads(_last_path(folder).read_text(encoding="utf-8"))
        columns = tuple(ColumnInfo.model_validate(column) for column in told["table"].pop("columns"))
        sources = {name: TableRef.model_validate(ref) for name, ref in told["sources"].items()}
        return _Last(told["statement"], sources, WrittenTable(**told["table"], columns=columns))
    except (OSError, ValueError, KeyError, TypeError):  # made anew, like one that is not there
        return None


def _engine_version() -> str:
    import duckdb

    return duckdb.__version__


def _touched(
    connection: "DuckDBPyConnection",
    view: str,
    statement: str,
    neutral: str,
    present: Mapping[str, TableRef],
    last: _Last | None,
    most_touched: float,
) -> int | None:
    """Puts the entities that changed since the last time into a temporary table.

    Returns:
        Their number; None where all are to be computed: another statement or other columns, files that are gone, or too
        many changes.
    """
    if last is None or last.statement != statement or not last.is_there:
        return None
    if {n: r.columns for n, r in present.items()} != {n: r.columns for n, r in last.sources.items()}:
        return None
    versions = _versions(present, last)
    changed: dict[str, str] = {}
    for table in changes.reads(view, versions):
        if present[table].version != last.sources[table].version:
            changed[table] = f"changed_{table}"
            differences = changes.differences(table, neutral, versions)
            connection.execute(f"CREATE TEMP TABLE {changed[table]} AS {differences}")
    if not changed:
        return 0
    connection.execute(f"CREATE TEMP TABLE {changes.TOUCHED} AS {changes.touched(view, changed, versions)}")
    touched = _number(connection, f"SELECT count(*) FROM {changes.TOUCHED}")
    entity = quoted(last.table.columns[0].name)
    all_of_them = _number(connection, f"SELECT approx_count_distinct({entity}) FROM {parquet(last.table.location)}")
    # Versions of a journey without a key cannot be told from others'.
    nameless = f"SELECT count(*) FROM {versions.after[changes.JOURNEYS]} WHERE patient_journey_id IS NULL"
    return None if touched > most_touched * all_of_them or _number(connection, nameless) else touched


def _versions(present: Mapping[str, TableRef], last: _Last) -> changes.Versions:
    before = {name: parquet(ref.location) for name, ref in last.sources.items()}
    return changes.Versions(present, before, {name: parquet(ref.location) for name, ref in present.items()})


def _spliced(
    connection: "DuckDBPyConnection",
    plan: ViewPlan,
    present: Mapping[str, TableRef],
    last: _Last,
    touch_window_days: int,
) -> str:
    """The statement of the table that takes over what no change touched."""
    versions = _versions(present, last)
    relations = changes.needed(plan.view, versions)
    for table in changes.reads(plan.view, versions):  # read several times by the statement
        connection.execute(f"CREATE TEMP TABLE needed_{table} AS SELECT * FROM {relations[table]}")
        relations[table] = f"needed_{table}"
    computed = view_query(plan, present, relations, touch_window_days)
    columns = ", ".join(quoted(column.name) for column in last.table.columns)
    return changes.spliced(plan.view, columns, computed, parquet(last.table.location))


def _reused(connection: "DuckDBPyConnection", entity: str, table: WrittenTable) -> int:
    return _number(
        connection, f"SELECT count(*) FROM {parquet(table.location)} ANTI JOIN {changes.TOUCHED} USING ({entity})"
    )


def _number(connection: "DuckDBPyConnection", query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def plan_path(folder: Path, ref: FeatureTableRef) -> Path:
    """Where the plan of a feature table lies."""
    return folder / ref.name / "plans" / f"{ref.key}.json"


def plan_of(folder: Path, ref: FeatureTableRef) -> dict[str, Any]:
    """The plan that a feature table was written by, and the look-back window of its touches.

    Raises:
        ToolRejected: It is gone.
    """
    path = plan_path(folder, ref)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ToolRejected(
            f"The feature table {ref.name} has lost its plan {path}. Materialize {ref.name} again."
        ) from None
