"""Decisions on a registered model in either database: appended once, in knowledge of the last one, and dated."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2i_pipeline.domain.champions import PROMOTION, Move
from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline_tests import servers

postgres = servers.postgres

NAME, NOON = "e2i-Kisqali-conversion", datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def metadata(request: pytest.FixtureRequest, tmp_path: Path) -> MetadataResource:
    """A metadata resource on an empty database; the test runs once for each kind."""
    is_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/metadata.db" if is_file else request.getfixturevalue("postgres").database()
    return MetadataResource(url=url, lock_dir=str(tmp_path / "locks"), anchor=str(tmp_path / "anchor.json"))


def promotion(version: str, days: int = 0, name: str = NAME) -> Move:
    at = NOON + timedelta(days=days)
    facts = {"training_key": f"k{version}", "verdicts": {"evaluation": "d"}}
    return Move(PROMOTION, name, version, "development", "production", True, "", "ann", True, "why", at, facts)


def test_a_decision_is_read_back_as_it_was_made_and_counts_from_its_time_on(metadata: MetadataResource) -> None:
    first = metadata.record_move(promotion("1"), seen=0, run_id="run")
    metadata.record_move(promotion("9", name="another"), seen=0)
    second = metadata.record_move(promotion("2", days=1), seen=first.entry)
    assert metadata.moves(NAME) == [first, second]
    assert (first.entry, second.entry) == (1, 3)
    found = [metadata.champion_at(NAME, NOON + timedelta(days=days)) for days in (-1, 0, 0.5, 1)]
    assert [move.version if move else None for move in found] == [None, "1", "1", "2"]
    with pytest.raises(ValueError, match="names no time zone"):
        metadata.champion_at("nobody's model", NOON.replace(tzinfo=None))
    assert metadata.verify_ledger() == []
    assert [entry["dagster_run_id"] for entry in metadata.ledger()] == ["run", "", ""]


def test_of_many_who_decide_on_the_same_one_is_recorded(metadata: MetadataResource) -> None:
    def decide(version: int) -> bool:
        try:
            metadata.record_move(promotion(str(version)), seen=0)
        except ToolUnavailable:
            return False
        return True

    with ThreadPoolExecutor(4) as people:
        decided = list(people.map(decide, range(4)))
    assert sum(decided) == 1
    assert metadata.standing(NAME).version == str(decided.index(True))
    assert len(metadata.ledger()) == 1
