"""What is new in a PostgreSQL table: since the watermark of earlier pulls, less an overlap; or all of it, when due.

A transaction commits after it began, so a row may come with a time that lies behind what was read already; hence the
overlap. What comes later still, what was corrected without a new time and what was deleted without a trace only shows
when all is read. When that is due is told by the server's clock, in periods counted from 1970.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.connectors.postgres_catalog import Column
from e2i_pipeline.resources.engine import literal, quoted
from e2i_pipeline.resources.history import Position, Pull

CLOCK = "now()"
"""The server's clock, as SQL: when the transaction began."""

_DAY = 86_400
_TIMES = {"date": "date", "timestamp": "timestamp", "timestamptz": "timestamptz"}


class Increments(NamedTuple):
    """How a table is pulled.

    Attributes:
        watermark: Per canonical table the column whose values only grow; by default its known-at column.
        overlap_hours: How far behind the watermark is read again.
        reconcile_every_days: How often all is read; 0: never again.
    """

    watermark: Mapping[str, str]
    overlap_hours: float
    reconcile_every_days: int

    def period(self, cursor: Any) -> int:
        """Number of the present period, in each of which all is read once."""
        if not self.reconcile_every_days:
            return 0
        cursor.execute(f"SELECT floor(extract(epoch FROM {CLOCK}) / {_DAY * self.reconcile_every_days})::bigint")
        return cursor.fetchone()[0]

    def next(
        self,
        cursor: Any,
        table: str,
        relation: str,
        found: Sequence[Column],
        tombstone: str,
        read: tuple[str, ...],
        position: Position,
    ) -> tuple[Pull, str]:
        """What the next pull covers, and the condition on it, with its WHERE; empty for all.

        Args:
            cursor: The transaction that it is read in.
            table: Canonical table.
            relation: The table in the database, as SQL.
            found: Its columns.
            tombstone: The column that says that a row is deleted; one that is a time moves the watermark too.
            read: The columns that are read.
            position: How far earlier pulls have come.

        Raises:
            ConfigurationError: The watermark is no column of the table, or no time.
        """
        times = self._times(table, found, tombstone)
        period = self.period(cursor)
        latest = ", ".join(f"max({_instant(name, kind)})" for name, kind in times.items())
        # No later than the clock: one absurd time must not keep all that comes after it from being read.
        cursor.execute(
            f"SELECT CASE WHEN latest IS NOT NULL THEN least(latest, at) END::text, at::text FROM (SELECT "
            f"greatest({latest}) AS latest, ({CLOCK}) AT TIME ZONE 'UTC' AS at FROM {relation}) AS read"
        )
        watermark, at = cursor.fetchone()
        is_whole = not position.watermark or position.period < period or set(position.columns) != set(read)
        since = "" if is_whole else position.watermark
        return Pull(is_whole, since, watermark or "", at, period, read), self._condition(times, since)

    def _times(self, table: str, found: Sequence[Column], tombstone: str) -> dict[str, str]:
        """The columns that move the watermark, with the kind of time of each; the watermark itself first."""
        kinds = {column.name: _TIMES.get(column.type, "") for column in found}
        name = self.watermark.get(table, TABLES[table].known_at)
        if not kinds.get(name):
            what = "is no date or timestamp" if name in kinds else "is not a column of it"
            raise ConfigurationError(
                f"source.postgres.mode is incremental, and {name}, the watermark of {table}, {what}. Name a column "
                f"whose values only grow in source.postgres.watermark.{table}, or set the mode to snapshot."
            )
        return {each: kinds[each] for each in (name, tombstone) if kinds.get(each)}

    def _condition(self, times: Mapping[str, str], since: str) -> str:
        if not since:
            return ""
        name = next(iter(times))
        begin = f"timestamp {literal(since)} - interval '{int(self.overlap_hours * 3600)} seconds'"
        # The column stands alone on its side, so that an index on it serves. A row without a time is always read.
        later = [f"{quoted(each)} >= {_native(begin, kind)}" for each, kind in times.items()]
        return f" WHERE {' OR '.join(later)} OR {quoted(name)} IS NULL"


def _instant(name: str, kind: str) -> str:
    return f"{quoted(name)} AT TIME ZONE 'UTC'" if kind == "timestamptz" else f"{quoted(name)}::timestamp"


def _native(instant: str, kind: str) -> str:
    return f"(({instant}) AT TIME ZONE 'UTC')" if kind == "timestamptz" else f"({instant})::{kind}"
