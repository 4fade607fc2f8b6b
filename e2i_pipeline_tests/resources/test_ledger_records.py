"""Verdicts and overrides in the ledger: once each, in one transaction, and nothing counts that stands beside it."""

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.errors import OverrideRefused, ToolRejected
from e2i_pipeline.metadata.database import Database
from e2i_pipeline.metadata.ledger import LedgerHead, chain_findings
from e2i_pipeline.resources.ledger_anchor import FileAnchor
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline_tests import servers

postgres = servers.postgres

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = VerdictKey(subject="patient_journeys", data_version="d1", suite_hash="s1", gate_hash="g1")
JANE, WHY = "jane.doe@example.com", "The vendor confirmed it."

WRITER = """
import sys
from datetime import UTC, datetime
from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.resources.metadata import MetadataResource
url, folder, name = sys.argv[1:]
metadata = MetadataResource(url=url, lock_dir=f"{folder}/locks", anchor=f"{folder}/ledger/anchor.json")
metadata.ledger_head()
print("ready", flush=True)
sys.stdin.readline()
for n in range(12):
    key = VerdictKey(subject=name, data_version=str(n), suite_hash="s", gate_hash="g")
    said = {"is_passed": n % 3 > 0, "reasons": () if n % 3 else ("no",), "decided_at": datetime.now(UTC)}
    metadata.record_verdict(Verdict(key=key, gate="data_quality", **said))
    if n % 3 == 0:
        metadata.record_override(key, "jane.doe@example.com", "It is known.", datetime.now(UTC))
"""

KILLED_BEFORE_THE_ANCHOR = """
import os, signal, sys
from datetime import UTC, datetime
from e2i_pipeline.resources.metadata import MetadataResource
url, folder, _ = sys.argv[1:]
metadata = MetadataResource(url=url, lock_dir=f"{folder}/locks", anchor=f"{folder}/ledger/anchor.json")
metadata.append_ledger("note", "a", "b", "the first", {}, datetime.now(UTC))
def die(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("anchor.json"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
metadata.append_ledger("note", "a", "b", "the second", {}, datetime.now(UTC))
"""


def verdict(is_passed: bool = False, at: datetime = NOON, reason: str = "3 rows.", **changed: Any) -> Verdict:
    reasons = () if is_passed else (reason,)
    base: dict[str, Any] = {"key": KEY, "gate": "data_quality", "run_id": "run-1"}
    return Verdict(**base | {"is_passed": is_passed, "reasons": reasons, "decided_at": at} | changed)


