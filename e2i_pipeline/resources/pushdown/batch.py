"""The rows and columns that an audit looks at, as SQL over the table's file: only what is needed, helpers computed.

Which columns are needed belongs in `audit_plans.py`, what is asked of them in `scan.py`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.resources.pushdown.columns import Field

if TYPE_CHECKING:
    import duckdb

_LOOKS_AROUND = re.compile(r"\b(?:OVER|SELECT)\b", re.IGNORECASE)


class Batch(NamedTuple):
    """The rows and columns that are audited.

    Attributes:
        table: The table in SQL, e.g. `read_parquet('...')`.
        fields: Its columns by name, in order; their types are empty until they are looked up.
        helpers: SQL of those that are computed.
        where: Which rows; empty for all. Helper columns see the others too.
    """

    table: str
    fields: Mapping[str, Field]
    helpers: Mapping[str, str]
    where: str = ""

    def select(self, names: Iterable[str], is_view: bool = False) -> str:
        """A SELECT statement of some columns, as they are or as GX's pandas engine sees them."""
        wanted = set(names)
        fields = [field for name, field in self.fields.items() if name in wanted]
        helpers = [f"({self.helpers[f.name]}) AS {f.sql}" for f in fields if f.name in self.helpers]
        inner = f"SELECT {', '.join(['*', *helpers])} FROM {self.table} AS audited"
        selected = ", ".join(f.view if is_view else f.sql for f in fields) or "1 AS row_marker"
        return f"SELECT {selected} FROM ({inner})" + (f" WHERE {self.where}" if self.where else "")

    def apart(self, names: Iterable[str]) -> frozenset[str]:
        """Those of some columns that look at other rows or tables: through a window, or a subquery."""
        return frozenset(name for name in names if _LOOKS_AROUND.search(self.helpers.get(name, "")))

    def having(self, name: str) -> "Batch":
        """The batch with one more column of the table."""
        return self._replace(fields={**self.fields, name: Field(name, "")})

    def typed(self, connection: "duckdb.DuckDBPyConnection") -> "Batch":
        """The batch with the types of its columns.

        Raises:
            duckdb.Error: The table cannot be read, or a helper's SQL is wrong.
        """
        described = connection.execute(f"DESCRIBE {self.select(self.fields)}").fetchall()
        types = {name: str(dtype) for name, dtype, *_ in described}
        return self._replace(fields={name: Field(name, types[name]) for name in self.fields})
