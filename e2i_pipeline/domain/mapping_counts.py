"""What of an input did not fit its mapping: as SQL to count it, and the counts as defects or errors. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.mapping import MOST_ROWS, TableMapping
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain.expressions import embedded
from e2i_pipeline.domain.mapping import read_sql, repetitions_sql, source_sql, text_sql
from e2i_pipeline.errors import SourceError

_NULL = "corrected: set to null"
_CODES = 20  # codes that were never met, in a message


class Measure(NamedTuple):
    """One thing to count over the rows of an input.

    Attributes:
        what: `rows`, `kept`, `given`, `unfit`, `code` or `repeat`.
        column: The canonical column that it is about; empty for the table.
        detail: The code, for `code`.
        sql: An aggregate.
    """

    what: str
    column: str
    detail: str
    sql: str


def measures(mapping: TableMapping, found: Mapping[str, str]) -> tuple[Measure, ...]:
    """What is to be counted for a mapping; nothing where nothing can fail to fit.

    Args:
        mapping: The mapping.
        found: The input's columns and their DuckDB types.
    """
    counted = tuple(_measures(mapping, found))
    if not counted and mapping.where is None:
        return ()
    kept = "count(*)" if mapping.where is None else f"count(*) FILTER ({embedded(mapping.where)})"
    return (Measure("rows", "", "", "count(*)"), Measure("kept", "", "", kept), *counted)


def _measures(mapping: TableMapping, found: Mapping[str, str]) -> Iterator[Measure]:
    kept = "" if mapping.where is None else f"{embedded(mapping.where)} AND "
    for name, column in mapping.columns.items():
        source, value = source_sql(name, column, found), read_sql(name, column, found)
        if source == value:
            continue
        is_unfit = f"{value} IS NULL"
        if column.codes is not None:
            text = text_sql(name, column, found)
            for code in column.codes:
                yield Measure("code", name, code, f"count(*) FILTER ({kept}{text} = {_literal(code)})")
            listed = ", ".join(map(_literal, column.codes))
            is_unfit = "false" if column.other is not None else f"{text} NOT IN ({listed})"
        yield Measure("given", name, "", f"count(*) FILTER ({kept}{source} IS NOT NULL)")
        yield Measure("unfit", name, "", f"count(*) FILTER ({kept}{source} IS NOT NULL AND {is_unfit})")
    if mapping.repeat is not None:
        unfit = f"{repetitions_sql(mapping.repeat)} IS NULL"
        yield Measure("repeat", mapping.repeat, "", f"count(*) FILTER ({kept}{unfit})")


def counts_sql(counted: Sequence[Measure], relation: str) -> str:
    """One row: each measure's count over the rows of a relation, a SELECT statement."""
    return f"SELECT {', '.join(measure.sql for measure in counted)} FROM ({relation})"


def duplicates_sql(mapping: TableMapping, plain: str, deduplicated: str) -> str:
    """One row: the rows without regard to the key, those with regard to it, and the different keys.

    Args:
        mapping: The mapping; it declares a key.
        plain: The mapped rows as a SELECT statement, made as if no key were declared.
        deduplicated: The mapped rows.
    """
    key = ", ".join(f'"{name}"' for name in mapping.key)
    return f"SELECT (SELECT count(*) FROM ({plain})), count(*), count(DISTINCT row({key})) FROM ({deduplicated})"


def duplicates(table: str, mapping: TableMapping, plain: int, rows: int, keys: int) -> tuple[DefectCount, ...]:
    """The rows that stood more than once, and those that share a key and differ."""
    found: list[DefectCount] = []
    if plain > rows:
        what = "equal to another row throughout"
        found.append(_defect(table, what, plain - rows, plain, "left out: source.tables declares a key"))
    if rows > keys:
        what = f"the key ({', '.join(mapping.key)}) of another row that differs"
        found.append(_defect(table, what, rows - keys, rows, "kept: which of them holds is not ours to guess"))
    return tuple(found)


def defects(
    table: str, mapping: TableMapping, counted: Sequence[Measure], counts: Sequence[int]
) -> tuple[DefectCount, ...]:
    """The counts as defects.

    Args:
        table: Canonical table.
        mapping: Its mapping.
        counted: What was counted.
        counts: The counts, in the same order.

    Raises:
        SourceError: Nothing fitted where something was given: the mapping is wrong, and not the values.
    """
    if not counted:
        return ()
    rows, kept, *rest = counts
    if rows and not kept:
        raise SourceError(
            f"source.tables.{table}.where keeps none of the {rows} rows of its input. Mend the condition."
        )
    pairs = list(zip(counted[2:], rest, strict=True))
    given = {measure.column: count for measure, count in pairs if measure.what == "given"}
    found: list[DefectCount] = []
    for measure, count in pairs:
        if measure.what == "unfit":
            unmet = [m.detail for m, n in pairs if m.what == "code" and m.column == measure.column and not n]
            found += _unmet(table, mapping, measure.column, unmet, given[measure.column], kept)
            found += _unfit(table, mapping, measure.column, count, given[measure.column], kept)
        elif measure.what == "repeat" and count:
            what = f"{measure.column}: not a whole number from 0 to {MOST_ROWS:,}, so that no row is made of it"
            found.append(_defect(table, what, count, kept, "left out"))
    return tuple(found)


def _unmet(
    table: str, mapping: TableMapping, name: str, codes: Sequence[str], given: int, kept: int
) -> list[DefectCount]:
    """The codes that no row has; nothing where no value is given at all."""
    if not codes or not given:
        return []
    if len(codes) == len(mapping.columns[name].codes or {}):
        raise SourceError(
            f"source.tables.{table}.columns.{name}.codes: none of its {len(codes)} codes stands in any of the {given} "
            "values given. Codes are compared as written, with case. Mend them."
        )
    listed = ", ".join(codes[:_CODES]) + (f" and {len(codes) - _CODES} more" if len(codes) > _CODES else "")
    return [_defect(table, f"{name}: no row has the code {listed}", 0, kept, "kept: see that it is right")]


def _unfit(table: str, mapping: TableMapping, name: str, count: int, given: int, kept: int) -> list[DefectCount]:
    if not count:
        return []
    column = mapping.columns[name]
    what = "not a number"
    if column.codes is not None:
        what = f"none of its {len(column.codes)} codes"
    elif column.format is not None:
        what = f"not of the form {' or '.join(column.format)}"
    elif column.timezone is not None:
        what = "not a time"
    elif column.band is not None:
        what = "no band of one or two numbers"
    if count == given and column.codes is None:
        raise SourceError(
            f"source.tables.{table}.columns.{name}: none of the {given} values given could be read; each is {what}. "
            "Mend the mapping."
        )
    return [_defect(table, f"{name}: {what}", count, kept, _NULL)]


def _defect(table: str, what: str, rows: int, of_rows: int, treatment: str) -> DefectCount:
    return DefectCount(table=table, defect=what, rows=rows, of_rows=of_rows, treatment=treatment)


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
