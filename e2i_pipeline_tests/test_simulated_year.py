"""A simulated year of pulls from PostgreSQL, killed at random: the history equals the truth, at every past date."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2i_pipeline.domain.privacy import pseudonym
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.pulls import Puller
from e2i_pipeline_tests.simulated_year import FIRST, Version, Year

postgres = servers.postgres

KEY = "a-key-for-the-simulated-year"
PERIOD = 14  # days


@pytest.fixture
def puller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Puller]:
    """A process to fork pulls from."""
    monkeypatch.setenv("E2I_PSEUDONYM_KEY", KEY)
    puller = Puller()
    yield puller
    puller.end()


SAMPLE = (*range(7), *range(150, 157), *range(358, 365))
"""Days in a row, so that increments follow each other; most of a year apart, so that much has happened in between."""


@pytest.mark.parametrize(
    ("days", "kills"),
    [
        pytest.param(SAMPLE, 12, id="a sample of days"),
        pytest.param(tuple(range(365)), 200, id="every day", marks=pytest.mark.slow),
    ],
)
def test_the_history_of_a_year_is_the_truth(
    postgres: servers.Postgres, puller: Puller, tmp_path: Path, days: tuple[int, ...], kills: int
) -> None:
    url, chance = postgres.database(), random.Random(kills)  # noqa: S311 - no secret
    year = Year(url, seed=7)
    killed_on = set(chance.sample(days, kills))
    periods, killed, staged = set(), 0, {}
    for day in range(365):
        year.next_day()
        if day not in days:
            continue
        if day in killed_on:
            kill = (
                ("rename", float(chance.randrange(1, 5)))
                if chance.random() < 0.5
                else ("after", chance.uniform(0, 0.4))
            )
            killed += puller.pull(_source(url, tmp_path / "killed"), "treatment_events", kill) is None
        found = puller.pull(_source(url, tmp_path / "killed"), "treatment_events")
        quiet = puller.pull(_source(url, tmp_path / "quiet"), "treatment_events")
        assert found is not None
        assert quiet is not None
        assert found["version"] == quiet["version"], f"day {day}"
        period = int(year.pulled_at.timestamp() // (86_400 * PERIOD))
        year.was_pulled(is_whole=period not in periods)
        periods.add(period)
        staged = found
        if day in SAMPLE:
            assert _versions(found["location"]) == _expected(year), f"day {day}"
    assert killed > kills // 3
    assert _versions(staged["location"]) == _expected(year)
    for day in range(0, 365, 5):
        at = FIRST + timedelta(days=day, hours=12)
        assert _view(staged["location"], at) == {_hashed(key): cost for key, cost in year.view(at).items()}
    year.end()


def _source(url: str, state: Path) -> dict[str, Any]:
    return {
        "kind": "postgres",
        "state_dir": str(state),
        "brands": ["Kisqali"],
        "cohort": {"unit": "patient", "outcome_window_days": 180},
        "known_at": {"kind": "observed", "days": 0, "baseline_lag_days": None},
        "absent": {"tables": [], "columns": {}},
        "history": {"restated": [], "tombstones": {"treatment_events": "deleted_at"}},
        "options": {"mode": "incremental", "reconcile_every_days": PERIOD},
        "url": url,
    }


def _hashed(key: str) -> str:
    return pseudonym(KEY.encode(), "event", key) or ""


def _expected(year: Year) -> set[Version]:
    return {v._replace(key=_hashed(v.key)) for v in year.versions()}


def _versions(location: str) -> set[Version]:
    columns = "treatment_event_id, cost, known_at, superseded_at"
    rows = duckdb.execute(f"SELECT {columns} FROM read_parquet(?)", [location]).fetchall()
    found = [Version(key, cost, _utc(known), _utc(ended) if ended else None) for key, cost, known, ended in rows]
    assert len(set(found)) == len(found)
    return set(found)


def _view(location: str, at: datetime) -> dict[str, float]:
    rows = duckdb.execute(
        "SELECT treatment_event_id, cost FROM read_parquet(?) WHERE known_at <= $2 AND "
        "(superseded_at IS NULL OR superseded_at > $2)".replace("?", "$1"),
        [location, at.replace(tzinfo=None)],
    ).fetchall()
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
