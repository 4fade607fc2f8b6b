"""A chain shows every edit, deletion and reorder, and with an anchor a truncation and a rewrite."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2i_pipeline.metadata.ledger import GENESIS, LedgerHead, chain_findings, entry_hash

Rows = list[dict[str, Any]]


def chain(length: int, actor: str = "qa@example.org") -> Rows:
    rows: Rows = []
    for sequence in range(1, length + 1):
        row: dict[str, Any] = {
            "sequence": sequence,
            "prev_hash": rows[-1]["hash"] if rows else GENESIS,
            "kind": "override",
            "subject": "treatment_events",
            "actor": actor,
            "reason": "late drop of the vendor",
            "payload": {"rows": sequence, "share": 0.1},
            "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=sequence),
            "dagster_run_id": "",
        }
        rows.append({**row, "hash": entry_hash(row)})
    return rows


def head(rows: Rows) -> LedgerHead:
    return LedgerHead(rows[-1]["sequence"], rows[-1]["hash"])


def edit(rows: Rows) -> Rows:
    return [*rows[:2], {**rows[2], "reason": "another reason"}, *rows[3:]]


def edit_and_rehash(rows: Rows) -> Rows:
    changed = {**rows[2], "actor": "someone.else@example.org"}
    return [*rows[:2], {**changed, "hash": entry_hash(changed)}, *rows[3:]]


def delete(rows: Rows) -> Rows:
    return [*rows[:2], *rows[3:]]


def delete_first(rows: Rows) -> Rows:
    return rows[1:]


def reorder(rows: Rows) -> Rows:
    return [*rows[:1], {**rows[2], "sequence": 2}, {**rows[1], "sequence": 3}, *rows[3:]]


def test_untouched_chain_has_no_findings() -> None:
    assert chain_findings([]) == []
    assert chain_findings(chain(5)) == []
    assert chain_findings(chain(5), anchor=head(chain(5))) == []
    assert chain_findings(chain(5), anchor=head(chain(3))) == [], "an older anchor is still on the chain"
    assert chain_findings(chain(5), anchor=LedgerHead(0, GENESIS)) == []


@pytest.mark.parametrize(
    ("tamper", "at"), [(edit, 3), (edit_and_rehash, 4), (delete, 4), (delete_first, 2), (reorder, 2)]
)
def test_tampering_is_found_where_it_shows(tamper: Callable[[Rows], Rows], at: int) -> None:
    findings = chain_findings(tamper(chain(5)))
    assert findings
    assert findings[0].sequence == at


def test_truncation_and_rewrite_are_found_by_the_anchor_only() -> None:
    full, anchor = chain(5), head(chain(5))
    rewritten = chain(5, actor="someone.else@example.org")
    for tampered in (full[:3], [], rewritten, full[:4] + rewritten[4:]):
        assert chain_findings(tampered, anchor)
    assert chain_findings(full[:3]) == []
    assert chain_findings(rewritten) == []


def test_truncation_says_how_much_is_lost() -> None:
    (finding,) = chain_findings(chain(3), head(chain(5)))
    assert finding.sequence == 4
    assert "ends at entry 3" in finding.problem
