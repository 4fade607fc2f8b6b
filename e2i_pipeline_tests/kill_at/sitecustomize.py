"""Kills a process of Dagster, with its whole group, right before its n-th lasting change. Tests only.

Python imports a module of this name at start-up where it finds one; `kill_runs` puts this folder on PYTHONPATH. A
lasting change is a file moved or removed, or a transaction committed through SQLAlchemy, other than those of Dagster's
own event log. With `E2I_KILL_AT=0` they are only counted, into the file that `E2I_KILL_COUNT` names. Where the product
was when it was killed is written into the file that `E2I_KILL_NOTE` names.
"""

import atexit
import itertools
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

_AT, _COUNT = os.environ.get("E2I_KILL_AT"), os.environ.get("E2I_KILL_COUNT")
_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.truncate"}
_seen: dict[str, int] = {"changes": 0}
_watched: set[str] = set()


def _commit(connection: Any) -> None:
    if "/dagster/" not in str(connection.engine.url):
        _change()


def _change() -> None:
    _seen["changes"] += 1
    if _seen["changes"] == int(_AT or 0):
        if note := os.environ.get("E2I_KILL_NOTE"):
            _tell_where(Path(note))
        os.killpg(0, signal.SIGKILL)


def _hook(event: str, _arguments: tuple[Any, ...]) -> None:
    if event in _EVENTS:
        _change()
    elif event == "sqlite3.connect" and "commits" not in _watched and "sqlalchemy.event" in sys.modules:
        _watched.add("commits")
        from sqlalchemy import event as events
        from sqlalchemy.engine import Engine

        events.listen(Engine, "commit", _commit)


def _tell(file: Path) -> None:
    file.write_text(str(_seen["changes"]), encoding="utf-8")


def _tell_where(file: Path) -> None:
    frames = [frame for frame in traceback.extract_stack() if "/e2i_pipeline/" in frame.filename]
    places = [f"{frame.filename.partition('/e2i_pipeline/')[2]}:{frame.name}" for frame in frames]
    file.write_text("\n".join(places), encoding="utf-8")


def _is_dagster() -> bool:
    arguments = [os.fsdecode(argument) for argument in sys.orig_argv]
    return any(pair == ("-m", "dagster") for pair in itertools.pairwise(arguments))


if _AT is not None and _is_dagster():
    sys.addaudithook(_hook)
    if _COUNT:
        atexit.register(_tell, Path(_COUNT))
