"""A declared mapping as SQL: the rows of an input, whatever it is, as those of a canonical table. Pure, never run here.

An input is any relation with columns of its own names: files, a table of a database, an Arrow table. What a mapping can
say stands in `contracts/mapping.py`; whether it fits is held in `mapping_check.py`, what did not fit is counted by
`mapping_counts.py`. Expressions of the user's are embedded as they are: who calls has had them checked
(`domain/expressions.py`).
"""

from collections.abc import Collection, Mapping, Sequence

from e2i_pipeline.contracts.mapping import (
    MADE,
    MOST_ROWS,
    REPETITION,
    ROW,
    STEP,
    ColumnMapping,
    Order,
    TableMapping,
)
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.expressions import embedded
from e2i_pipeline.domain.landing import cast_sql

Used = Mapping[str, Sequence[str]]
"""The columns that an expression reads, by the expression's text, as its check found them."""

_INTERVALS = {"day": "to_days", "week": "to_weeks", "month": "to_months"}
_MOST_STEPS = 1_000_000  # beyond any date that landing takes, and within what the engine's dates can hold
_NUMBER = r"'\d+(?:\.\d+)?'"
_ZONED = r"'\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$'"


def expressions(mapping: TableMapping) -> dict[str, str]:
    """The user's own SQL in a mapping: expression by the key that holds it."""
    found = {f"columns.{name}.sql": column.sql for name, column in mapping.columns.items() if column.sql is not None}
    return found if mapping.where is None else {**found, "where": mapping.where}


def needed(mapping: TableMapping, used: Used) -> tuple[str, ...]:
    """The columns of the input that a mapping names, each once, without those that are made (`MADE`).

    Args:
        mapping: The mapping.
        used: What its expressions read.
    """
    return tuple(name for name in _named(mapping, used) if name not in MADE)


def reads_row_order(mapping: TableMapping, used: Used) -> bool:
    """Whether a mapping rests on the order in which the rows of its input stand."""
    ordered = [part for part in (mapping.order, mapping.one_row) if part is not None]
    return any(not part.by for part in ordered) or ROW in _named(mapping, used)


def passing(
    table: str, mapping: TableMapping, used: Used, found: Collection[str], covariates: Collection[str]
) -> tuple[str, ...]:
    """The columns of the input that go through under their own names.

    With `unlisted: keep` these are all that nothing in the mapping names, and named ones whose own name is canonical or
    a covariate's; with `drop` only a covariate's. A name that the mapping makes itself is never among them.

    Args:
        table: Canonical table.
        mapping: Its mapping.
        used: What its expressions read.
        found: The input's columns.
        covariates: Columns that configured covariates are made of.
    """
    outputs = {name.lower() for name in outputs_of(table, mapping)}
    own = set(covariates) if mapping.unlisted == "drop" else {*covariates, *TABLES[table].names}
    named = {name.lower() for name in needed(mapping, used)}
    return tuple(
        name
        for name in found
        if name.lower() not in outputs and (name in own or (mapping.unlisted == "keep" and name.lower() not in named))
    )


def outputs_of(table: str, mapping: TableMapping) -> tuple[str, ...]:
    """The columns that a mapping makes: those it names, and the one that its order dates."""
    dated = [mapping.order.to or TABLES[table].event_time] if mapping.order else []
    return (*mapping.columns, *dated)


def marked_sql(relation: str, found: Mapping[str, str], null_markers: Sequence[str]) -> str:
    """A relation in whose text columns the null markers are null.

    Args:
        relation: A SELECT statement.
        found: DuckDB type by column.
        null_markers: Texts that mean null.
    """
    texts = [_quoted(name) for name, dtype in found.items() if dtype == "VARCHAR"]
    if not texts or not null_markers:
        return relation
    markers = ", ".join(map(_literal, null_markers))
    replaced = ", ".join(f"CASE WHEN {name} NOT IN ({markers}) THEN {name} END AS {name}" for name in texts)
    return f"SELECT * REPLACE ({replaced}) FROM ({relation})"


def mapped_sql(
    table: str,
    mapping: TableMapping,
    found: Mapping[str, str],
    relation: str,
    used: Used,
    covariates: Collection[str] = (),
) -> str:
    """The canonical rows of an input: named columns as declared, the others as `passing` says; cast by landing.

    Args:
        table: Canonical table.
        mapping: Its mapping, which fits (`mapping_check.check_input`).
        found: The input's columns and their DuckDB types.
        relation: The input as a SELECT statement with these columns.
        used: The columns that each of the mapping's expressions reads.
        covariates: Columns that configured covariates are made of.

    Returns:
        A SELECT statement.
    """
    through = passing(table, mapping, used, list(found), covariates)
    rows = ordered_sql(table, mapping, found, relation, used, covariates)
    if mapping.where is not None:
        rows = f"SELECT * FROM ({rows}) WHERE {embedded(mapping.where)}"
    rows = _repeated(mapping, _one_of_several(mapping, rows))
    columns = [f"{column_sql(name, column, found)} AS {_quoted(name)}" for name, column in mapping.columns.items()]
    if mapping.order:
        columns.append(f"{_date_sql(mapping.order)} AS {_quoted(mapping.order.to or TABLES[table].event_time)}")
    columns += map(_quoted, through)
    return f"SELECT {'DISTINCT ' if mapping.key else ''}{', '.join(columns)} FROM ({rows})"


