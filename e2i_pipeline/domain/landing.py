"""How a source's rows become canonical ones: which columns, cast how, pseudonymized. SQL text, never run.

The rows are read once, with `read_sql`, into a table that holds the source's own identifiers; `pseudonym_maps` gives
each distinct one its pseudonym, and `landed_sql` puts these in place. When a row was known stands in `versions.py`.

A value that does not fit its type becomes null and is counted; nothing else is judged here, that is the gate's work.
Column names in the SQL are canonical ones only, so nothing that a source says becomes SQL text.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.cohort import Absences, History
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import (
    DELETED,
    DELETED_AT,
    DIRECT,
    IDENTIFIER,
    PATIENT_JOURNEYS,
    TABLES,
    Column,
    TableSchema,
)
from e2i_pipeline.domain.privacy import direct_kind, pseudonym_sql
from e2i_pipeline.errors import ConfigurationError, SourceError

MARKS = "e2i_marks"
"""Column of the read rows: bit i is set where the i-th landed column held a value that did not fit."""

DROPPED = "left out: never landed, since it identifies a person by itself"
"""What is done about a direct identifier."""

_FLOATS = ("DOUBLE", "FLOAT")
# Outside these years neither pandas nor Feast can hold a time in nanoseconds (1677-09-21 to 2262-04-11), lag included.
_YEARS = ("1700", "2199")
_DEFECTS = {
    "VARCHAR": "not a finite number",
    "VARCHAR[]": "not a list (a JSON array, or values separated by ;)",
    "DATE": f"not a DATE (YYYY-MM-DD) between {_YEARS[0]} and {_YEARS[1]}",
    "TIMESTAMP": f"not a TIMESTAMP (YYYY-MM-DD HH:MM:SS) between {_YEARS[0]} and {_YEARS[1]}",
    "INTEGER": "not an INTEGER",
    "DOUBLE": "not a finite DOUBLE",
    "BOOLEAN": "not a BOOLEAN",
}


class Plan(NamedTuple):
    """What is landed of what a source delivered.

    Attributes:
        schema: The canonical table.
        landed: Columns to land, in canonical order, each with its type in the source.
        missing: Required columns that were not delivered.
        unknown: Delivered columns that the data dictionary does not name.
        direct: Delivered columns that identify a person by themselves, canonical or not; they are never landed.
        withheld: Columns that were declared absent and delivered all the same.
        is_restated: Whether rows are superseded or deleted by later ones.
        tombstone: The delivered column that says that a row is deleted, and its type in the source; None without one.
    """

    schema: TableSchema
    landed: tuple[tuple[Column, str], ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    direct: tuple[str, ...]
    withheld: tuple[str, ...]
    is_restated: bool = False
    tombstone: tuple[str, str] | None = None

    def has(self, column: str) -> bool:
        """Whether a column of this name is landed."""
        return any(each.name == column for each, _ in self.landed)


def check_absences(absent: Absences) -> None:
    """Holds what a source declares it cannot have against the canonical tables.

    Raises:
        ConfigurationError: A name is unknown, or what is named must be delivered.
    """
    _check_names(absent.tables, TABLES, "source.absent.tables")
    _check_names(absent.columns, TABLES, "source.absent.columns")
    if PATIENT_JOURNEYS.name in absent.tables:
        raise ConfigurationError("source.absent.tables: without patient_journeys there is nothing to predict.")
    for table, columns in absent.columns.items():
        _check_names(columns, TABLES[table].names, f"source.absent.columns.{table}")
        if required := [name for name in TABLES[table].required if name in columns]:
            raise ConfigurationError(
                f"source.absent.columns.{table} names {', '.join(required)}, which every source must deliver. "
                "Deliver it, or declare the whole table absent."
            )


def _check_names(names: Iterable[str], valid: Collection[str], where: str) -> None:
    for name in names:
        if name not in valid:
            near = difflib.get_close_matches(name, list(valid), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(valid)}."
            raise ConfigurationError(f"{where} names {name}, which the data dictionary does not know. {hint}")


def with_covariates(schema: TableSchema, columns: Mapping[str, str]) -> TableSchema:
    """A canonical table with the further columns that configured covariates are made of.

    Args:
        schema: The table.
        columns: DuckDB type by column.

    Raises:
        ConfigurationError: A column is named as what identifies a person by itself.
    """
    if direct := [f"{name} ({kind})" for name in columns if (kind := direct_kind(name))]:
        raise ConfigurationError(
            f"features.covariates: {', '.join(direct)} of {schema.name} is a direct identifier by its name, and such a "
            "column is never landed. Take the covariate out; what it should tell the model (an age, a region, a count) "
            "goes into a column of its own, named so."
        )
    return schema.with_columns(columns)


def check_history(history: History) -> None:
    """Holds what a source declares of its history against the canonical tables.

    Raises:
        ConfigurationError: A table is unknown.
    """
    _check_names(history.restated, TABLES, "source.history.restated")
    _check_names(history.tombstones, TABLES, "source.history.tombstones")


def plan(
    schema: TableSchema, found: Mapping[str, str], absent: Collection[str], history: History | None = None
) -> Plan:
    """Decides what to land.

    Args:
        schema: The canonical table.
        found: Delivered columns and their DuckDB types.
        absent: Columns that the source declares it cannot have.
        history: How the source restates and deletes.

    Returns:
        The plan; a direct identifier is in no part of it.

    Raises:
        SourceError: The column that says what is deleted was not delivered.
    """
    declared = history or History()
    tombstone = _tombstone(schema, found, declared)
    wanted = [c for c in schema.columns if c.name in found and c.privacy != DIRECT]
    named = {c.name: c.privacy == DIRECT for c in schema.columns}
    direct = tuple(name for name in found if named.get(name, bool(direct_kind(name))))
    return Plan(
        schema=schema,
        landed=tuple((c, found[c.name]) for c in wanted if c.name not in absent),
        missing=tuple(name for name in schema.required if name not in found),
        unknown=tuple(name for name in found if name not in (*schema.names, *direct, DELETED, tombstone)),
        direct=direct,
        withheld=tuple(c.name for c in wanted if c.name in absent),
        is_restated=declared.covers(schema.name) or DELETED in found,
        tombstone=(tombstone, found[tombstone]) if tombstone else None,
    )


def _tombstone(schema: TableSchema, found: Mapping[str, str], history: History) -> str:
    name = history.tombstones.get(schema.name, "")
    if name and name not in found:
        near = difflib.get_close_matches(name, list(found), n=1)
        hint = f" (is {near[0]} meant?)" if near else ""
        raise SourceError(
            f"{schema.name} lacks the column {name}{hint}, which source.history.tombstones names: without it, deleted "
            "rows would stay. Deliver it, or take the entry out."
        )
    return name


def missing_columns_message(plan: Plan, found: Sequence[str]) -> str:
    """What is missing, what looks like it, and what was found.

    Names are repeated only where one of them is canonical: in a file without a header they are a patient's values.
    """
    by_lower = {name.lower(): name for name in found}
    if not set(by_lower) & set(plan.schema.names):
        return (
            f"None of the {len(found)} columns found for {plan.schema.name} has a name of the data dictionary; "
            f"required are {', '.join(plan.schema.required)}. See that the input begins with a line of column names, "
            "and that they are canonical."
        )
    wanted: list[str] = []
    for name in plan.missing:
        near = difflib.get_close_matches(name, list(by_lower), n=1)
        wanted.append(f"{name} (is {by_lower[near[0]]} meant?)" if near else name)
    return (
        f"{plan.schema.name} lacks the required column{'s' if len(wanted) > 1 else ''} {', '.join(wanted)}. "
        f"Columns found: {', '.join(found)}. Rename or add columns as the data dictionary names them."
    )


def read_sql(plan: Plan, query: str) -> str:
    """The rows of a source's query, cast, with `MARKS`: identifiers still the source's own, direct ones left out.

    Where rows are deleted by further ones it has two more columns: `DELETED` and `DELETED_AT`.
    """
    raw: list[str] = []
    final: list[str] = []
    marks = ["0::BIGINT"]
    for i, (column, found) in enumerate(plan.landed):
        value = cast_sql(_named(column), found, column.dtype)
        is_identifier = column.privacy == IDENTIFIER
        raw += [f'"{column.name}" AS r{i}', f"{_not_blank(value) if is_identifier else value} AS c{i}"]
        final.append(f'c{i} AS "{column.name}"')
        if is_identifier or not _fits(found, column.dtype):
            marks.append(f"CASE WHEN c{i} IS NULL AND r{i} IS NOT NULL THEN {1 << i}::BIGINT ELSE 0 END")
    for name, expression in _deletion(plan).items():
        raw.append(f"{expression} AS {name}")
        final.append(name)
    return f"SELECT {', '.join(final)}, {' | '.join(marks)} AS {MARKS} FROM (SELECT {', '.join(raw)} FROM ({query}))"


def _not_blank(x: str) -> str:
    # The first test spares nearly all values the second, which builds a text.
    return f"CASE WHEN {x} <> '' AND (NOT starts_with({x}, ' ') OR replace({x}, ' ', '') <> '') THEN {x} END"


def _deletion(plan: Plan) -> dict[str, str]:
    """Whether, and when, a row says that its key is gone: by column, as SQL over the source's rows."""
    if plan.tombstone is None:
        return {}
    name, found = plan.tombstone
    x = '"' + name.replace('"', '""') + '"'
    is_time = found.startswith(("TIMESTAMP", "DATE"))
    return {
        DELETED: "false" if is_time else f"coalesce({cast_sql(x, found, 'BOOLEAN')}, false)",
        DELETED_AT: cast_sql(x, found, "TIMESTAMP") if is_time or found == "VARCHAR" else "NULL::TIMESTAMP",
    }


