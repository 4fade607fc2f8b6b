"""The ledger: append-only, each entry chained to the one before it by its hash.

Here: the table, the hash and the check of a chain, all pure. Appending under a lock stands in
`resources/records/ledger.py`, where heads are noted in `resources/ledger_anchor.py`, how a ledger is handed out in
`ledger_export.py`. A chain alone cannot show that its end was cut off or that all of it was rewritten; a head kept
elsewhere (an anchor) can.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
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
        hash: SHA-256 over all the other columns but `about`.
        kind: What was decided, e.g. `verdict`, `override`, `promotion`, `rollback`.
        subject: About what.
        actor: Who: a person for an override, else the agent or job.
        reason: Why, in words.
        payload: Figures and hashes that belong to it.
        at: When (UTC).
        about: Digest of the verdict key that it is about, as the payload's `key` has it; empty where it is about none.
            It only makes entries quick to find: what counts is the payload, which the hash covers.
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
    about: Mapped[str] = mapped_column(KEY, default="", server_default="", index=True)


class LedgerHead(NamedTuple):
    """The end of the chain, now or when it was noted somewhere as an anchor.

    Attributes:
        sequence: Number of the last entry; 0 of an empty ledger.
        hash: Its hash; `GENESIS` of an empty ledger.
        place: Where it was noted, in words; empty for the ledger's own head.
    """

    sequence: int
    hash: str
    place: str = ""


class LedgerFinding(NamedTuple):
    """One break of the chain: the entry at which it shows, and what is wrong in words."""

    sequence: int
    problem: str


def entry_hash(row: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, of an entry's canonical JSON (`entry_content`)."""
    canonical = json.dumps(entry_content(row), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def entry_content(row: dict[str, Any]) -> dict[str, Any]:
    """What the hash of an entry covers, as plain JSON: all columns but `hash` itself and `about`.

    The time is written in UTC with microseconds, so that the hash is the same after a round through either database.
    """
    content = {k: plain(v) for k, v in row.items() if k not in ("hash", "about")}
    return {**content, "at": row["at"].astimezone(UTC).isoformat(timespec="microseconds")}


def key_of(payload: Any) -> str:
    """The digest of the verdict key that a payload is about; empty where it names none."""
    found = payload.get("key", "") if isinstance(payload, dict) else ""
    return found if isinstance(found, str) else ""


def chain_findings(
    rows: Iterable[dict[str, Any]], anchor: LedgerHead | None = None, *more: LedgerHead
) -> list[LedgerFinding]:
    """Checks a chain.

    Args:
        rows: All entries in order of `sequence`.
        anchor: A head that was noted elsewhere when it was the head; without it, a ledger that was cut short or
            rewritten from some entry on is not found out.
        more: Further anchors, from other places.

    Returns:
        Every break, in order: entries edited, deleted or reordered, and what the anchors no longer find.
    """
    anchors = [one for one in (anchor, *more) if one is not None]
    findings: list[LedgerFinding] = []
    hashes = {0: GENESIS}
    head = LedgerHead(0, GENESIS)
    for row in rows:
        findings += _entry_findings(row, head)
        head = LedgerHead(row["sequence"], row["hash"])
        hashes[head.sequence] = head.hash
    return findings + [finding for one in anchors for finding in _anchor_findings(one, head.sequence, hashes)]


def _entry_findings(row: dict[str, Any], before: LedgerHead) -> Iterator[LedgerFinding]:
    sequence = row["sequence"]
    if sequence != before.sequence + 1:
        missing = f"{before.sequence + 1}..{sequence - 1}" if sequence > before.sequence + 2 else before.sequence + 1
        yield LedgerFinding(sequence, f"before it, {missing} is missing: deleted or renumbered")
    elif row["prev_hash"] != before.hash:
        it = f"entry {before.sequence}" if before.sequence else "the beginning"
        yield LedgerFinding(sequence, f"it does not continue {it}: one of the two was edited, or they were reordered")
    if entry_hash(row) != row["hash"]:
        yield LedgerFinding(sequence, "its content does not match its hash: edited or reordered")
    if row.get("about", "") != key_of(row["payload"]):
        yield LedgerFinding(sequence, "it is filed under another key than it is about: edited")


def _anchor_findings(anchor: LedgerHead, last: int, hashes: Mapping[int, str]) -> Iterator[LedgerFinding]:
    place = f" in {anchor.place}" if anchor.place else ""
    if last < anchor.sequence:
        lost = f"the ledger ends at entry {last}, but its anchor{place} is entry {anchor.sequence}: cut short"
        yield LedgerFinding(last + 1, lost)
    elif hashes.get(anchor.sequence) != anchor.hash:
        yield LedgerFinding(anchor.sequence, f"it is not the entry that was anchored{place}: rewritten or deleted")
