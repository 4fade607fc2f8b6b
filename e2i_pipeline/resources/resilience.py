"""What an auxiliary tool needs in order to fail without harm: a circuit breaker, and a spool of what waits.

Generic: it knows no tool. Which tool is auxiliary, and what its records are, stands in its adapter. An essential tool
does not use this: it raises `ToolUnavailable` and the step is retried.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from e2i_pipeline.errors import ToolUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
Record = Mapping[str, Any]


class CircuitBreaker:
    """Stops calling a tool that keeps failing, and tries it again after a while.

    Closed, it lets every call through. After `failure_threshold` consecutive failures it opens and refuses calls for
    `recovery_seconds`. Then it is half open: it lets through at most `half_open_calls` calls, closes when all of them
    have succeeded, and opens again when one fails. Safe to share between threads.

    The defaults are the platform's own (`failure_threshold`, `recovery_timeout`, `half_open_requests`).
    """

    def __init__(
        self,
        tool: str,
        failure_threshold: int = 5,
        recovery_seconds: float = 30.0,
        half_open_calls: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes a closed circuit.

        Args:
            tool: Name for messages.
            failure_threshold: Consecutive failures that open it, >= 1.
            recovery_seconds: Seconds that it stays open.
            half_open_calls: Calls let through while half open, >= 1.
            clock: Seconds of a monotonic clock.
        """
        self.tool = tool
        self._threshold = failure_threshold
        self._recovery = recovery_seconds
        self._trials = half_open_calls
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._granted = 0
        self._succeeded = 0

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        with self._lock:
            return self._state()

    def call(self, work: Callable[[], T]) -> T:
        """Calls the tool through the circuit.

        Raises:
            ToolUnavailable: The circuit is open; the tool was not called.
            Exception: What `work` raised; it counts as a failure.
        """
        self._admit()
        try:
            result = work()
        except BaseException:
            self._failed()
            raise
        self._went_well()
        return result

    def _state(self) -> str:
        if self._opened_at is None:
            return "closed"
        return "open" if self._clock() - self._opened_at < self._recovery else "half_open"

    def _admit(self) -> None:
        with self._lock:
            state = self._state()
            if state == "closed":
                return
            if state == "half_open" and self._granted < self._trials:
                self._granted += 1
                return
            wait = max(0.0, self._recovery - (self._clock() - (self._opened_at or 0.0)))
            raise ToolUnavailable(
                f"{self.tool} was not called: {self._failures} consecutive calls failed. "
                f"It is tried again in {wait:.0f} s."
            )

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            # A call from before it opened may end late: it changes nothing then.
            is_trial = self._granted > 0
            if is_trial or (self._opened_at is None and self._failures >= self._threshold):
                self._opened_at, self._granted, self._succeeded = self._clock(), 0, 0

    def _went_well(self) -> None:
        with self._lock:
            if self._opened_at is None:
                self._failures = 0
                return
            if not self._granted:
                return
            self._succeeded += 1
            if self._succeeded >= self._trials:
                self._failures, self._opened_at, self._granted, self._succeeded = 0, None, 0, 0


class Spool:
    """Records that could not be delivered yet, one JSON object per line in one file.

    Several processes may share it. A record may be delivered twice when a process dies in between, never lost: the
    receiver must take a repeated record for the same one.
    """

    def __init__(self, file: str | Path) -> None:
        """Names the spool's file; nothing is made before there is a record."""
        self.file = Path(file)

    def add(self, records: Sequence[Record]) -> None:
        """Appends records, JSON objects each; datetimes are kept as ISO texts.

        Raises:
            OSError: The file cannot be written.
        """
        lines = "".join(json.dumps(dict(r), default=str) + "\n" for r in records)
        with self._alone(), self.file.open("a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":
                    file.write(b"\n")  # a process died within a line: ours must not be lost with it
            file.write(lines.encode())

    def deliver(self, receive: Callable[[Sequence[Record]], None], batch: int = 500) -> int:
        """Hands over what waits, oldest first, and forgets what was taken.

        Args:
            receive: Takes a batch, or raises: then this batch and all behind it keep waiting.
            batch: Records handed over at a time.

        Returns:
            Records delivered.

        Raises:
            Exception: What `receive` raised.
        """
        if not self.file.exists():
            return 0
        delivered = 0
        with self._alone():
            waiting = self._read()
            try:
                while waiting[delivered:]:
                    receive(waiting[delivered : delivered + batch])
                    delivered = min(delivered + batch, len(waiting))
            finally:
                self._keep(waiting[delivered:])
        return delivered

    def count(self, counts: Callable[[Record], bool]) -> int:
        """Number of waiting records for which a condition holds."""
        return sum(1 for record in self._read() if counts(record)) if self.file.exists() else 0

    def __len__(self) -> int:
        """Number of records that wait."""
        try:
            with self.file.open(encoding="utf-8") as file:
                return sum(1 for _ in file)
        except FileNotFoundError:
            return 0

    def _alone(self) -> Any:
        from filelock import FileLock

        self.file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.file}.lock")

    def _read(self) -> list[Record]:
        records: list[Record] = []
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return records
        for line in lines:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                logger.warning("%s: a line was cut short by a process that died; it is left out.", self.file)
        return records

    def _keep(self, records: Sequence[Record]) -> None:
        """Replaces the file at once: after a crash it holds the old records or the new ones."""
        if not records:
            self.file.unlink(missing_ok=True)
            return
        fresh = self.file.with_suffix(".writing")
        fresh.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        fresh.replace(self.file)
