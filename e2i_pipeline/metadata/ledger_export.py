"""A ledger as others get it: JSON from which any program can recompute the hashes, and a table that people can read.

Pure. What an entry's hash covers stands in `ledger.py`; who asks for an export, and where it goes, elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from e2i_pipeline.metadata.ledger import GENESIS, LedgerHead, entry_content

CANONICAL_FORM = (
    "The hash of an entry is the SHA-256, in hexadecimal, of the UTF-8 bytes of the entry's JSON without its member "
    "`hash`: members sorted by name (by Unicode code point, at every depth), no blanks between tokens, characters "
    "outside ASCII as they are, numbers as written here. `prev_hash` is the hash of the entry before; of the first "
    "entry it is `genesis`. `sequence` counts 1, 2, 3, ... without a gap. Each anchor is the number and hash of an "
    "entry that was noted outside the ledger when it was the last one: an entry of that number must have that hash."
)
"""How to recompute the hashes, in words; it goes with every export."""

_SHORT_HASH, _LONGEST_CELL = 12, 160
_HEADS = ("sequence", "time", "kind", "subject", "actor", "reason", "hash")


def as_json(rows: Sequence[dict[str, Any]], anchors: Iterable[LedgerHead]) -> dict[str, Any]:
    """The whole ledger as one JSON document.

    Args:
        rows: All entries in order.
        anchors: Where its head was noted.
    """
    return {
        "format": "e2i-ledger",
        "version": 1,
        "canonical_form": CANONICAL_FORM,
        "genesis": GENESIS,
        "anchors": [anchor._asdict() for anchor in anchors],
        "entries": [{**entry_content(row), "hash": row["hash"]} for row in rows],
    }


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ledger as a Markdown table, one line per entry; long reasons are cut, the JSON has them whole."""
    lines = [_line(_HEADS), _line("---" for _ in _HEADS)]
    for row in rows:
        at = row["at"].astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        texts = (row["kind"], row["subject"], row["actor"], row["reason"])
        lines.append(_line([str(row["sequence"]), at, *map(_cell, texts), row["hash"][:_SHORT_HASH]]))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    plain = " ".join(text.split())
    cut = plain if len(plain) <= _LONGEST_CELL else f"{plain[: _LONGEST_CELL - 1]}…"
    return cut.replace("\\", "\\\\").replace("|", "\\|")
