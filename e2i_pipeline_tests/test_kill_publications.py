"""Killed while it stages, audits, publishes or cleans up, the product leaves what readers may rely on, each time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2i_pipeline_tests.kill_publications import KINDS_IN_TURN, Story
from e2i_pipeline_tests.marked_drops import published

KILLS = 50


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    told = Story(tmp_path, seed=20260301)
    yield told
    told.end()


def killed(story: Story, kills: int) -> None:
    """Kills so many runs; each time a reader must find one whole good drop, at once and after the next run."""
    kinds, done, number = KINDS_IN_TURN, 0, 0
    while done < kills:
        number += 1
        outcome = story.kill(number, kinds[number % len(kinds)])
        assert outcome.problems == (), f"kill {number} of a {outcome.kind} drop, before change {outcome.change}"
        done += bool(outcome.where)


def test_a_few_kills_leave_one_whole_good_drop(story: Story) -> None:
    assert published(story.product.state).mark == "drop-001"
    killed(story, 3)


@pytest.mark.slow
def test_many_kills_leave_one_whole_good_drop(story: Story) -> None:
    killed(story, KILLS)
