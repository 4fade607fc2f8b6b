"""What a source has said over time, kept where the source itself keeps only what holds now.

Each pull of an incremental source becomes one folder under `<state>/history/<table>/<source and key>/`, complete or not
at all, never changed, and never cleaned up: what a source has restated in place or deleted can be had from nowhere
else. The watermark stands in the same folder, so it moves with the rows or not at all: a pull that was killed is made
again. Rows are kept as landed, so identifiers are pseudonyms and direct ones are gone.
"""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.tables import DELETED
from e2i_pipeline.domain import history, privacy
from e2i_pipeline.domain.landing import Plan
from e2i_pipeline.resources.connectors.base import Connector
from e2i_pipeline.resources.engine import literal, timestamp
from e2i_pipeline.storage.scratch import scratch_folder

if TYPE_CHECKING:
    import duckdb

_PULL, _ROWS, _GONE = "pull.json", "rows.parquet", "gone.parquet"


class Pull(NamedTuple):
    """What one reading of a table has covered.

    Attributes:
        is_whole: Whether all of the table was read, and not only what is new.
        since: From which value of the watermark on (UTC, ISO); empty for all.
        watermark: Up to which value; empty where the table held none.
        at: When, by the source's clock (UTC, ISO).
        period: Number of the period that a reading of all is due once in; 0 where it never is.
        columns: The columns that were read.
    """

    is_whole: bool
    since: str
    watermark: str
    at: str
    period: int
    columns: tuple[str, ...]


class Position(NamedTuple):
    """How far the pulls that are kept have come.

    Attributes:
        pulls: How many there are.
        watermark: The furthest watermark; empty where there is none.
        period: Of the last reading of all.
        columns: That this one read.
    """

    pulls: int = 0
    watermark: str = ""
    period: int = 0
    columns: tuple[str, ...] = ()


class Incremental(Connector, Protocol):
    """A connector that can read what is new, and says in `pull` what its last `query` covers."""

    is_incremental: bool
    pull: Pull | None

    def resume(self, position: Position) -> None:
        """Says how far earlier pulls of the table that is asked for next have come."""
        ...

    def identity(self, table: str) -> str:
        """What a history of the table is one of."""
        ...


class Pulls(NamedTuple):
    """The pull that a connector makes of a table, and those before it."""

    connector: Incremental
    kept: "TableHistory"

    def add(self, connection: "duckdb.DuckDBPyConnection", plan: Plan, landed: str) -> str:
        """Keeps what the pull has brought, and gives all that is known since; see `TableHistory.add`."""
        if self.connector.pull is None:
            raise RuntimeError("what is kept was never asked for")
        return self.kept.add(connection, plan, landed, self.connector.pull)


def pulls_of(connector: Connector, state_dir: str, table: str, secret: bytes) -> Pulls | None:
    """The pulls of a table, which its connector then resumes; None for a connector that always reads all.

    Args:
        connector: The connector.
        state_dir: The state folder.
        table: Canonical table.
        secret: Key of the pseudonyms: under another one nothing that was kept would match.
    """
    if not getattr(connector, "is_incremental", False):
        return None
    incremental = cast("Incremental", connector)
    folder = content_key(incremental.identity(table), privacy.key_id(secret))
    kept = TableHistory(Path(state_dir) / "history" / table / folder)
    incremental.resume(kept.position())
    return Pulls(incremental, kept)


