"""Starts further workers for a study that is worth them, and ends them with it.

What a worker does stands in `optuna_worker`. Results do not depend on how many there are or when they start, so that
the rule may be anything.
"""

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, BinaryIO, NamedTuple

from e2i_pipeline.resources.optuna_worker import STORAGE

START_SECONDS = 4.0
"""What a worker costs before its first trial: importing the tools took 2 to 4 s of a core."""

_LOOK_SECONDS = 0.5

_logger = logging.getLogger(__name__)


class _Started(NamedTuple):
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]


class Workers:
    """Further workers of one study.

    Args:
        count: How many beside the present process, >= 0.
        after_seconds: Seconds of the study after which they start at the earliest; 0 starts them at once.
        storage: Address of the study's storage.
        write_order: Writes the order into a worker's standard input.
        missing: Trials to finish.
    """

    def __init__(
        self, count: int, after_seconds: float, storage: str, write_order: Callable[[BinaryIO], None], missing: int
    ) -> None:
        self._count, self._after, self._storage, self._write_order = count, after_seconds, storage, write_order
        self._missing, self._done = missing, 0
        self._began = time.monotonic()
        self._is_over = threading.Event()
        self._started: list[_Started] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Workers":
        """Begins to watch the study."""
        if self._count and self._missing > 1:
            self._thread = threading.Thread(target=self._watch, name="further workers", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the workers: nobody waits for them any more."""
        self._is_over.set()
        self._kill()  # one that is not done with importing does not look at its input, and the thread writes there
        if self._thread:
            self._thread.join()
        self._kill()
        for worker in self._started:
            with suppress(OSError):
                worker.process.stdin.close()  # type: ignore[union-attr]
            worker.process.wait()
            worker.errors.close()

    def _kill(self) -> None:
        for worker in self._started:
            worker.process.kill()

    @property
    def processes(self) -> list["subprocess.Popen[bytes]"]:
        """The workers that are at it."""
        return [worker.process for worker in self._started]

    @property
    def is_watching(self) -> bool:
        """Whether further workers may still be started, or are looked after."""
        return self._thread is not None and self._thread.is_alive()

    def trial_ended(self) -> None:
        """Is told of each trial that ended."""
        self._done += 1

    def _watch(self) -> None:
        while not self._is_worth_it():
            if self._is_over.wait(_LOOK_SECONDS):
                return
        try:
            for _ in range(min(self._count, self._missing - 1)):
                if not self._is_over.is_set():
                    self._start()
        except OSError as err:
            _logger.warning("a further worker of the study was not started; it goes on without: %s", err)
        for worker in tuple(self._started):
            with suppress(OSError):  # it ended by itself, which is told below, or with the study
                self._write_order(worker.process.stdin)  # type: ignore[arg-type]
        while not self._is_over.wait(_LOOK_SECONDS):
            self._report()

    def _is_worth_it(self) -> bool:
        """Whether what is left takes longer than what they need to start, as far as it can be told."""
        spent = time.monotonic() - self._began
        if spent < self._after:
            return False
        left = spent / self._done * (self._missing - self._done) if self._done else float("inf")
        return self._after == 0 or left > 2 * START_SECONDS

    def _start(self) -> None:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        process = subprocess.Popen(
            [sys.executable, "-m", "e2i_pipeline.resources.optuna_worker"],
            env={**os.environ, STORAGE: self._storage, "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        self._started.append(_Started(process, errors))

    def _report(self) -> None:
        """Says once of a worker that it failed: the study goes on without it."""
        for worker in [w for w in self._started if w.process.poll()]:
            worker.errors.seek(0)
            said = worker.errors.read().decode(errors="replace").strip().splitlines()
            _logger.warning(
                "a further worker of the study failed; it goes on without: %s", _safe(said[-1]) if said else ""
            )
            worker.errors.close()
            self._started.remove(worker)


def workers_for(n_jobs: int, cores: int) -> tuple[int, int]:
    """Workers of a study, the present process included, and threads of a fit of each.

    Args:
        n_jobs: Workers that are allowed, >= 1.
        cores: Cores that this process may use, >= 1.
    """
    workers = min(n_jobs, cores)
    return workers, max(1, cores // workers)


def _safe(said: str) -> str:
    """The error's class, and what it says where it is of this product: others may hold a patient's value."""
    return said if said.startswith("e2i_pipeline.errors.") else said.partition(":")[0]
