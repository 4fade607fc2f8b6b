"""Who is still at work: a lease is a file that its process holds locked for as long as the work is open.

The operating system frees the lock when the process ends, however it ends, so that what a killed process left open can
be told from what another one is still doing: no process number, clock or time-out is asked. Leases are seen on one
machine only, where the state folder lies. What to do about abandoned work belongs to whoever takes the leases.
"""

import fcntl
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ENDING = ".lease"


class Leases:
    """The leases of one kind of work.

    Args:
        folder: Where their files lie; made with the first lease.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._held: dict[str, tuple[int, Path]] = {}
        self._guard = threading.Lock()

    def take(self, name: str) -> None:
        """Says that this process is at work on something; nothing changes where it has said so already.

        Args:
            name: What it works on; no slash. Several processes may hold leases of one name.
        """
        with self._guard:
            if name not in self._held:
                self._held[name] = self._made(name)

    def release(self, name: str) -> None:
        """Says that this process is done with it; nothing changes where it never said that it began.

        What is never released is found as abandoned when the process has ended.
        """
        with self._guard:
            if held := self._held.pop(name, None):
                descriptor, path = held
                path.unlink(missing_ok=True)
                os.close(descriptor)

    def abandoned(self) -> Iterator[str]:
        """What a process was at work on when it ended without a word, and no other process is at work on.

        Each is given to one caller at a time. It is forgotten as soon as the next one is asked for; where the caller
        does not come back, because it failed, it will be found again.
        """
        if not any(self.folder.glob(f"*{_ENDING}")):
            return
        with _alone(self.folder) as is_alone:
            for path in sorted(self.folder.glob(f"*{_ENDING}")) if is_alone else ():
                if _is_held(path) or not path.exists():
                    continue
                name = path.name.partition("@")[0]
                if not self.is_held(name):
                    yield name
                path.unlink(missing_ok=True)

    def is_held(self, name: str) -> bool:
        """Whether a process of this machine is at work on it."""
        return any(map(_is_held, self.folder.glob(f"{name}@*{_ENDING}")))

    def _made(self, name: str) -> tuple[int, Path]:
        """The locked file. It gets its name when it is locked, so that nobody sees it free."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}@{uuid.uuid4().hex}{_ENDING}"
        scratch = path.with_suffix(".new")
        descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(scratch, path)  # noqa: PTH104 - keeps the open file, and the lock with it
        except OSError:
            os.close(descriptor)
            raise
        return descriptor, path


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Lets one process at a time look for abandoned work; false where another one is at it."""
    descriptor = os.open(folder / ".looking", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _is_held(path: Path) -> bool:
    """Whether the process that took a lease lives; false, too, where the lease is over."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
