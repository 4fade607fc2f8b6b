"""Places to work in until a result is moved into its own, and that nobody misses afterwards.

Such a file or folder is locked for as long as its process works in it, and the operating system frees the lock when the
process ends, however it ends. So what a killed process left behind can be told from what another one is writing at the
moment, and is cleared by the next one that writes to the same place.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDERS = ".writing-"
"""How the names of folders begin. A reader of data passes over them: none of it is in its place yet."""


@contextmanager
def scratch_folder(beside: str | Path) -> Iterator[Path]:
    """An empty folder for this process alone, gone after the block unless it was moved away.

    Args:
        beside: Folder that it lies in, made when absent; so it can be renamed into place there.
    """
    with _claimed(Path(beside), _FOLDERS, Path.mkdir) as scratch:
        yield scratch


@contextmanager
def scratch_file(target: Path) -> Iterator[Path]:
    """An empty file for this process alone beside `target`, gone after the block unless it was moved there.

    Args:
        target: The file that is to be written; its folder is made when absent.
    """
    with _claimed(target.parent, f".{target.name}.", Path.touch) as scratch:
        yield scratch


def clear_abandoned(folder: Path, prefix: str = _FOLDERS) -> None:
    """Removes what processes that ended without a word left behind in a folder.

    Args:
        folder: Where to look.
        prefix: How its names begin.
    """
    for path in folder.glob(f"{prefix}*"):
        descriptor = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if descriptor is not None:
            _remove(path)
            os.close(descriptor)


@contextmanager
def _claimed(folder: Path, prefix: str, make: Callable[[Path], None]) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    clear_abandoned(folder, prefix)
    scratch, descriptor = _claim(folder, prefix, make)
    try:
        yield scratch
    finally:
        _remove(scratch)
        os.close(descriptor)


def _claim(folder: Path, prefix: str, make: Callable[[Path], None]) -> tuple[Path, int]:
    """A new scratch of this process, and the descriptor that holds its lock."""
    while True:
        scratch = folder / f"{prefix}{uuid.uuid4().hex}"
        make(scratch)
        descriptor = _locked(scratch, fcntl.LOCK_EX)
        if descriptor is None:
            continue
        if scratch.exists():
            return scratch, descriptor
        os.close(descriptor)  # another process took it for abandoned in the moment before it was locked


def _locked(path: Path, how: int) -> int | None:
    """A descriptor that holds a path's lock; None where it is gone, or where another process has the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