def pseudonym_maps(plan: Plan, read: str) -> dict[str, str]:
    """Statements that give each distinct identifier its pseudonym once, by the name of the table to keep them in.

    The table's own key is not among them: it is distinct in each row or nearly so.

    Args:
        plan: The plan.
        read: Table with the rows of `read_sql`.
    """
    columns: dict[str, list[str]] = {}
    for column in _mapped(plan):
        columns.setdefault(column.namespace, []).append(f'SELECT "{column.name}" AS id FROM {read}')
    return {
        _map_name(namespace): f"SELECT id, {pseudonym_sql('id', namespace)} AS pseudonym FROM "
        f"(SELECT DISTINCT id FROM ({' UNION ALL '.join(parts)}) WHERE id IS NOT NULL)"
        for namespace, parts in columns.items()
    }


def landed_sql(plan: Plan, read: str) -> str:
    """The read rows with a pseudonym in place of each identifier.

    It reads the tables of `pseudonym_maps` and the pads of the key from the table `privacy.PADS`.
    """
    mapped = {column.name: f"m{i}" for i, column in enumerate(_mapped(plan))}
    selected: list[str] = []
    for column, _ in plan.landed:
        value = f'r."{column.name}"'
        if column.name in mapped:
            value = f"{mapped[column.name]}.pseudonym"
        elif column.privacy == IDENTIFIER:
            value = pseudonym_sql(value, column.namespace)
        selected.append(f'{value} AS "{column.name}"')
    joins = [
        f'LEFT JOIN {_map_name(column.namespace)} {mapped[column.name]} ON {mapped[column.name]}.id = r."{column.name}"'
        for column in _mapped(plan)
    ]
    further = [f"r.{name}" for name in _deletion(plan)]
    return f"SELECT {', '.join([*selected, *further])} FROM {read} r {' '.join(joins)}"


