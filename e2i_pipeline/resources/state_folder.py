"""What makes a state folder one source's world: the claim that names the source, and the key of its pseudonyms.

Both are made once, by whichever process comes first; who does other work that is to be done once takes a turn. What
else lies in the folder belongs to whoever writes it.
"""

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.errors import ConfigurationError, StateFolderConflict, ToolUnavailable
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    from filelock import FileLock

KEY_VARIABLE = "E2I_PSEUDONYM_KEY"
"""Environment variable that holds the key; without it the key is made once and kept in the folder."""

_SHORTEST_KEY = 16  # characters; a key made here has 64


class StateFolder:
    """The state folder, as the source sees it.

    Args:
        root: The folder; made when absent.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    def claim(self, kind: str, location: str) -> None:
        """Makes this the folder of one source, or finds that it already is.

        Args:
            kind: Kind of source.
            location: Where its input lies; empty for a source without a place.

        Raises:
            StateFolderConflict: The folder is another source's.
            ConfigurationError: The folder cannot be written, or its claim cannot be read.
        """
        path = self.root / "source.json"
        mine = {"kind": kind, "location": location}
        with self._locked():
            if not path.exists():
                write_json(path, mine)
            theirs = self._read_claim(path)
        if theirs != mine:
            raise StateFolderConflict(
                f"The state folder {self.root} holds the source {_in_words(theirs)}, and this run is configured for "
                f"{_in_words(mine)}. One state folder holds one source's world. Set E2I_STATE_DIR to another folder, "
                "or delete this one to begin anew."
            )

    def pseudonym_key(self, environ: Mapping[str, str] | None = None) -> bytes:
        """The key of the pseudonyms: from the environment, else from the folder, made there when absent.

        Args:
            environ: The environment to read; the process's own by default.

        Raises:
            ConfigurationError: The key is too short, or the folder cannot be written.
        """
        env = os.environ if environ is None else environ
        path = self.root / "pseudonym.key"
        if given := env.get(KEY_VARIABLE, "").strip():
            return _checked(given, KEY_VARIABLE)
        with self._locked():
            if not path.exists():
                _write_private(path, secrets.token_hex(32))
            path.chmod(0o600)
            return _checked(path.read_text(encoding="utf-8").strip(), str(path))

    def existing_pseudonym_key(self, environ: Mapping[str, str] | None = None) -> bytes:
        """The key of the pseudonyms, which is never made here: a new one would find nobody.

        Args:
            environ: The environment to read; the process's own by default.

        Raises:
            ConfigurationError: There is no key yet, or it is too short.
        """
        env = os.environ if environ is None else environ
        if not env.get(KEY_VARIABLE, "").strip() and not (self.root / "pseudonym.key").is_file():
            raise ConfigurationError(
                f"There is no pseudonym key in {self.root}: nothing has been landed there. Set E2I_STATE_DIR to the "
                f"state folder of the run, or {KEY_VARIABLE} to its key."
            )
        return self.pseudonym_key(env)

    def turn(self, work: str) -> "FileLock":
        """A lock for work that one process does while the others wait, to find it done then.

        Args:
            work: Name of the work, which names the lock's file.
        """
        from filelock import FileLock

        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{work}.lock")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock

        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / "locks" / "source.lock"):
                yield
        except OSError as err:
            problem = f"The state folder {self.root} cannot be written: {err.strerror or type(err).__name__}."
            if err.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ToolUnavailable(f"{problem} Make room there.") from err
            raise ConfigurationError(f"{problem} Set E2I_STATE_DIR to a folder that this user may write.") from err

    def _read_claim(self, path: Path) -> dict[str, str]:
        try:
            claim = json.loads(path.read_text(encoding="utf-8"))
            return {"kind": str(claim["kind"]), "location": str(claim["location"])}
        except (ValueError, KeyError, TypeError) as err:
            raise ConfigurationError(
                f"{path} should say whose state folder this is, and cannot be read. Delete that file if the folder is "
                "this source's, else set E2I_STATE_DIR to another folder."
            ) from err


def _in_words(claim: Mapping[str, str]) -> str:
    return f"{claim['kind']} at {claim['location']}" if claim["location"] else claim["kind"]


def _checked(key: str, origin: str) -> bytes:
    if len(key) < _SHORTEST_KEY:
        raise ConfigurationError(
            f"The pseudonym key in {origin} has {len(key)} characters and needs {_SHORTEST_KEY} at least. Restore it: "
            "another key gives every patient another pseudonym."
        )
    return key.encode()


def _write_private(path: Path, text: str) -> None:
    """Writes a file that its owner alone may read, complete or not at all."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)  # noqa: PTH105 - atomic by definition on every system
