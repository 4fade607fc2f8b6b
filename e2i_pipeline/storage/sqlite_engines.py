"""SQLAlchemy engines of SQLite files, made once per process, whose connection stays open between two uses.

Dagster makes an engine and a connection per event. Each engine compiles every statement anew, and each connection that
is the last one to close makes SQLite fold its log into the file and wait for the disk: a run of 31 steps that has
nothing to do took three times as long (Dagster 1.13, SQLAlchemy 2.1). What is written belongs to the caller.
"""

import os
import threading
from collections import OrderedDict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

BUSY_SECONDS = 30
"""Seconds that a connection waits for another process that writes: Dagster's own choice for the event log. Its
databases of runs and schedules have the driver's 5 s."""

KEPT_ENGINES = 16
"""Files that are kept open at most; Dagster has one per run."""

_engines: "OrderedDict[str, sa.Engine]" = OrderedDict()
_guard = threading.Lock()


def engine_of(url: str) -> sa.Engine:
    """The engine of a file, for threads too. A file that is gone, or was, is opened anew.

    Args:
        url: `sqlite:///<file>`; its journal should be a write-ahead log, where fewer waits for the disk lose nothing
            when a process is killed.
    """
    with _guard:
        engine = _engines.pop(url, None) or _made(url)
        if not os.path.exists(engine.url.database or ""):  # noqa: PTH110 - a thousand times a run
            engine.dispose()  # its connection writes into what was deleted
        _engines[url] = engine
        while len(_engines) > KEPT_ENGINES:
            _engines.popitem(last=False)[1].dispose()
    return engine


def close_engines() -> None:
    """Closes what is open and not in use."""
    with _guard:
        while _engines:
            _engines.popitem()[1].dispose()


def _made(url: str) -> sa.Engine:
    engine = sa.create_engine(url, pool_size=1, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _wait_less)
    return engine


def _wait_less(connection: Any, _record: Any) -> None:
    """With a write-ahead log the file cannot be damaged; only what was written just before a power cut can be lost."""
    connection.execute("PRAGMA synchronous = NORMAL")


def _forget() -> None:
    """In a child of a fork: the connections are the parent's, and closing them here would take its locks from it."""
    global _guard
    _guard = threading.Lock()
    while _engines:
        _engines.popitem()[1].dispose(close=False)


os.register_at_fork(after_in_child=_forget)
