"""Arrow columns from drawn numbers: words, ids, days, instants and lists, all without a Python loop over rows.

What the numbers mean belongs to the modules that draw them.
"""

# pyarrow ships no types, so what comes out of it is unknown to the type checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.tables import TableSchema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

DAY_US = 86_400_000_000
"""Microseconds of a day."""

_ARROW_TYPES = {
    "VARCHAR": "string",
    "DATE": "date32",
    "INTEGER": "int32",
    "DOUBLE": "float64",
    "BOOLEAN": "bool_",
}


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def words(choices: Sequence[str], index: "np.ndarray", missing: "np.ndarray | None" = None) -> "pa.Array":
    """The words that `index` (n,) picks from `choices`, dictionary-encoded; null where `missing` (n,) holds."""
    import numpy as np
    import pyarrow as pa

    kind = np.int8 if len(choices) < 128 else np.int32
    return picked(pa.array(list(choices), pa.string()), index.astype(kind), missing)


def picked(choices: "pa.Array", index: "np.ndarray", missing: "np.ndarray | None" = None) -> "pa.Array":
    """The elements that `index` (n,) picks from `choices`, dictionary-encoded; null where `missing` (n,) holds.

    Each value is written down once, however often it is picked: that is most of what a large table would cost. The
    choices are distinct: Parquet spells the values out where they are not.
    """
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(index, mask=missing), choices)


def numbered(prefix: str, numbers: "np.ndarray", width: int = 7, missing: "np.ndarray | None" = None) -> "pa.Array":
    """Ids such as `Kisqali-P0000012`; null where `missing` holds.

    Args:
        prefix: ASCII.
        numbers: Shape (n,), 0 or more.
        width: Digits, at most 9; as many as the largest number has.
        missing: Shape (n,); True makes a null.

    Raises:
        ValueError: A number has more digits.
    """
    import numpy as np
    import pyarrow as pa

    if len(numbers) and int(numbers.max()) >= 10**width:
        raise ValueError(f"{prefix}: a number has more than {width} digits")
    start, length = len(prefix), len(prefix) + width
    text = np.empty((len(numbers), length), np.uint8)
    text[:, :start] = np.frombuffer(prefix.encode("ascii"), np.uint8)
    rest = numbers.astype(np.uint32)
    for place in range(length - 1, start - 1, -1):
        above = rest // 10
        text[:, place] = rest - above * 10 + ord("0")
        rest = above
    offsets = np.arange(0, (len(numbers) + 1) * length, length, dtype=np.int32)
    given = None if missing is None else pa.array(~missing).buffers()[1]
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text), given)


def measured(before: str, numbers: "np.ndarray", after: str) -> "pa.Array":
    """Texts with a number in each, e.g. `{"ige": 71.5}`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.call_function("binary_join_element_wise", [before, pa.array(numbers).cast(pa.string()), after, ""])


def typed(values: "np.ndarray", dtype: str, missing: "np.ndarray | None" = None) -> "pa.Array":
    """Numbers as a canonical type: days since 1970 for DATE, microseconds since 1970 (UTC) for TIMESTAMP.

    Args:
        values: Shape (n,).
        dtype: DuckDB type of the canonical column.
        missing: Shape (n,); True makes a null.
    """
    import numpy as np
    import pyarrow as pa

    if dtype == "TIMESTAMP":
        return pa.array(values.astype("datetime64[us]"), pa.timestamp("us"), mask=missing)
    if dtype == "DATE":
        return pa.array(values.astype("datetime64[D]"), pa.date32(), mask=missing)
    numbers = values.astype(np.int32) if dtype == "INTEGER" else values
    return pa.array(numbers, getattr(pa, _ARROW_TYPES[dtype])(), mask=missing)


def lists(flat: "pa.Array", lengths: "np.ndarray", missing: "np.ndarray | None" = None) -> "pa.Array":
    """Lists cut from `flat` one after another.

    Args:
        flat: All elements, dictionary-encoded; as many as `lengths` sums to.
        lengths: Elements per row, shape (n,); 0 where `missing` holds.
        missing: Shape (n,); True makes a null in place of an empty list.
    """
    import numpy as np
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    mask = None if missing is None else pa.array(missing)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=mask)


def table(schema: TableSchema, columns: dict[str, Any]) -> "pa.Table":
    """A table of this schema, its columns in its order; texts may be dictionary-encoded (see `plain`).

    Args:
        schema: The canonical table, possibly with further columns.
        columns: Arrow arrays, or NumPy arrays of numbers, by name; every column of the schema.
    """
    import pyarrow as pa

    arrays = [
        values if isinstance(values := columns[c.name], pa.Array) else typed(values, c.dtype) for c in schema.columns
    ]
    return pa.table(arrays, names=list(schema.names))


def plain(found: "pa.Table") -> "pa.Table":
    """The table with its texts spelt out in each row."""
    import pyarrow as pa

    kinds = {pa.types.is_dictionary: pa.string(), pa.types.is_list: pa.list_(pa.string())}
    fields = [f.with_type(next((kind for is_it, kind in kinds.items() if is_it(f.type)), f.type)) for f in found.schema]
    return found.cast(pa.schema(fields))


def at(values: Any, index: "np.ndarray | None") -> Any:
    """The elements at `index` of an Arrow or NumPy array; all as they are where it is None."""
    if index is None:
        return values
    return values[index] if hasattr(values, "dtype") else values.take(index)


def score(rng: "np.random.Generator", a: float, b: float, rows: int) -> "np.ndarray":
    """Scores (n,), 0..1, three decimals, from a beta distribution."""
    import numpy as np

    return np.round(rng.beta(a, b, rows), 3)


def some(rng: "np.random.Generator", rows: int, share: float) -> "np.ndarray":
    """A mask (n,) that holds for a random `share` (0..1) of the rows."""
    import numpy as np

    return rng.random(rows, np.float32) < share


def cut(rng: "np.random.Generator", rows: int, shares: Sequence[float]) -> "np.ndarray":
    """Category numbers (n,), int8, drawn with the given `shares`, which sum to 1."""
    import numpy as np

    drawn = rng.random(rows, np.float32)
    category = np.zeros(rows, np.int8)
    for bound in np.cumsum(shares)[:-1].astype(np.float32):  # a handful: faster than a search in each row
        category += drawn >= bound
    return category


def days(rng: "np.random.Generator", first: int, last: int, rows: int, seasonality: float = 0.0) -> "np.ndarray":
    """Days (n,) since 1970 from `first` to `last`, both included.

    Args:
        rng: Stream of random numbers.
        first: Days since 1970.
        last: Days since 1970.
        rows: How many.
        seasonality: 0: every day alike. Above, a day's share is proportional to 1 + seasonality * `season`.
    """
    import numpy as np

    if not seasonality:
        return rng.integers(first, last + 1, rows)
    shares = np.cumsum(1 + seasonality * season(np.arange(first, last + 1)))
    return first + np.searchsorted(shares / shares[-1], rng.random(rows), side="right").clip(0, last - first)


def season(day: "np.ndarray") -> "np.ndarray":
    """Where in the year a day (days since 1970) lies: 1 in the middle of January, -1 in that of July."""
    import numpy as np

    return np.cos(2 * np.pi * (day - 14) / 365.25)
