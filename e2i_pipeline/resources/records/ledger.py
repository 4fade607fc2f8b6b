"""The ledger: appended to one after another, anchored outside the database, read and checked as a whole."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.ledger_anchor import FileAnchor
from e2i_pipeline.resources.records.base import Records, Row

if TYPE_CHECKING:
    from e2i_pipeline.metadata.ledger import LedgerFinding, LedgerHead

LEDGER_TURN = 0x653269_02
"""Number of the lock that makes writers of the ledger wait for each other on PostgreSQL."""


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
            payload: Figures and hashes that belong to it; `key` is the digest of the verdict key that it is about.
            at: When; must carry a time zone.
            run_id: Dagster run.

        Returns:
            The new head, which is noted in the anchor file too.

        Raises:
            ToolRejected: Kind, subject, actor or reason is empty, or the payload is not JSON.
        """
        with self._database().write(turn=LEDGER_TURN) as connection:
            head = append_entry(connection, kind, subject, actor, reason, payload, at, run_id)
        self.anchor_ledger()
        return head

    def anchor_ledger(self) -> None:
        """Notes the ledger's head in the anchor file, where an earlier process was killed before it did.

        Raises:
            ToolUnavailable: The file cannot be written.
        """
        if anchor := self._anchor():
            anchor.advance(self.ledger_head(), self.holds_entry)

    def holds_entry(self, noted: "LedgerHead") -> bool:
        """Whether the ledger has this entry, by number and hash; the beginning, entry 0, always."""
        from e2i_pipeline.metadata.ledger import GENESIS, LedgerEntry

        if noted.sequence == 0:
            return noted.hash == GENESIS
        return bool(self._find(LedgerEntry, sequence=noted.sequence, hash=noted.hash))

    def ledger_head(self) -> "LedgerHead":
        """The end of the ledger."""
        with self._database().read() as connection:
            return _ledger_head(connection)

    def ledger(self) -> list[Row]:
        """All entries, in order."""
        from e2i_pipeline.metadata.ledger import LedgerEntry

        return sorted(self._find(LedgerEntry), key=lambda row: row["sequence"])

    def verify_ledger(self, anchor: "LedgerHead | None" = None, *more: "LedgerHead") -> "list[LedgerFinding]":
        """Checks the whole ledger: see `chain_findings` for what anchors add.

        Returns:
            Every break of the chain; nothing where it holds.
        """
        from e2i_pipeline.metadata.ledger import chain_findings

        return chain_findings(self.ledger(), anchor, *more)

    def _anchor(self) -> FileAnchor | None:
        """The anchor file; None where none is kept."""
        raise NotImplementedError


def append_entry(
    connection: Any,
    kind: str,
    subject: str,
    actor: str,
    reason: str,
    payload: Mapping[str, Any],
    at: datetime,
    run_id: str,
) -> "LedgerHead":
    """Appends an entry within a transaction that holds the turn `LEDGER_TURN`; the arguments are `append_ledger`'s.

    Raises:
        ToolRejected: Kind, subject, actor or reason is empty.
    """
    import sqlalchemy as sa

    from e2i_pipeline.metadata.ledger import LedgerEntry, LedgerHead, entry_hash, key_of
    from e2i_pipeline.metadata.values import plain

    said = {"kind": kind, "subject": subject, "actor": actor, "reason": reason}
    if empty := [name for name, text in said.items() if not text.strip()]:
        raise ToolRejected(f"A ledger entry needs a {' and a '.join(empty)}: nothing was recorded. Say it, then retry.")
    content = plain(payload)
    row: Row = {**plain(said), "payload": content, "at": at, "dagster_run_id": run_id}
    head = _ledger_head(connection)
    row.update(sequence=head.sequence + 1, prev_hash=head.hash)
    row.update(hash=entry_hash(row), about=key_of(content))
    connection.execute(sa.insert(LedgerEntry).values(**row))
    return LedgerHead(row["sequence"], row["hash"])


def entries_about(connection: Any, key: str) -> list[Row]:
    """The entries about one verdict key, in order; those that do not match their hash or their place are left out.

    Args:
        connection: A connection to the database.
        key: Digest of the verdict key.
    """
    import sqlalchemy as sa

    from e2i_pipeline.metadata.base import table_of
    from e2i_pipeline.metadata.ledger import GENESIS, LedgerEntry, entry_hash, key_of

    table = table_of(LedgerEntry)
    before = table.alias("before")
    query = (
        sa.select(table, before.c.hash.label("hash_before"))
        .join_from(table, before, before.c.sequence == table.c.sequence - 1, isouter=True)
        .where(table.c.about == key)
        .order_by(table.c.sequence)
    )
    found: list[Row] = []
    for mapping in connection.execute(query).mappings():
        row = dict(mapping)
        is_chained = row["prev_hash"] == (row.pop("hash_before") or GENESIS)
        if is_chained and key_of(row["payload"]) == key and entry_hash(row) == row["hash"]:
            found.append(row)
    return found


def _ledger_head(connection: Any) -> "LedgerHead":
    from e2i_pipeline.metadata.base import table_of
    from e2i_pipeline.metadata.ledger import GENESIS, LedgerEntry, LedgerHead

    last = table_of(LedgerEntry).select().order_by(LedgerEntry.sequence.desc()).limit(1)
    row = connection.execute(last).mappings().first()
    return LedgerHead(row["sequence"], row["hash"]) if row else LedgerHead(0, GENESIS)
