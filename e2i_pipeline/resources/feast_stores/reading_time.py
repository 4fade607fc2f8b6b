"""As of when an online read applies the TTL: Feast's interface has no argument for it.

By default it is the clock. What the TTL does to an answer stands in `expiry.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

EVER = datetime.min.replace(tzinfo=UTC)
"""Before all: read as of then, nothing has expired."""

_AT: ContextVar[datetime | None] = ContextVar("reading_time", default=None)


@contextmanager
def reading_at(moment: datetime) -> Iterator[None]:
    """Reads within are as of a moment (aware, or naive in UTC), in this thread or task and what it starts."""
    token = _AT.set(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
    try:
        yield
    finally:
        _AT.reset(token)


def reading_time() -> datetime:
    """The moment that reads are as of (aware)."""
    return _AT.get() or datetime.now(UTC)
