"""The order of a study: slots in batches, whatever worker fills them and however often one was killed on the way.

A study is a row of slots, numbered from 0, `batch_size` to a batch, but at most `FIRST_BATCH` in the first one: its
trials have nothing to be compared with, so none of them is pruned, and they are the dearest. What is tried in a slot
depends on the batches before its own alone, so that neither the number of workers nor their speed decides anything. A
slot is tried again where its worker was killed; it is settled when a trial completed, was pruned or failed by itself.
How parameters are chosen from earlier batches stands in `optuna_past`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FIRST_BATCH = 4
"""Most slots of the first batch."""

SLOT, RESULT = "e2i:slot", "e2i:result"
"""Attributes of a trial: its slot, batch and attempt; and what came of it beside its value."""

KILLED = "the process that ran it was killed"
"""Reason of a trial that was found running without a worker."""

FINISHED = ("COMPLETE", "PRUNED")
"""States of a trial that count towards the number asked for."""


class Lost(NamedTuple):
    """A slot whose worker was killed.

    Attributes:
        slot: Its number.
        attempt: Number of the next attempt, from 1.
        trial: The last one, for its parameters.
    """

    slot: int
    attempt: int
    trial: "FrozenTrial"


class Board:
    """Where a study stands.

    Attributes:
        settled: The trial that settled a slot, by slot.
        open: Trials that wait or run, by slot.
        lost: Slots to be tried again.
    """

    def __init__(self, trials: Sequence["FrozenTrial"], batch_size: int) -> None:
        """Sorts trials into slots.

        Args:
            trials: All trials of the study; those that are not of its slots are left out.
            batch_size: Slots of a batch, >= 1.
        """
        self._size = batch_size
        self.settled: dict[int, FrozenTrial] = {}
        self.open: dict[int, FrozenTrial] = {}
        last: dict[int, FrozenTrial] = {}
        for trial in trials:
            if (slot := slot_of(trial)) is None:
                continue
            last[slot] = trial
            if is_settling(trial):
                self.settled.setdefault(slot, trial)
            elif not trial.state.is_finished():
                self.open.setdefault(slot, trial)
        for slot in self.settled:
            self.open.pop(slot, None)
        self.lost = [
            Lost(slot, attempt_of(trial) + 1, trial)
            for slot, trial in sorted(last.items())
            if slot not in self.settled and slot not in self.open
        ]
        self._begun = set(last)

    @property
    def finished(self) -> int:
        """Settled slots that count."""
        return sum(trial.state.name in FINISHED for trial in self.settled.values())

    @property
    def failed(self) -> int:
        """Settled slots whose trial failed by itself."""
        return len(self.settled) - self.finished

    @property
    def is_between_batches(self) -> bool:
        """Whether every slot of every batch that was begun is settled."""
        begun = len(self._begun)
        return len(self.settled) == begun and begun == first_slot(batch_of(begun, self._size), self._size)

    @property
    def batch(self) -> int:
        """The batch at work; between two, the next one."""
        return batch_of(len(self.settled) if self.is_between_batches else max(self._begun), self._size)

    def missing(self, wanted: int) -> list[int]:
        """Slots of the batch at work that are to be begun so that `wanted` trials finish, and none beyond."""
        room = wanted - self.finished - len(self.open) - len(self.lost)
        first, end = (first_slot(batch, self._size) for batch in (self.batch, self.batch + 1))
        return [slot for slot in range(first, end) if slot not in self._begun][: max(room, 0)]

    def before(self, batch: int) -> list["FrozenTrial"]:
        """The settled trials of the batches before one, by slot."""
        return [self.settled[slot] for slot in range(first_slot(batch, self._size))]


def first_slot(batch: int, batch_size: int) -> int:
    """The first slot of a batch, both counted from 0."""
    return batch and min(FIRST_BATCH, batch_size) + (batch - 1) * batch_size


def batch_of(slot: int, batch_size: int) -> int:
    """The batch of a slot, both counted from 0."""
    return (slot - min(FIRST_BATCH, batch_size)) // batch_size + 1


def slot_of(trial: "FrozenTrial") -> int | None:
    """The trial's slot; None for one that no worker of ours began."""
    placed: list[int] | None = trial.user_attrs.get(SLOT)
    return placed[0] if placed else None


def attempt_of(trial: "FrozenTrial") -> int:
    """How often its slot had been begun before."""
    return trial.user_attrs[SLOT][2]


def attributes_of(slot: int, batch_size: int, attempt: int) -> dict[str, Any]:
    """The attributes of a trial that is to be tried in a slot."""
    return {SLOT: [slot, batch_of(slot, batch_size), attempt]}


def result_of(trial: "FrozenTrial") -> dict[str, Any]:
    """What its worker wrote down when it ended; empty for one that was killed."""
    return trial.user_attrs.get(RESULT, {})


def reason_of(trial: "FrozenTrial") -> str:
    """Why it failed."""
    return result_of(trial).get("reason", KILLED)


def is_settling(trial: "FrozenTrial") -> bool:
    """Whether the trial ended by itself."""
    return trial.state.is_finished() and (trial.state.name != "FAIL" or reason_of(trial) != KILLED)