@pytest.fixture(params=["sqlite", "postgres"])
def metadata(request: pytest.FixtureRequest, tmp_path: Path) -> MetadataResource:
    """A metadata resource on an empty database; the test runs once for each kind."""
    url = f"sqlite:///{tmp_path}/metadata.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").database()
    return resource(url, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> MetadataResource:
    return resource(f"sqlite:///{tmp_path}/metadata.db", tmp_path)


def resource(url: str, folder: Path) -> MetadataResource:
    return MetadataResource(url=url, lock_dir=f"{folder}/locks", anchor=f"{folder}/ledger/anchor.json")


def kinds(metadata: MetadataResource) -> list[str]:
    return [row["kind"] for row in metadata.ledger()]


def noted(metadata: MetadataResource) -> LedgerHead | None:
    """What the anchor says; its place left out."""
    found = FileAnchor(metadata.anchor, metadata.lock_dir).read()
    return found._replace(place="") if found else None


def change(metadata: MetadataResource, *statements: str) -> None:
    """Changes the database as someone with full rights would: by taking the ledger's protection away first."""
    database = Database(metadata.url)
    guards = ["ALTER TABLE ml_ledger DISABLE TRIGGER ml_ledger_append_only"]
    if database.path:
        guards = ["DROP TRIGGER IF EXISTS ml_ledger_no_update", "DROP TRIGGER IF EXISTS ml_ledger_no_delete"]
    with database.write() as connection:
        for statement in [*guards, *statements]:
            connection.execute(sa.text(statement))


def test_a_verdict_is_an_entry_that_says_who_what_and_why(metadata: MetadataResource) -> None:
    standing = metadata.record_verdict(verdict(warnings=("odd",)), {"failed": 1, "tested_rows": 12})

    [entry] = metadata.ledger()
    assert standing == metadata.verdict(KEY)
    assert (entry["kind"], entry["subject"], entry["actor"]) == ("verdict", "patient_journeys", "data_preparer")
    assert (entry["reason"], entry["at"], entry["dagster_run_id"]) == ("3 rows.", NOON, "run-1")
    assert entry["about"] == entry["payload"]["key"] == KEY.digest
    assert entry["payload"] == {
        "key": KEY.digest, "data_version": "d1", "suite_hash": "s1", "gate_hash": "g1", "gate": "data_quality",
        "is_passed": False, "warnings": ["odd"], "figures": {"failed": 1, "tested_rows": 12},
    }  # fmt: skip
    assert noted(metadata) == metadata.ledger_head()


def test_agents_answer_for_their_gates(local: MetadataResource) -> None:
    for gate in ("data_quality", "evaluation", "infrastructure"):
        key = KEY.model_copy(update={"gate_hash": gate})
        local.record_verdict(verdict(is_passed=True, key=key, gate=gate))

    assert [row["actor"] for row in local.ledger()] == ["data_preparer", "model_trainer", "model_deployer"]
    assert {row["reason"] for row in local.ledger()} == {"All that blocks has passed."}


def test_the_same_answer_is_one_decision_and_another_is_another(metadata: MetadataResource) -> None:
    metadata.record_verdict(verdict())
    metadata.record_verdict(verdict(at=NOON + HOUR, run_id="run-2"))
    assert len(metadata.ledger()) == 1
    assert metadata.verdict(KEY) == verdict(at=NOON + HOUR, run_id="run-2")

    metadata.record_verdict(verdict(is_passed=True, at=NOON + 2 * HOUR))
    metadata.record_verdict(verdict(at=NOON + 3 * HOUR))
    assert [row["payload"]["is_passed"] for row in metadata.ledger()] == [False, True, False]
    metadata.record_verdict(verdict(reason="4 rows.", at=NOON + 4 * HOUR))
    assert len(metadata.ledger()) == 4


def test_verdict_and_entry_are_recorded_together_or_not_at_all(local: MetadataResource, tmp_path: Path) -> None:
    local.ledger_head()
    with sqlite3.connect(tmp_path / "metadata.db") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON ml_ledger BEGIN SELECT RAISE(ABORT, 'no room'); END")

    with pytest.raises(ToolRejected, match="no room"):
        local.record_verdict(verdict())

    assert (local.verdict(KEY), local.rows("ml_gate_verdicts"), local.ledger()) == (None, [], [])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ml_gate_verdicts SET is_passed = {true}, reasons = '[]'",
        "UPDATE ml_ledger SET payload = '{{}}'",
        "UPDATE ml_ledger SET reason = 'x'",
        "DELETE FROM ml_ledger",
    ],
)
def test_a_verdict_that_the_ledger_does_not_bear_out_does_not_count(metadata: MetadataResource, statement: str) -> None:
    metadata.record_verdict(verdict())
    true = "1" if metadata.url.startswith("sqlite") else "true"
    change(metadata, statement.format(true=true))

    assert metadata.verdict(KEY) is None
    assert metadata.verdicts_beside_the_ledger() == [KEY]
    with pytest.raises(OverrideRefused, match="no verdict on it is in the ledger"):
        metadata.record_override(KEY, JANE, WHY, NOON)

    again = verdict(at=NOON + HOUR)
    assert metadata.record_verdict(again) == metadata.verdict(KEY) == again
    assert metadata.verdicts_beside_the_ledger() == []


