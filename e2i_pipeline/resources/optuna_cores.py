"""Cores that other workers of a batch have left: its last trials go on with them.

A batch ends with its longest trial, and what is tried next waits for that. How many threads fit a trial decides nothing
of what it finds.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LOOK_SECONDS = 0.5


class SpareCores:
    """Threads for one trial on the way.

    Args:
        trials: Reads the trials of the study; it may raise `errors`.
        cores: Cores of all workers of this machine, >= 1.
        threads: Threads that the trial began with, >= 1.
        errors: What a storage raises that does not answer: whoever ends the trial meets it again.
        look_seconds: Seconds between two looks at the trials.
    """

    def __init__(
        self,
        trials: Callable[[], Sequence["FrozenTrial"]],
        cores: int,
        threads: int,
        errors: tuple[type[Exception], ...],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._look_seconds = look_seconds
        self._trials, self._cores, self._least, self._errors = trials, cores, threads, errors
        self._threads, self._looked = threads, time.monotonic()

    def threads(self) -> int | None:
        """The threads to go on with, where they are others than before: those of workers that find nothing to do."""
        if self._cores <= self._least or time.monotonic() - self._looked < self._look_seconds:
            return None
        try:
            states = [trial.state.name for trial in self._trials()]
        except self._errors:
            return None
        self._looked = time.monotonic()
        busy = states.count("RUNNING") if "WAITING" not in states else self._cores
        threads = max(self._least, self._cores // max(busy, 1))
        if threads == self._threads:
            return None
        self._threads = threads
        return threads