def _mapped(plan: Plan) -> list[Column]:
    key = plan.schema.columns[0].name
    return [column for column, _ in plan.landed if column.privacy == IDENTIFIER and column.name != key]


def _map_name(namespace: str) -> str:
    return f"e2i_pseudonyms_{namespace}"


def cast_sql(expression: str, found: str, dtype: str) -> str:
    """A value as its canonical type, NULL where it does not fit.

    Args:
        expression: SQL expression.
        found: Its DuckDB type.
        dtype: The canonical type: a key of the table of defects in this module.

    Returns:
        An expression that never raises. A number with a fraction is no INTEGER, NaN and infinity are no DOUBLE; a
        text with a time zone is turned into UTC (a plain cast would drop the zone); ids that a tool wrote as floats
        (`123.0`) read as they do elsewhere (`123`).
    """
    x = expression
    if _fits(found, dtype):
        return x
    if dtype == "VARCHAR":
        whole = f"CASE WHEN {x} = trunc({x}) THEN TRY_CAST({x} AS HUGEINT)::VARCHAR ELSE {x}::VARCHAR END"
        return f"CASE WHEN isfinite({x}) THEN {whole} END" if found in _FLOATS else f"CAST({x} AS VARCHAR)"
    if dtype == "VARCHAR[]":
        return f"TRY_CAST({x} AS VARCHAR[])" if found.endswith("]") else _list_sql(f"CAST({x} AS VARCHAR)")
    if dtype == "INTEGER":
        return f"CASE WHEN TRY_CAST({x} AS DOUBLE) = TRY_CAST({x} AS INTEGER) THEN TRY_CAST({x} AS INTEGER) END"
    if dtype == "DOUBLE":
        return f"CASE WHEN isfinite(TRY_CAST({x} AS DOUBLE)) THEN TRY_CAST({x} AS DOUBLE) END"
    if dtype == "BOOLEAN":
        number = f"CASE TRY_CAST({x} AS DOUBLE) WHEN 1 THEN true WHEN 0 THEN false END"
        spelt = f"CASE {x} WHEN 'true' THEN true WHEN 'false' THEN false ELSE TRY_CAST({x} AS BOOLEAN) END"
        return f"coalesce({spelt}, {number})" if found == "VARCHAR" else number
    value = _instant_sql(x, found) if dtype == "TIMESTAMP" else f"TRY_CAST({x} AS DATE)"
    return f"CASE WHEN year({value}) BETWEEN {_YEARS[0]} AND {_YEARS[1]} THEN {value} END"


