"""Writes finished spans: a queue, and one thread that stores them in batches.

Tracing is auxiliary: what cannot be stored is spooled and stored later, and the traced work never waits or fails. What
a span is stands in `opik_spans.py`, what is sent to an Opik server in `opik_export.py`.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.resilience import CircuitBreaker, Record, Spool

logger = logging.getLogger(__name__)

_BATCH = 500  # rows of one transaction
_GATHER_SECONDS = 0.2  # how long a batch may wait for more
_TIMES = ("trace_started_at", "started_at", "ended_at")


class WriterStatus(NamedTuple):
    """What has become of the spans of this process.

    Attributes:
        recorded: Spans in the table.
        spooled: Spans that wait in the spool, those of other processes included.
        refused: Spans that the table refused; they lie beside the spool.
        is_degraded: Whether anything waits, was refused, or the table is not reachable.
    """

    recorded: int
    spooled: int
    refused: int
    is_degraded: bool


class _Marker(NamedTuple):
    """A place in the queue: `stored` is set when all before it has left the queue, `done` after the turn's export."""

    stored: threading.Event
    done: threading.Event


class SpanWriter:
    """The queue and its thread; one per process and database."""

    def __init__(
        self,
        store: Callable[[Sequence[Record]], None],
        spool: Spool,
        refused: Spool,
        export: Callable[[], None] | None = None,
    ) -> None:
        """Makes a writer; the thread starts with the first span.

        Args:
            store: Stores a batch; a row that it has already stored is no error.
            spool: Where spans wait when they cannot be stored.
            refused: Where spans go that will never be stored.
            export: Sends what is stored, after each batch; it must not raise.
        """
        self.breaker = CircuitBreaker("The table of spans")
        self._store = store
        self._spool = spool
        self._refused = refused
        self._export = export
        self._queue: queue.SimpleQueue[Record | _Marker] = queue.SimpleQueue()
        self._in_hand: list[Record] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._counts = {"recorded": 0, "refused": 0}

    @property
    def status(self) -> WriterStatus:
        """What has become of the spans so far."""
        spooled, refused = len(self._spool), self._counts["refused"]
        degraded = bool(spooled or refused) or self.breaker.state != "closed"
        return WriterStatus(self._counts["recorded"], spooled, refused, degraded)

    def add(self, record: Record) -> None:
        """Takes a span's row; returns at once."""
        self._queue.put(record)
        self._start()

    def flush(self, seconds: float) -> bool:
        """Waits until all that was taken is stored, or spooled, and one export was tried.

        Args:
            seconds: At most so long.

        Returns:
            Whether it is in the table.
        """
        if not self._thread and self._queue.empty():
            return len(self._spool) == 0
        marker = _Marker(threading.Event(), threading.Event())
        self._queue.put(marker)
        self._start()
        ends = time.monotonic() + seconds
        stored = marker.stored.wait(seconds)
        if stored and self._export:
            marker.done.wait(max(0.0, ends - time.monotonic()))
        return stored and not self.status.is_degraded

    def close(self, seconds: float) -> None:
        """Flushes; what is not stored by then goes to the spool, for the next process to store."""
        self.flush(seconds)
        left = list(self._in_hand)
        while not self._queue.empty():
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(item, _Marker):
                left.append(item)
        if left:
            self._to_spool(left)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="e2i-spans", daemon=True)
                # While the interpreter shuts down no thread starts: what is left goes to the spool.
                with contextlib.suppress(RuntimeError):
                    self._thread.start()

    def _run(self) -> None:
        while True:
            markers = self._gather()
            if self._in_hand:
                self._record(self._in_hand)
                self._in_hand = []
            for marker in markers:
                marker.stored.set()
            if self._export:
                self._export()
            for marker in markers:
                marker.done.set()

    def _gather(self) -> list[_Marker]:
        """Waits for a span, then a little for more; a marker ends the wait."""
        item = self._queue.get()
        ends = time.monotonic() + _GATHER_SECONDS
        while not isinstance(item, _Marker):
            self._in_hand.append(item)
            left = ends - time.monotonic()
            if len(self._in_hand) >= _BATCH or left <= 0:
                return []
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                return []
        return [item]

    def _record(self, batch: Sequence[Record]) -> None:
        """Stores a batch and what waited; whatever goes wrong, the spans are kept and the thread lives on."""
        try:
            self.breaker.call(lambda: self._put(batch))
        except Exception as err:
            if not self.status.is_degraded:
                logger.warning("Spans cannot be stored and wait in %s: %s", self._spool.file, err)
            self._to_spool(batch)
            return
        try:
            self.breaker.call(lambda: self._spool.deliver(lambda waiting: self._put(_revived(waiting)), _BATCH))
        except Exception as err:
            logger.warning("Spans still wait in %s: %s", self._spool.file, err)

    def _put(self, batch: Sequence[Record]) -> None:
        try:
            self._store(batch)
        except ToolRejected as err:
            if len(batch) > 1:  # one bad row must not take the others with it
                for record in batch:
                    self._put([record])
                return
            logger.error("A span was refused and lies in %s: %s", self._refused.file, err)  # noqa: TRY400
            self._refused.add(batch)
            self._counts["refused"] += 1
        else:
            self._counts["recorded"] += len(batch)

    def _to_spool(self, batch: Sequence[Record]) -> None:
        try:
            self._spool.add(batch)
        except OSError as err:
            self._counts["refused"] += len(batch)
            logger.error("%d spans are lost: %s cannot be written: %s", len(batch), self._spool.file, err)  # noqa: TRY400


def _revived(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [{**r, **{name: datetime.fromisoformat(r[name]) for name in _TIMES}} for r in records]
