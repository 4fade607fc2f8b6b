"""What two state folders are compared by: a ledger's entry more or less is a difference, its time and place are not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline_tests.end_state import differences, end_state

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def recorded(folder: Path, subjects: list[str], at: datetime = NOON, run: str = "run-1", rows: int = 3) -> Path:
    """A folder in whose ledger each of these subjects was refused, one after another."""
    metadata = MetadataResource(url=f"sqlite:///{folder}/metadata.db", lock_dir=str(folder / "locks"))
    for subject in subjects:
        key = VerdictKey(subject=subject, data_version="d", suite_hash="s", gate_hash="g")
        why = (f"{rows} rows.",)
        metadata.record_verdict(
            Verdict(key=key, gate="data_quality", is_passed=False, reasons=why, decided_at=at, run_id=run)
        )
    return folder


def compared(one: Path, other: Path) -> list[str]:
    return [line.partition(":")[0] for line in differences(end_state(one), end_state(other))]


def test_time_run_and_order_of_entries_are_no_difference(tmp_path: Path) -> None:
    one = recorded(tmp_path / "one", ["a", "b"])
    other = recorded(tmp_path / "other", ["b", "a"], at=NOON + timedelta(days=1), run="run-2")

    assert compared(one, other) == []


def test_an_entry_that_is_missing_doubled_or_another_is_a_difference(tmp_path: Path) -> None:
    one = recorded(tmp_path / "one", ["a", "b"])
    assert "metadata ml_ledger" in compared(one, recorded(tmp_path / "fewer", ["a"]))
    assert "metadata ml_ledger" in compared(one, recorded(tmp_path / "changed", ["a", "b"], rows=4))

    doubled = recorded(tmp_path / "doubled", ["a", "b"])
    metadata = MetadataResource(url=f"sqlite:///{doubled}/metadata.db", lock_dir=str(doubled / "locks"))
    entry = metadata.ledger()[1]
    said = [entry[name] for name in ("kind", "subject", "actor", "reason", "payload")]
    metadata.append_ledger(*said, at=NOON + timedelta(hours=1), run_id="run-2")
    assert compared(one, doubled) == ["metadata ml_ledger"]
