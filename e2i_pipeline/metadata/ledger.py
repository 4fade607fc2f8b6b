"""The ledger: append-only, each entry chained to the one before it by its hash.

Here: the table, the hash and the check of a chain, all pure. Appending under a lock stands in `resources/metadata.py`.
A chain alone cannot show that its end was cut off or that all of it was rewritten; a head kept elsewhere (an anchor)
can.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from e2i_pipeline.metadata.base import KEY, NAME, Base, PlainJson, UtcDateTime
from e2i_pipeline.metadata.values import plain

GENESIS = "0" * 64
"""`prev_hash` of the first entry."""


class LedgerEntry(Base):
    """One decision that someone answers for: a verdict, an override, a promotion, a rollback.

    Attributes:
        sequence: 1, 2, 3, ... without a gap.
        prev_hash: Hash of the entry before.
        hash: SHA-256 over all the other columns.
        kind: What was decided, e.g. `verdict`, `override`, `promotion`, `rollback`.
        subject: About what.
        actor: Who: a person for an override, else the agent or job.
        reason: Why, in words.
        payload: Figures and hashes that belong to it.
        at: When (UTC).
    """

    __tablename__ = "ml_ledger"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    prev_hash: Mapped[str] = mapped_column(KEY)
    hash: Mapped[str] = mapped_column(KEY, unique=True)
    kind: Mapped[str] = mapped_column(NAME, index=True)
    subject: Mapped[str] = mapped_column(NAME, index=True)
    actor: Mapped[str] = mapped_column(NAME)
    reason: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(PlainJson)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    dagster_run_id: Mapped[str] = mapped_column(KEY, default="")


class LedgerHead(NamedTuple):
    """The end of the chain: number and hash of the last entry; (0, GENESIS) of an empty ledger."""

    sequence: int
    hash: str


class LedgerFinding(NamedTuple):
    """One break of the chain: the entry at which it shows, and what is wrong in words."""

    sequence: int
    problem: str


def entry_hash(row: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, of an entry's canonical JSON without its own `hash`.

    The time counts in UTC with microseconds, so that the hash is the same after a round through either database.
    """
    content = {k: plain(v) for k, v in row.items() if k != "hash"}
    content["at"] = row["at"].astimezone(UTC).isoformat(timespec="microseconds")
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def chain_findings(rows: Iterable[dict[str, Any]], anchor: LedgerHead | None = None) -> list[LedgerFinding]:
    """Checks a chain.

    Args:
        rows: All entries in order of `sequence`.
        anchor: A head that was noted elsewhere when it was the head; without it, a ledger that was cut short or
            rewritten from some entry on is not found out.

    Returns:
        Every break, in order: entries edited, deleted or reordered, and what the anchor no longer finds.
    """
    findings: list[LedgerFinding] = []
    head = LedgerHead(0, GENESIS)
    at_anchor = GENESIS if anchor and anchor.sequence == 0 else ""
    for row in rows:
        sequence = row["sequence"]
        if sequence != head.sequence + 1:
            missing = f"{head.sequence + 1}..{sequence - 1}"
            findings.append(LedgerFinding(sequence, f"entries {missing} are missing before it: deleted or renumbered"))
        elif row["prev_hash"] != head.hash:
            findings.append(LedgerFinding(sequence, "it does not continue the entry before: edited or reordered"))
        if entry_hash(row) != row["hash"]:
            findings.append(LedgerFinding(sequence, "its content does not match its hash: edited or reordered"))
        head = LedgerHead(sequence, row["hash"])
        if anchor and sequence == anchor.sequence:
            at_anchor = row["hash"]
    if anchor and head.sequence < anchor.sequence:
        lost = f"the ledger ends at entry {head.sequence}, but its anchor is entry {anchor.sequence}: cut short"
        findings.append(LedgerFinding(head.sequence + 1, lost))
    elif anchor and at_anchor != anchor.hash:
        findings.append(LedgerFinding(anchor.sequence, "it is not the entry that was anchored: rewritten or deleted"))
    return findings
