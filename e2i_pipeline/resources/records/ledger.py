"""The ledger: appended to one after another, read and checked as a whole."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.records.base import Records, Row

if TYPE_CHECKING:
    from e2i_pipeline.metadata.ledger import LedgerFinding, LedgerHead

_TURN = 0x653269_02  # number of the lock that makes writers of the ledger wait for each other on PostgreSQL


class LedgerRecords(Records):
    """`ml_ledger`."""

    def append_ledger(
        self,
        kind: str,
        subject: str,
        actor: str,
        reason: str,
        payload: Mapping[str, Any],
        at: datetime,
        run_id: str = "",
    ) -> "LedgerHead":
        """Appends a decision to the ledger. It cannot be changed or taken back; a correction is a further entry.

        Args:
            kind: What was decided, e.g. `override`.
            subject: About what.
            actor: Who decided.
            reason: Why.
            payload: Figures and hashes that belong to it.
            at: When; must carry a time zone.
            run_id: Dagster run.

        Returns:
            The new head, to be noted outside the database.

        Raises:
            ToolRejected: Kind, subject, actor or reason is empty, or the payload is not JSON.
        """
        import sqlalchemy as sa

        from e2i_pipeline.metadata.ledger import LedgerEntry, LedgerHead, entry_hash
        from e2i_pipeline.metadata.values import plain

        said = {"kind": kind, "subject": subject, "actor": actor, "reason": reason}
        if empty := [name for name, text in said.items() if not text.strip()]:
            raise ToolRejected(
                f"A ledger entry needs a {' and a '.join(empty)}: nothing was recorded. Say it, then retry."
            )
        with self._database().write(turn=_TURN) as connection:
            row: Row = {**said, "payload": plain(payload), "at": at, "dagster_run_id": run_id}
            head = _ledger_head(connection)
            row.update(sequence=head.sequence + 1, prev_hash=head.hash)
            row["hash"] = entry_hash(row)
            connection.execute(sa.insert(LedgerEntry).values(**row))
        return LedgerHead(row["sequence"], row["hash"])

    def ledger_head(self) -> "LedgerHead":
        """The end of the ledger."""
        with self._database().read() as connection:
            return _ledger_head(connection)

    def ledger(self) -> list[Row]:
        """All entries, in order."""
        from e2i_pipeline.metadata.ledger import LedgerEntry

        return sorted(self._find(LedgerEntry), key=lambda row: row["sequence"])

    def verify_ledger(self, anchor: "LedgerHead | None" = None) -> "list[LedgerFinding]":
        """Checks the whole ledger: see `chain_findings` for what an anchor adds.

        Returns:
            Every break of the chain; nothing where it holds.
        """
        from e2i_pipeline.metadata.ledger import chain_findings

        return chain_findings(self.ledger(), anchor)


def _ledger_head(connection: Any) -> "LedgerHead":
    from e2i_pipeline.metadata.base import table_of
    from e2i_pipeline.metadata.ledger import GENESIS, LedgerEntry, LedgerHead

    last = table_of(LedgerEntry).select().order_by(LedgerEntry.sequence.desc()).limit(1)
    row = connection.execute(last).mappings().first()
    return LedgerHead(row["sequence"], row["hash"]) if row else LedgerHead(0, GENESIS)
