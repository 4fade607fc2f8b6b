"""Keeps data from being cleaned up under its reader's hands.

Each version of a table has a folder, and each published dataset a manifest, that is called by its content hash or key.
When it was last used stands in its modification time. Whoever resolves a reference says so first; whoever cleans up
takes away only what nobody has used for long. Both hold the thing's own lock for that moment, so that neither can come
between the other's look and its act. What may be cleaned up at all is decided elsewhere.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from e2i_pipeline.contracts.base import Reference

_NAME = re.compile(r"[0-9a-f]{32}")
_FILE_FIELDS = ("location", "plot", "golden_request", "definitions", "manifest")


def places_named(reference: Reference) -> Iterator[str]:
    """Every file that a reference names, or a reference within it."""
    yield from filter(None, (getattr(reference, field, "") for field in _FILE_FIELDS))
    for value in vars(reference).values():
        for part in value.values() if isinstance(value, Mapping) else [value]:
            if isinstance(part, Reference):
                yield from places_named(part)


def keep_for_use(reference: Reference) -> bool:
    """Says that what a reference names is used from now on; false where a part of it is gone."""
    are_there = [in_use(thing) for thing in {*map(_thing_of, places_named(reference))} if thing]
    return all(are_there)


def in_use(thing: Path) -> bool:
    """Says that a version's folder, or a manifest, is used from now on; false where it is gone."""
    descriptor = _opened(thing)
    if descriptor is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not _is_still(thing, descriptor):
            return False
        os.utime(descriptor)
    except PermissionError:  # of another user, who alone can clean it up
        return thing.exists()
    finally:
        os.close(descriptor)
    return True


def take_away(thing: Path, target: Path, used_before: float) -> bool:
    """Moves a thing away, unless it has been used meanwhile or somebody is at work on it.

    Args:
        thing: The folder of a version, or a manifest.
        target: Where to, on the same file system.
        used_before: Seconds since the epoch: what was used later stays.

    Returns:
        Whether it was moved.
    """
    descriptor = _opened(thing)
    if descriptor is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_mtime >= used_before or not _is_still(thing, descriptor):
            return False
        os.rename(thing, target)  # noqa: PTH104 - Path.rename moves into an existing folder on some systems
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _thing_of(place: str) -> Path | None:
    path = Path(place)
    if _NAME.fullmatch(path.stem):
        return path
    return path.parent if _NAME.fullmatch(path.parent.name) else None


def _opened(thing: Path) -> int | None:
    try:
        return os.open(thing, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_still(thing: Path, descriptor: int) -> bool:
    """Whether a path still leads to what was opened: it may have been moved before the lock was taken."""
    try:
        return os.path.samestat(thing.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
