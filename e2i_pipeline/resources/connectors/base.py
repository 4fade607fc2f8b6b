"""What every kind of source must offer. The connectors beside this module implement it; `sources.py` lands the result.

A connector reads and maps; it does not cast, pseudonymize, hash, write or judge: landing does that once, for all kinds.
"""

from typing import TYPE_CHECKING, Protocol

from e2i_pipeline.contracts.references import DefectCount

if TYPE_CHECKING:
    import duckdb


class Connector(Protocol):
    """One kind of source."""

    def fingerprint(self, table: str) -> str:
        """Identifies the input behind a table without reading the data (sizes, times, settings).

        Raises:
            SourceError: The input is not there.
        """
        ...

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str | None:
        """The SELECT statement that yields a canonical table, with canonical column names and castable values.

        It may create temporary views in `connection`. Columns that the source cannot have are left out.

        Returns:
            The statement, or None where the input holds nothing for this table.

        Raises:
            SourceError: The input cannot be read as declared.
        """
        ...

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """The known kinds of defect in the input behind this table, each counted; called after `query`."""
        ...
