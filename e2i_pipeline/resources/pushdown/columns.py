"""How a column looks to Great Expectations' pandas engine, and the same view of it in SQL.

A float's NaN is a null; a time is one in UTC; text is compared by code points. What is written here for a kind of
column holds for both engines; whatever is not known to hold is refused (`NotPushed`), and goes to GX's own engine.
"""

import math
from collections.abc import Iterable
from datetime import MAXYEAR, UTC, datetime
from typing import Any, NamedTuple

from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.engine import literal, quoted, timestamp

TEXT = "text"
NUMBER = "number"
MOMENT = "moment"
TRUTH = "truth"
OTHER = "other"

EXACT = 2**53
"""Integers below it are the same number as integer and as float: pandas makes floats of integers beside a null."""

_FLOATS = ("FLOAT", "DOUBLE")
_WIDE = ("BIGINT", "UBIGINT")
_KINDS = {
    "VARCHAR": TEXT,
    "BOOLEAN": TRUTH,
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", *_WIDE, *_FLOATS), NUMBER),
    **dict.fromkeys(("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE"), MOMENT),
}


class NotPushed(E2IError):
    """DuckDB is not known to give the answer that Great Expectations' own engine gives."""


class Field(NamedTuple):
    """One column of a batch: its name, and its DuckDB type."""

    name: str
    dtype: str

    @property
    def kind(self) -> str:
        """`text`, `number`, `moment`, `truth` or `other`; of the last only nulls can be counted."""
        return _KINDS.get(self.dtype, OTHER)

    @property
    def is_float(self) -> bool:
        """Whether it may hold NaN and infinity."""
        return self.dtype in _FLOATS

    @property
    def is_wide(self) -> bool:
        """Whether it may hold an integer that no float is equal to."""
        return self.dtype in _WIDE

    @property
    def sql(self) -> str:
        """The column, in a query over `view`."""
        return quoted(self.name)

    @property
    def view(self) -> str:
        """The column as GX's pandas engine sees it, in a query over the batch."""
        if self.is_float:
            # neither isnan nor a comparison with NaN: where a file's statistics leave NaN out, as those of Arrow do,
            # DuckDB 2.0 takes either for false without a look at the values
            given = f"isfinite({self.sql}) OR isinf({self.sql})"
            return f"CASE WHEN {given} THEN CAST({self.sql} AS DOUBLE) END AS {self.sql}"
        if self.kind == MOMENT and self.dtype != "DATE":
            return f"CAST({self.sql} AS TIMESTAMP) AS {self.sql}"
        return self.sql


def number(value: Any) -> str:
    """A finite number as SQL.

    Raises:
        NotPushed: It is none, or an integer that no float is equal to.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NotPushed
    if abs(value) < EXACT and float(value).is_integer():
        return str(int(value))
    if isinstance(value, int):
        raise NotPushed
    return f"CAST('{value!r}' AS DOUBLE)"


def text(value: Any) -> str:
    """A text as SQL.

    Raises:
        NotPushed: It is none, or one that SQL cannot hold.
    """
    if not isinstance(value, str) or "\0" in value:
        raise NotPushed
    try:
        value.encode()
    except UnicodeEncodeError as err:  # half of a pair of surrogates
        raise NotPushed from err
    return literal(value)


def truth(value: Any) -> str:
    """True or false as SQL; to Python, and so to pandas, 1 and 0 are equal to them.

    Raises:
        NotPushed: It is neither.
    """
    if not isinstance(value, int | float) or value not in (0, 1):
        raise NotPushed
    return "TRUE" if value else "FALSE"


def moment(value: Any) -> datetime:
    """A moment with a zone; pandas compares its columns, which are in UTC, with no other.

    Raises:
        NotPushed: It is none, or one of a year that is not written with four digits.
    """
    if not isinstance(value, datetime) or value.tzinfo is None or not 1000 <= value.year < MAXYEAR:
        raise NotPushed
    return value.astimezone(UTC)


def compared(field: Field, operator: str, value: Any) -> str:
    """A comparison of a column with a constant; null where the column is.

    Args:
        field: The column.
        operator: `<`, `<=`, `>` or `>=`.
        value: The constant, of the column's kind.

    Raises:
        NotPushed: Column and constant are of different kinds, or of one that has no order.
    """
    if field.kind == NUMBER:
        return f"{field.sql} {operator} {number(value)}"
    if field.kind == MOMENT:
        return f"{field.sql} {operator} {timestamp(moment(value))}"
    raise NotPushed


_LITERALS = {TEXT: text, NUMBER: number, TRUTH: truth}


def listed(field: Field, values: Iterable[Any]) -> tuple[str, ...]:
    """The values of a set that a column's values can be equal to, as SQL; None among them is equal to nothing.

    Raises:
        NotPushed: A value is not of the column's kind.
    """
    if field.kind not in _LITERALS:
        raise NotPushed
    return tuple(dict.fromkeys(_LITERALS[field.kind](value) for value in values if value is not None))


def contained(field: Field, values: Iterable[Any]) -> str:
    """Whether a column's value is in a set; never false where the column is null.

    Raises:
        NotPushed: As `listed`.
    """
    sql = listed(field, values)
    return f"{field.sql} IN ({', '.join(sql)})" if sql else f"{field.sql} IS NULL"


def comparable(fields: Iterable[Field]) -> bool:
    """Whether columns are of one kind whose values can be told apart as pandas does."""
    kinds = {field.kind for field in fields}
    return len(kinds) == 1 and OTHER not in kinds


def exactness(fields: Iterable[Field]) -> tuple[str, ...]:
    """What must hold of columns so that their integers stay the same number as floats: aggregates that are true."""
    return tuple(
        f"coalesce(max(abs(CAST({f.sql} AS HUGEINT))) < {EXACT}, TRUE)" for f in dict.fromkeys(fields) if f.is_wide
    )