def _instant_sql(x: str, found: str) -> str:
    """A point in time in UTC; only what stands behind the date of a text can name a zone, and few do."""
    plain = f"TRY_CAST({x} AS TIMESTAMP)"
    if found != "VARCHAR":
        return plain
    zoned = f"TRY_CAST({x} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
    return f"CASE WHEN regexp_full_match(substr({x}, 11), '[T ]?[0-9:.]*') THEN {plain} ELSE {zoned} END"


def defects_sql(plan: Plan, read: str) -> str:
    """One row: the number of read rows, then per landed column how many values did not fit."""
    counts = [f"count(*) FILTER ({MARKS} & {1 << i}::BIGINT <> 0)" for i in range(len(plan.landed))]
    return f"SELECT {', '.join(['count(*)', *counts])} FROM {read}"


def defects(plan: Plan, rows: int, counts: Sequence[int]) -> tuple[DefectCount, ...]:
    """The defects met in landing, none of them with 0 rows unless the table is empty.

    Args:
        plan: The plan.
        rows: Landed rows.
        counts: Per landed column how many values did not fit.
    """
    found: list[DefectCount] = []
    for (column, _), count in zip(plan.landed, counts, strict=True):
        if count:
            what = "blank identifier" if column.privacy == IDENTIFIER else _DEFECTS[column.dtype]
            found.append(defect(plan, f"{column.name}: {what}", count, rows, "corrected: set to null"))
    for name in plan.unknown:
        near = difflib.get_close_matches(name.lower(), plan.schema.names, n=1)
        hint = f" (is {near[0]} meant?)" if near else ""
        found.append(defect(plan, f"{name}: not a column of the data dictionary{hint}", rows, rows, "left out"))
    found += [defect(plan, f"{name}: a direct identifier", rows, rows, DROPPED) for name in plan.direct]
    found += [
        defect(plan, f"{name}: declared absent, and delivered all the same", rows, rows, "left out")
        for name in plan.withheld
    ]
    return tuple(found)


def defect(plan: Plan, what: str, count: int, rows: int, treatment: str) -> DefectCount:
    """One kind of defect of the plan's table."""
    return DefectCount(table=plan.schema.name, defect=what, rows=count, of_rows=rows, treatment=treatment)


def _fits(found: str, dtype: str) -> bool:
    """Whether every value of the found type is one of the canonical type as it is."""
    return found == dtype and dtype in ("VARCHAR", "VARCHAR[]", "INTEGER", "BOOLEAN")


def _list_sql(x: str) -> str:
    json, cast = f"TRY(from_json({x}, '[\"VARCHAR\"]'))", f"TRY_CAST({x} AS VARCHAR[])"
    parts = f"list_filter(list_transform(string_split({x}, ';'), lambda e: trim(e)), lambda e: e <> '')"
    # Without a quote both read the same, and the cast is forty times as fast.
    return (
        f"CASE WHEN NOT starts_with(ltrim({x}), '[') THEN {parts} "
        f"WHEN contains({x}, '\"') THEN coalesce({json}, {cast}) ELSE {cast} END"
    )


def _named(column: Column) -> str:
    return f'"{column.name}"'