def ordered_sql(
    table: str,
    mapping: TableMapping,
    found: Mapping[str, str],
    relation: str,
    used: Used,
    covariates: Collection[str] = (),
) -> str:
    """The rows of an input before `where`: equal ones taken as one where a key is declared, with what order makes.

    Args:
        table: As for `mapped_sql`, like all others.
        mapping: Its mapping.
        found: The input's columns.
        relation: The input.
        used: What the expressions read.
        covariates: Columns of covariates.

    Returns:
        A SELECT statement, with `ROW` and `STEP` where the mapping needs them.
    """
    rows = f"SELECT *, row_number() OVER () AS {ROW} FROM ({relation})" if needs_row(mapping, used) else relation
    through = passing(table, mapping, used, list(found), covariates)
    rows = _deduplicated(mapping, used, through, rows)
    return f"SELECT *, {_rank_sql(mapping.order)} AS {STEP} FROM ({rows})" if mapping.order else rows


def needs_row(mapping: TableMapping, used: Used) -> bool:
    """Whether a mapping depends on the position of a row in its input."""
    is_by_position = mapping.order is not None and not mapping.order.by
    return is_by_position or mapping.one_row is not None or ROW in _named(mapping, used)


def column_sql(name: str, column: ColumnMapping, found: Mapping[str, str]) -> str:
    """The values of one canonical column, null where they cannot be read as declared."""
    source = source_sql(name, column, found)
    if column.missing is None:
        return read_sql(name, column, found)
    value, missing = read_sql(name, column, found), _constant(column.missing)
    if isinstance(column.missing, str):
        value = f"CAST({value} AS VARCHAR)"
    return f"CASE WHEN {source} IS NULL THEN {missing} ELSE {value} END"


def source_sql(name: str, column: ColumnMapping, found: Mapping[str, str]) -> str:
    """The values of the input that one canonical column is made of, as they are."""
    if column.sql is not None:
        return embedded(column.sql)
    if column.value is not None:
        return _constant(column.value)
    if column.join is not None:
        return f"({' || '.join(_separated([_text(_quoted(part), _type(part, found)) for part in column.join]))})"
    return _quoted(column.column or name)


def read_sql(name: str, column: ColumnMapping, found: Mapping[str, str]) -> str:
    """Likewise, read as declared: null for null, and for what does not fit."""
    source = source_sql(name, column, found)
    if column.format is not None or column.timezone is not None:
        return _time_sql(column, text_sql(name, column, found))
    if column.band is not None:
        return _band_sql(column.band, text_sql(name, column, found))
    if column.codes is not None:
        return _codes_sql(column, text_sql(name, column, found))
    if column.line is not None:
        scale, offset = column.line
        return f"(TRY_CAST({source} AS DOUBLE) * {scale!r} + {offset!r})"
    return source


def text_sql(name: str, column: ColumnMapping, found: Mapping[str, str]) -> str:
    """The values of the input that one canonical column is made of, as text: what `codes` and `format` look at."""
    is_plain = column.sql is None and column.join is None and column.value is None
    return _text(source_sql(name, column, found), _type(column.column or name, found) if is_plain else "")


def repetitions_sql(column: str) -> str:
    """How many rows are made of one by `repeat`: null where the number does not fit, and where there is none."""
    number = f"TRY_CAST({_quoted(column)} AS DOUBLE)"
    return (
        f"CASE WHEN {number} BETWEEN 0 AND {MOST_ROWS} AND {number} = trunc({number}) THEN CAST({number} AS BIGINT) END"
    )


def _named(mapping: TableMapping, used: Used) -> tuple[str, ...]:
    names: list[str] = []
    for name, column in mapping.columns.items():
        if column.join is not None:
            names += column.join
        elif column.sql is None and column.value is None:
            names.append(column.column or name)
    names += [name for sql in expressions(mapping).values() for name in used.get(sql, ())]
    names += [*mapping.order.within, *mapping.order.by] if mapping.order else []
    names += [*mapping.one_row.per, *mapping.one_row.by] if mapping.one_row else []
    names += [mapping.repeat] if mapping.repeat is not None else []
    return tuple(dict.fromkeys(names))