def test_a_forged_verdict_gives_way_whatever_time_it_claims(local: MetadataResource) -> None:
    local.record_verdict(verdict())
    change(local, "UPDATE ml_gate_verdicts SET is_passed = 1, reasons = '[]', decided_at = '2999-01-01 00:00:00'")

    assert local.record_verdict(verdict(at=NOON + HOUR)) == verdict(at=NOON + HOUR)
    assert len(local.ledger()) == 1


class TestOverride:
    """It holds for one key, while the verdict that it overrides is the one that counts."""

    def test_opens_the_gate_and_names_the_person(self, metadata: MetadataResource) -> None:
        metadata.record_verdict(verdict())
        held = metadata.record_override(KEY, JANE, WHY, NOON + HOUR, "run-2")

        found = metadata.verdict(KEY)
        assert found is not None
        assert (found.is_passed, found.is_open, found.override) == (False, True, held)
        assert (held.entry, held.actor, held.reason, held.failed, held.at) == (2, JANE, WHY, ("3 rows.",), NOON + HOUR)
        entry = metadata.ledger()[1]
        assert (entry["kind"], entry["subject"], entry["actor"]) == ("override", "patient_journeys", JANE)
        assert (entry["payload"]["overrides"], entry["about"], entry["dagster_run_id"]) == (1, KEY.digest, "run-2")
        assert metadata.verify_ledger(noted(metadata)) == []

    @pytest.mark.parametrize("part", ["subject", "data_version", "suite_hash", "gate_hash"])
    def test_holds_for_no_other_key(self, local: MetadataResource, part: str) -> None:
        local.record_verdict(verdict())
        local.record_override(KEY, JANE, WHY, NOON)
        other = KEY.model_copy(update={part: "other"})
        local.record_verdict(verdict(key=other))

        found = local.verdict(other)
        assert found is not None
        assert not found.is_open

    def test_said_twice_is_one_entry_and_said_by_another_is_another(self, local: MetadataResource) -> None:
        local.record_verdict(verdict())
        first = local.record_override(KEY, JANE, WHY, NOON)
        assert local.record_override(KEY, JANE, WHY, NOON + HOUR) == first
        second = local.record_override(KEY, "john@example.com", WHY, NOON + HOUR)
        assert (first.entry, second.entry) == (2, 3)
        found = local.verdict(KEY)
        assert found is not None
        assert found.override == second

    def test_holds_when_the_same_answer_comes_again_and_not_after_another(self, local: MetadataResource) -> None:
        local.record_verdict(verdict())
        local.record_override(KEY, JANE, WHY, NOON)
        assert local.record_verdict(verdict(at=NOON + HOUR)).is_open
        assert not local.record_verdict(verdict(reason="5 rows.", at=NOON + 2 * HOUR)).is_open

    def test_ends_with_the_next_clean_audit(self, local: MetadataResource) -> None:
        local.record_verdict(verdict())
        local.record_override(KEY, JANE, WHY, NOON)
        clean = local.record_verdict(verdict(is_passed=True, at=NOON + HOUR))
        assert (clean.is_open, clean.override) == (True, None)

    @pytest.mark.parametrize(
        "stands", [None, {"is_passed": True}, {"gate": "evaluation"}, {"gate": "infrastructure"}], ids=str
    )
    def test_is_refused_where_nothing_was_refused(self, local: MetadataResource, stands: dict[str, Any] | None) -> None:
        if stands is not None:
            local.record_verdict(verdict(**stands))
        before = kinds(local)
        with pytest.raises(OverrideRefused, match=r"nothing to override on patient_journeys \(version d1\)"):
            local.record_override(KEY, JANE, WHY, NOON)
        assert kinds(local) == before

    @pytest.mark.parametrize("how", ["another key", "another actor", "no chain"])
    def test_forged_does_not_count(self, metadata: MetadataResource, how: str) -> None:
        other = KEY.model_copy(update={"data_version": "d0"})
        for key in (other, KEY):
            metadata.record_verdict(verdict(key=key))
        metadata.record_override(other, JANE, WHY, NOON)
        moved = {
            "another key": f"about = '{KEY.digest}'",
            "another actor": "actor = 'somebody'",
            "no chain": f"about = '{KEY.digest}', sequence = 9, hash = 'f'",
        }[how]
        change(metadata, f"UPDATE ml_ledger SET {moved} WHERE sequence = 3")

        for key in (other, KEY):
            found = metadata.verdict(key)
            assert found is not None
            assert not found.is_open
        assert metadata.verify_ledger(noted(metadata)) != []