class TableHistory:
    """The pulls of one table.

    Args:
        folder: Their folder; made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def position(self) -> Position:
        """How far the pulls have come."""
        pulls = [self._read(number) for number in range(1, self._count() + 1)]
        whole = [pull for pull in pulls if pull.is_whole]
        last = whole[-1] if whole else None
        furthest = max((pull.watermark for pull in pulls), default="")
        return Position(len(pulls), furthest, last.period if last else 0, last.columns if last else ())

    def add(self, connection: "duckdb.DuckDBPyConnection", plan: Plan, landed: str, pull: Pull) -> str:
        """Keeps what a pull has brought, and gives all that is known since.

        Args:
            connection: A connection of the engine.
            plan: What is landed of the table.
            landed: Relation with the landed rows of the pull, with `DELETED` and `DELETED_AT`.
            pull: What it has covered.

        Returns:
            Relation of the same columns: every version of every row that any pull has brought. Of rows with the same
            key and the same known-at time those of the latest pull that brought any count. `DELETED_AT` is set too
            where a later pull of all no longer found the key.

        Raises:
            OSError: It cannot be written.
            duckdb.Error: Likewise, or memory did not suffice.
        """
        count = self._count()
        connection.execute(f"CREATE TEMP TABLE {history.PULLED} AS {history.pulled_sql(plan, landed)}")
        known = self._stored(plan, count)
        with scratch_folder(self._folder) as scratch:
            rows, gone = scratch / _ROWS, scratch / _GONE
            changed = history.changed_sql(plan, known) if count else f"SELECT * FROM {history.PULLED}"
            self._write(connection, changed, count + 1, rows)
            missing = (
                history.missing_sql(plan, known, timestamp(datetime.fromisoformat(pull.at)))
                if count and pull.is_whole
                else ""
            )
            self._write(connection, missing or history.nobody_sql(), count + 1, gone)
            if not self._is_news(connection, pull, rows, gone):
                return f"({history.all_versions_sql(plan, known)})"
            (scratch / _PULL).write_text(json.dumps(pull._asdict(), indent=2) + "\n", encoding="utf-8")
            for path in (rows, gone, scratch / _PULL, scratch):
                _to_disk(path)
            os.rename(scratch, self._named(count + 1))  # noqa: PTH104 - Path.rename moves into an existing folder
        _to_disk(self._folder)
        return f"({history.all_versions_sql(plan, self._stored(plan, count + 1))})"

    def _write(self, connection: "duckdb.DuckDBPyConnection", query: str, number: int, path: Path) -> None:
        connection.execute(
            f"COPY (SELECT *, {number}::INTEGER AS {history.NUMBER} FROM ({query})) TO {literal(path)} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )

    def _is_news(self, connection: "duckdb.DuckDBPyConnection", pull: Pull, *files: Path) -> bool:
        """Whether a pull brought anything, or came further than those before it."""
        counts = " + ".join(f"(SELECT count(*) FROM read_parquet({literal(file)}))" for file in files)
        (found,) = connection.execute(f"SELECT {counts}").fetchone() or (0,)
        before = self.position()
        is_further = pull.watermark > before.watermark or pull.period > before.period
        return bool(found or is_further or not before.pulls or set(pull.columns) != set(before.columns))

    def _stored(self, plan: Plan, count: int) -> history.Stored:
        folders = [self._named(number) for number in range(1, count + 1)]
        listed = [", ".join(literal(folder / name) for folder in folders) for name in (_ROWS, _GONE)]
        files = [f"SELECT * FROM read_parquet([{names}], union_by_name = true)" if names else "" for names in listed]
        return history.stored(plan, *files)

    def _count(self) -> int:
        """Pulls are numbered without a gap, since each is added under the table's lock."""
        return sum(1 for path in self._folder.glob("[0-9]*") if path.is_dir()) if self._folder.is_dir() else 0

    def _read(self, number: int) -> Pull:
        stored = json.loads((self._named(number) / _PULL).read_text(encoding="utf-8"))
        return Pull(**{**stored, "columns": tuple(stored["columns"])})

    def _named(self, number: int) -> Path:
        return self._folder / f"{number:06d}"


def with_deletions(plan: Plan) -> Plan:
    """The plan of a table whose rows may be deleted, whether or not a column of the source says so."""
    return plan._replace(is_restated=True, tombstone=plan.tombstone or (DELETED, "BOOLEAN"))


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
