"""Seconds spent within calls, by kind; a call within a call counts once."""

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """Seconds and calls by kind."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._within = threading.local()

    @contextmanager
    def counting(self, kind: str) -> Iterator[None]:
        """Counts what the block takes, unless it is within one that is counted."""
        if getattr(self._within, "is_so", False):
            yield
            return
        self._within.is_so = True
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] += time.perf_counter() - began
            self.calls[kind] += 1
            self._within.is_so = False

    def watch(self, owner: type, names: set[str], kind: str) -> None:
        """Counts the calls of methods that a class itself defines."""
        for name in names & set(vars(owner)):
            method = vars(owner)[name]
            if callable(method):
                setattr(owner, name, self._counted(method, kind))

    def _counted(self, method: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.counting(kind):
                return method(*args, **kwargs)

        return counted
