"""Slots and batches, and the cores that the last trials of a batch take."""

from typing import Any

import optuna
import pytest

from e2i_pipeline.resources.optuna_batches import FIRST_BATCH, Board, attributes_of, batch_of, first_slot
from e2i_pipeline.resources.optuna_cores import SpareCores


@pytest.mark.parametrize("size", [1, 2, 8])
def test_the_first_batch_is_small_and_every_slot_is_in_one_batch(size: int) -> None:
    slots = [slot for batch in range(6) for slot in range(first_slot(batch, size), first_slot(batch + 1, size))]

    assert slots == list(range(first_slot(6, size)))
    assert [batch_of(slot, size) for slot in slots] == sorted(batch_of(slot, size) for slot in slots)
    assert all(
        first_slot(batch_of(slot, size), size) <= slot < first_slot(batch_of(slot, size) + 1, size) for slot in slots
    )
    assert first_slot(1, size) == min(FIRST_BATCH, size)


def test_a_batch_begins_when_all_of_the_one_before_have_ended() -> None:
    assert Board([], 8).missing(100) == [0, 1, 2, 3]
    assert Board(_trials(3), 8).missing(100) == [3]
    after_first = Board(_trials(4), 8)
    assert (after_first.is_between_batches, after_first.batch) == (True, 1)
    assert after_first.missing(100) == list(range(4, 12))
    assert [trial.value for trial in after_first.before(1)] == [0.0, 1.0, 2.0, 3.0]
    assert after_first.missing(6) == [4, 5]
    within = Board(_trials(9), 8)
    assert (within.is_between_batches, within.batch) == (False, 1)
    assert within.missing(100) == [9, 10, 11]


def test_the_last_trials_of_a_batch_take_the_cores_of_workers_that_have_nothing_to_do() -> None:
    states: list[str] = ["RUNNING"] * 4 + ["WAITING"]
    spare = SpareCores(lambda: [_trial(name) for name in states], 4, 1, (OSError,), look_seconds=0)

    assert spare.threads() is None  # one waits for a worker that will come
    states[:] = ["RUNNING"] * 4
    assert spare.threads() is None
    states[:] = ["RUNNING"] * 2
    assert spare.threads() == 2
    assert spare.threads() is None  # as before
    states[:] = ["RUNNING"]
    assert spare.threads() == 4
    states[:] = ["RUNNING"] * 4
    assert spare.threads() == 1  # a killed worker's trial was begun again


def test_a_storage_that_does_not_answer_leaves_a_trial_the_cores_it_has() -> None:

    def unreachable() -> Any:
        raise OSError("no route")

    assert SpareCores(unreachable, 4, 1, (OSError,), look_seconds=0).threads() is None


def _trial(state: str) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(state=optuna.trial.TrialState[state])


def _trials(count: int) -> list[optuna.trial.FrozenTrial]:
    return [optuna.trial.create_trial(value=float(slot), user_attrs=attributes_of(slot, 8, 0)) for slot in range(count)]
