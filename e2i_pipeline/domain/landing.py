"""How a source's rows become canonical ones: which columns, cast how, pseudonymized, known when. SQL text, never run.

A value that does not fit its type becomes null and is counted; nothing else is judged here, that is the gate's work.
Column names in the SQL are canonical ones only, so nothing that a source says becomes SQL text.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.cohort import Absences, KnownAt
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import (
    BASELINE_KNOWN_AT,
    DIRECT,
    IDENTIFIER,
    KNOWN_AT,
    PATIENT_JOURNEYS,
    TABLES,
    Column,
    TableSchema,
)
from e2i_pipeline.domain.privacy import direct_kind, pseudonym_sql
from e2i_pipeline.errors import ConfigurationError

MARKS = "e2i_marks"
"""Column of the landed rows: bit i is set where the i-th landed column held a value that did not fit."""

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
    """

    schema: TableSchema
    landed: tuple[tuple[Column, str], ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    direct: tuple[str, ...]
    withheld: tuple[str, ...]

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


def plan(schema: TableSchema, found: Mapping[str, str], absent: Collection[str]) -> Plan:
    """Decides what to land.

    Args:
        schema: The canonical table.
        found: Delivered columns and their DuckDB types.
        absent: Columns that the source declares it cannot have.

    Returns:
        The plan; a direct identifier is in no part of it.
    """
    wanted = [c for c in schema.columns if c.name in found and c.privacy != DIRECT]
    named = {c.name: c.privacy == DIRECT for c in schema.columns}
    direct = tuple(name for name in found if named.get(name, bool(direct_kind(name))))
    return Plan(
        schema=schema,
        landed=tuple((c, found[c.name]) for c in wanted if c.name not in absent),
        missing=tuple(name for name in schema.required if name not in found),
        unknown=tuple(name for name in found if name not in schema.names and name not in direct),
        direct=direct,
        withheld=tuple(c.name for c in wanted if c.name in absent),
    )


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


def landing_sql(plan: Plan, query: str) -> str:
    """The canonical rows of a source's query: cast, pseudonymized, without direct identifiers, with `MARKS`.

    It reads the pads of the pseudonym key from the table `privacy.PADS`.
    """
    raw: list[str] = []
    final: list[str] = []
    marks = ["0::BIGINT"]
    for i, (column, found) in enumerate(plan.landed):
        raw += [f'"{column.name}" AS r{i}', f"{cast_sql(_named(column), found, column.dtype)} AS c{i}"]
        value, is_bad = f"c{i}", f"r{i} IS NOT NULL AND c{i} IS NULL"
        if column.privacy == IDENTIFIER:
            value = pseudonym_sql(value, column.namespace)
            is_bad = f"r{i} IS NOT NULL AND coalesce(trim(c{i}, ' '), '') = ''"
        elif _fits(found, column.dtype):
            is_bad = "false"
        final.append(f'{value} AS "{column.name}"')
        marks.append(f"CASE WHEN {is_bad} THEN {1 << i}::BIGINT ELSE 0 END")
    return f"SELECT {', '.join(final)}, {' | '.join(marks)} AS {MARKS} FROM (SELECT {', '.join(raw)} FROM ({query}))"


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
        is_text = found in ("VARCHAR", "BOOLEAN")
        return f"coalesce(TRY_CAST({x} AS BOOLEAN), {number})" if is_text else number
    instant = (
        f"TRY_CAST({x} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'" if found == "VARCHAR" else f"TRY_CAST({x} AS TIMESTAMP)"
    )
    value = instant if dtype == "TIMESTAMP" else f"TRY_CAST({x} AS DATE)"
    return f"CASE WHEN year({value}) BETWEEN {_YEARS[0]} AND {_YEARS[1]} THEN {value} END"


def defects_sql(plan: Plan, landed: str) -> str:
    """One row: the number of landed rows, then per landed column how many did not fit."""
    counts = [f"count(*) FILTER ({MARKS} & {1 << i}::BIGINT <> 0)" for i in range(len(plan.landed))]
    return f"SELECT {', '.join(['count(*)', *counts])} FROM {landed}"


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
            found.append(_defect(plan, f"{column.name}: {what}", count, rows, "corrected: set to null"))
    for name in plan.unknown:
        near = difflib.get_close_matches(name.lower(), plan.schema.names, n=1)
        hint = f" (is {near[0]} meant?)" if near else ""
        found.append(_defect(plan, f"{name}: not a column of the data dictionary{hint}", rows, rows, "left out"))
    found += [_defect(plan, f"{name}: a direct identifier", rows, rows, DROPPED) for name in plan.direct]
    found += [
        _defect(plan, f"{name}: declared absent, and delivered all the same", rows, rows, "left out")
        for name in plan.withheld
    ]
    return tuple(found)


def _defect(plan: Plan, what: str, count: int, rows: int, treatment: str) -> DefectCount:
    return DefectCount(table=plan.schema.name, defect=what, rows=count, of_rows=rows, treatment=treatment)


def known_sql(plan: Plan, known_at: KnownAt, landed: str) -> str:
    """The landed rows with their known-at times, without the marks: the staged table.

    A time is missing only where both the known-at column and the event time are.
    """
    columns = [f'"{column.name}"' for column, _ in plan.landed]
    selected = f"SELECT {', '.join(columns)}, {_known_at_sql(plan, known_at)} AS {KNOWN_AT} FROM {landed}"
    if not plan.has("journey_start_date") or plan.schema.name != PATIENT_JOURNEYS.name:
        return selected
    baseline = f"min({KNOWN_AT}) OVER (PARTITION BY patient_journey_id)"
    if known_at.baseline_lag_days is not None:
        baseline = _after("journey_start_date", known_at.baseline_lag_days)
    return f"SELECT *, {baseline} AS {BASELINE_KNOWN_AT} FROM ({selected})"


def known_at_defects_sql(plan: Plan, known_at: KnownAt, landed: str) -> str:
    """One row: how many rows lack their observed known-at time, and how many have no time at all."""
    observed = f'"{plan.schema.known_at}" IS NULL' if plan.has(plan.schema.known_at) else "true"
    lacking = f"count(*) FILTER ({observed})" if known_at.kind == "observed" else "0"
    return f"SELECT {lacking}, count(*) FILTER ({_known_at_sql(plan, known_at)} IS NULL) FROM {landed}"


def known_at_defects(plan: Plan, known_at: KnownAt, rows: int, lacking: int, timeless: int) -> tuple[DefectCount, ...]:
    """The defects of the known-at times.

    Args:
        plan: The plan.
        known_at: When a row became known.
        rows: Landed rows.
        lacking: Rows that lack their observed known-at time.
        timeless: Rows with no time at all.
    """
    found: list[DefectCount] = []
    if lacking > timeless:
        what = f"{plan.schema.known_at}: no known-at time"
        how = f"corrected: {plan.schema.event_time} plus {known_at.days} days"
        found.append(_defect(plan, what, lacking - timeless, rows, how))
    if timeless:
        what = f"neither {plan.schema.known_at} nor {plan.schema.event_time}: known at no time"
        if plan.schema.known_at == plan.schema.event_time:
            what = f"no {plan.schema.event_time}: known at no time"
        found.append(_defect(plan, what, timeless, rows, "kept, and seen by no point-in-time feature"))
    return tuple(found)


def _known_at_sql(plan: Plan, known_at: KnownAt) -> str:
    name, event = plan.schema.known_at, plan.schema.event_time
    from_event = _after(event, known_at.days) if plan.has(event) else "NULL::TIMESTAMP"
    return f'coalesce("{name}", {from_event})' if known_at.kind == "observed" and plan.has(name) else from_event


def _after(column: str, days: int) -> str:
    return f'(CAST("{column}" AS TIMESTAMP) + to_days({days}))'


def _fits(found: str, dtype: str) -> bool:
    """Whether every value of the found type is one of the canonical type as it is."""
    return found == dtype and dtype in ("VARCHAR", "VARCHAR[]", "INTEGER", "BOOLEAN")


def _list_sql(x: str) -> str:
    array = f"coalesce(TRY(from_json({x}, '[\"VARCHAR\"]')), TRY_CAST({x} AS VARCHAR[]))"
    parts = f"list_filter(list_transform(string_split({x}, ';'), lambda e: trim(e)), lambda e: e <> '')"
    return f"CASE WHEN starts_with(ltrim({x}), '[') THEN {array} ELSE {parts} END"


def _named(column: Column) -> str:
    return f'"{column.name}"'
