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
    """The words that `index` (n,) picks from `choices`; null where `missing` (n,) holds."""
    import pyarrow as pa

    return pa.array(list(choices), pa.string()).take(pa.array(index, mask=missing))


def numbered(prefix: str, numbers: "np.ndarray", width: int = 7, missing: "np.ndarray | None" = None) -> "pa.Array":
    """Ids such as `Kisqali-P0000012`; null where `missing` holds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    options = pc.PadOptions(width, "0")
    digits = pc.call_function("utf8_lpad", [pa.array(numbers, mask=missing).cast(pa.string())], options)
    return joined(prefix, digits)


def joined(*parts: "str | pa.Array") -> "pa.Array":
    """Texts put together row by row; null where one of them is."""
    import pyarrow.compute as pc

    return pc.call_function("binary_join_element_wise", [*parts, ""])


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
        flat: All elements; as many as `lengths` sums to.
        lengths: Elements per row, shape (n,); 0 where `missing` holds.
        missing: Shape (n,); True makes a null in place of an empty list.
    """
    import numpy as np
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    mask = None if missing is None else pa.array(missing)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=mask)


def table(schema: TableSchema, columns: dict[str, Any]) -> "pa.Table":
    """A canonical table, its columns in canonical order.

    Args:
        schema: The canonical table.
        columns: Arrow arrays, or NumPy arrays of numbers, by canonical name; every column of the schema.
    """
    import pyarrow as pa

    arrays = [
        values if isinstance(values := columns[c.name], pa.Array) else typed(values, c.dtype) for c in schema.columns
    ]
    return pa.table(arrays, names=list(schema.names))


def nothing(rows: int, dtype: str = "VARCHAR") -> "pa.Array":
    """A column of nulls."""
    import pyarrow as pa

    kind = pa.list_(pa.string()) if dtype.endswith("[]") else getattr(pa, _ARROW_TYPES[dtype])()
    return pa.nulls(rows, kind)


def some(rng: "np.random.Generator", rows: int, share: float) -> "np.ndarray":
    """A mask (n,) that holds for a random `share` (0..1) of the rows."""
    return rng.random(rows) < share


def cut(rng: "np.random.Generator", rows: int, shares: Sequence[float]) -> "np.ndarray":
    """Category numbers (n,) drawn with the given `shares`, which sum to 1."""
    import numpy as np

    return np.minimum(np.searchsorted(np.cumsum(shares), rng.random(rows), side="right"), len(shares) - 1)
