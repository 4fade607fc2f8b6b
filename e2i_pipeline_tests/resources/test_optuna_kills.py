"""A study whose workers are killed at any moment ends as if nobody had disturbed it."""

from pathlib import Path

import pytest

from e2i_pipeline.resources.optuna_records import StudyOutcome
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.kill_studies import TRIALS, Survived, kill, run, search

postgres = servers.postgres
KILLS = 20


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> StudyOutcome:
    """The study that nobody disturbs."""
    return run(f"journal://{tmp_path_factory.mktemp('undisturbed')}/journal.log")


def _is_undisturbed(survived: Survived, whole: StudyOutcome) -> None:
    assert survived.struck == KILLS
    assert survived.running == 0
    assert survived.finished == TRIALS
    assert 0 < survived.lost <= KILLS  # each kill costs its worker the trial in flight at most
    assert search(survived.outcome) == search(whole)
    assert survived.outcome.best_value == whole.best_value
    assert survived.outcome.parameters == whole.parameters
    assert survived.outcome.comparison == whole.comparison
    assert survived.outcome.is_reproducible


def test_twenty_kills_change_nothing(undisturbed: StudyOutcome, tmp_path: Path) -> None:
    _is_undisturbed(kill(f"journal://{tmp_path}/journal.log", KILLS, workers=1, seed=7), undisturbed)
    assert not list(tmp_path.rglob("*.lease"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite", "postgresql"])
def test_twenty_kills_among_eight_workers_change_nothing(
    undisturbed: StudyOutcome, tmp_path: Path, kind: str, postgres: servers.Postgres
) -> None:
    url = {
        "journal": f"journal://{tmp_path}/journal.log",
        "sqlite": f"sqlite:///{tmp_path}/studies.db",
        "postgresql": postgres.database(),
    }[kind]
    _is_undisturbed(kill(url, KILLS, workers=8, seed=11), undisturbed)