def test_processes_side_by_side_never_fork_the_chain(metadata: MetadataResource, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, metadata.url, str(tmp_path)]
    writers = [_started([*command, f"table-{n}"]) for n in range(4)]
    for writer in writers:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    ended = [(writer.communicate(timeout=300), writer.returncode) for writer in writers]
    assert [status for _, status in ended] == [0] * 4, ended

    rows = metadata.ledger()
    assert [row["sequence"] for row in rows] == list(range(1, 4 * (12 + 4) + 1))
    assert chain_findings(rows, noted(metadata)) == []
    assert noted(metadata) == metadata.ledger_head()
    subjects = {row["subject"] for row in rows}
    assert subjects == {f"table-{n}" for n in range(4)}
    assert all(sum(row["subject"] == name for row in rows) == 16 for name in subjects)


def _started(command: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)  # noqa: S603


class TestAnchor:
    """The anchor file moves forward only, along its own chain, and catches up after a kill."""

    def append(self, metadata: MetadataResource, reason: str = "so it is") -> LedgerHead:
        return metadata.append_ledger("note", "a", "b", reason, {}, NOON)

    def test_follows_each_entry(self, local: MetadataResource) -> None:
        assert noted(local) is None
        for _ in range(3):
            head = self.append(local)
            assert noted(local) == head

    def test_never_goes_back(self, local: MetadataResource) -> None:
        first, second = self.append(local), self.append(local)
        FileAnchor(local.anchor, local.lock_dir).advance(first, local.holds_entry)
        assert noted(local) == second

    @pytest.mark.parametrize("cut", ["DELETE FROM ml_ledger WHERE sequence > 1", "DELETE FROM ml_ledger"])
    def test_stays_where_the_ledger_was_cut_however_long_it_grows_again(
        self, local: MetadataResource, cut: str
    ) -> None:
        for _ in range(3):
            head = self.append(local)
        change(local, cut)
        for n in range(5):
            self.append(local, f"another past {n}")

        assert noted(local) == head
        assert local.verify_ledger(noted(local)) != []
        assert local.verify_ledger() == [], "without its anchor it would pass"

    def test_catches_up_after_a_kill_between_entry_and_anchor(self, local: MetadataResource, tmp_path: Path) -> None:
        command = [sys.executable, "-c", KILLED_BEFORE_THE_ANCHOR, local.url, str(tmp_path), ""]
        assert subprocess.run(command, check=False).returncode == -9  # noqa: S603
        assert local.ledger_head().sequence == 2
        assert noted(local) == LedgerHead(1, local.ledger()[0]["hash"])
        assert local.verify_ledger(noted(local)) == []

        local.anchor_ledger()
        assert noted(local) == local.ledger_head()
        third = self.append(local)
        assert noted(local) == third

    @pytest.mark.parametrize(
        "content", ["", "{}", '{"sequence": -1, "hash": "x"}', '{"sequence": 1, "hash": 7}', "[1]"]
    )
    def test_that_cannot_be_read_is_left_as_it_is(self, local: MetadataResource, content: str) -> None:
        self.append(local)
        Path(local.anchor).write_text(content, encoding="utf-8")

        self.append(local)

        assert Path(local.anchor).read_text(encoding="utf-8") == content
        with pytest.raises(ToolRejected, match="cannot be read: somebody changed it"):
            noted(local)
        assert len(local.ledger()) == 2

    def test_is_a_small_file_that_a_person_can_read(self, local: MetadataResource) -> None:
        head = self.append(local)
        assert json.loads(Path(local.anchor).read_text(encoding="utf-8")) == {"sequence": 1, "hash": head.hash}
