"""A chain shows every edit, deletion and reorder, and with an anchor a truncation and a rewrite."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2i_pipeline.metadata.ledger import GENESIS, LedgerHead, chain_findings, entry_hash
from e2i_pipeline.metadata.ledger_export import as_json, as_table

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


def test_every_anchor_is_checked_and_a_broken_one_is_named() -> None:
    holds, lost = head(chain(3))._replace(place="a tag"), head(chain(9))._replace(place="the file")
    (finding,) = chain_findings(chain(5), holds, lost)
    assert finding.problem == "the ledger ends at entry 5, but its anchor in the file is entry 9: cut short"
    assert chain_findings(chain(5), None, holds) == []


def test_an_entry_filed_under_another_key_is_found() -> None:
    rows = chain(2)
    assert chain_findings([rows[0] | {"about": ""}, rows[1]]) == []
    (finding,) = chain_findings([rows[0], rows[1] | {"about": "another"}])
    assert (finding.sequence, "filed under another key" in finding.problem) == (2, True)


def test_a_missing_entry_is_named_by_its_number() -> None:
    assert chain_findings(delete(chain(5)))[0].problem == "before it, 3 is missing: deleted or renumbered"
    few = [row for row in chain(6) if row["sequence"] not in (2, 3, 4)]
    assert chain_findings(few)[0].problem == "before it, 2..4 is missing: deleted or renumbered"
    assert chain_findings(edit_and_rehash(chain(5)))[0].problem.startswith("it does not continue entry 3: ")


def test_a_stranger_can_recompute_the_hashes_from_the_export_alone() -> None:
    """By what the export itself says of the canonical form; none of our functions is used."""
    rows = chain(4)
    document = json.loads(json.dumps(as_json(rows, [head(rows)]), ensure_ascii=False))

    before = document["genesis"]
    for number, entry in enumerate(document["entries"], start=1):
        claimed = entry.pop("hash")
        assert (entry["sequence"], entry["prev_hash"]) == (number, before)
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode("utf-8")).hexdigest() == claimed
        before = claimed
    assert [(a["sequence"], a["hash"]) for a in document["anchors"]] == [(4, before)]
    assert "sorted by name" in document["canonical_form"]


def test_the_table_has_one_line_per_entry_and_cuts_what_is_long() -> None:
    row = chain(1)[0] | {"reason": "a | b\n" + "x" * 300, "subject": "t"}
    head_line, rule, line = as_table([row]).splitlines()
    assert head_line == "| sequence | time | kind | subject | actor | reason | hash |"
    assert rule.count("---") == 7
    assert line.startswith("| 1 | 2026-01-02 00:00:00 UTC | override | t | qa@example.org | a \\| b xxx")
    assert line.endswith(f"x… | {row['hash'][:12]} |")