def _deduplicated(mapping: TableMapping, used: Used, through: Sequence[str], rows: str) -> str:
    """The rows, of which those that are equal in all that the mapping looks at are one, where a key is declared."""
    if not mapping.key:
        return rows
    folded = {name.lower(): name for name in (*needed(mapping, used), *through)}
    columns = ", ".join(map(_quoted, folded.values()))
    first = f", min({ROW}) AS {ROW}" if needs_row(mapping, used) else ""
    return f"SELECT {columns}{first} FROM ({rows}) GROUP BY {columns}"


def _one_of_several(mapping: TableMapping, rows: str) -> str:
    if mapping.one_row is None:
        return rows
    down = "DESC " if mapping.one_row.which == "last" else ""
    order = ", ".join([*_in_order(mapping.one_row.by, down), f"{ROW} {down}"])
    per = ", ".join(map(_quoted, mapping.one_row.per))
    return f"SELECT * FROM ({rows}) QUALIFY row_number() OVER (PARTITION BY {per} ORDER BY {order}) = 1"


def _rank_sql(order: Order) -> str:
    within = f"PARTITION BY {', '.join(map(_quoted, order.within))} " if order.within else ""
    if not order.by:
        return f"row_number() OVER ({within}ORDER BY {ROW})"
    return f"dense_rank() OVER ({within}ORDER BY {', '.join(_in_order(order.by, ''))})"


def _in_order(columns: Sequence[str], down: str) -> list[str]:
    """Sort keys that put numbers in the order of numbers, also where they are texts; nulls last."""
    keys: list[str] = []
    for name in map(_quoted, columns):
        keys += [f"TRY_CAST(CAST({name} AS VARCHAR) AS DOUBLE) {down}NULLS LAST", f"{name} {down}NULLS LAST"]
    return keys


def _date_sql(order: Order) -> str:
    steps = f"CAST(least(({STEP} - 1) // {order.rows}, {_MOST_STEPS}) AS INTEGER)"
    return f"CAST(DATE '{order.start.isoformat()}' + {_INTERVALS[order.every]}({steps}) AS DATE)"


def _repeated(mapping: TableMapping, rows: str) -> str:
    if mapping.repeat is None:
        return rows
    times = f"coalesce({repetitions_sql(mapping.repeat)}, 0)"
    return f"SELECT *, unnest(range(1, {times} + 1)) AS {REPETITION} FROM ({rows})"


def _time_sql(column: ColumnMapping, text: str) -> str:
    if column.format is not None:
        value = f"try_strptime({text}, [{', '.join(map(_literal, column.format))}])"
    else:
        value = f"TRY_CAST({text} AS TIMESTAMP)"
    if column.timezone is None:
        return value
    local = f"timezone({_literal(column.timezone)}, {value})"
    if column.format is not None:
        return local
    return f"CASE WHEN regexp_matches({text}, {_ZONED}) THEN TRY_CAST({text} AS TIMESTAMPTZ) ELSE {local} END"


def _band_sql(band: str, text: str) -> str:
    numbers = f"regexp_extract_all({text}, {_NUMBER})"
    low, high = f"CAST({numbers}[1] AS DOUBLE)", f"CAST({numbers}[-1] AS DOUBLE)"
    value = {"lower": low, "upper": high, "middle": f"floor(({low} + {high}) / 2)"}[band]
    return f"CASE WHEN len({numbers}) BETWEEN 1 AND 2 THEN {value} END"


def _codes_sql(column: ColumnMapping, text: str) -> str:
    cases = " ".join(f"WHEN {_literal(code)} THEN {_as_text(to)}" for code, to in (column.codes or {}).items())
    other = text if column.other == "keep" else _as_text(column.other)
    return f"CASE WHEN {text} IS NOT NULL THEN CASE {text} {cases} ELSE {other} END END"


def _text(expression: str, dtype: str) -> str:
    if dtype == "VARCHAR":
        return expression
    return cast_sql(expression, dtype, "VARCHAR") if dtype else f"CAST({expression} AS VARCHAR)"


def _type(name: str, found: Mapping[str, str]) -> str:
    return "BIGINT" if name in MADE else next((dtype for n, dtype in found.items() if n.lower() == name.lower()), "")


def _separated(parts: Sequence[str]) -> list[str]:
    return [each for part in parts for each in (part, "'-'")][:-1]


def _constant(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, (int, float)) else _literal(value)


def _as_text(value: object) -> str:
    """A value that stands for a code: all are texts, since one column may have numbers and texts; landing casts."""
    if value is None:
        return "NULL"
    return _literal(int(value) if isinstance(value, bool) else value)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
