"""Where the ledger's head is noted outside the metadata database: a file in the state folder, and how a tag says it.

An anchor only ever moves forward, and only along the chain that it was noted on: were it moved on after somebody had
cut or rewritten the ledger, it would no longer tell. Who appends stands in `records/ledger.py`; the tag is set in
`mlflow_ledger.py`.
"""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    from e2i_pipeline.metadata.ledger import LedgerHead

Holds = Callable[["LedgerHead"], bool]
"""Says whether a head that was noted earlier is still an entry of the ledger."""

_LOCK_SECONDS = 60
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")

_log = logging.getLogger(__name__)


def head_text(head: "LedgerHead") -> str:
    """A head as a tag has it: `<sequence>:<hash>`."""
    return f"{head.sequence}:{head.hash}"


def parse_head(text: str, place: str) -> "LedgerHead":
    """Reads what `head_text` wrote.

    Args:
        text: The tag's value.
        place: Where it stands, in words.

    Raises:
        ToolRejected: It is no head.
    """
    from e2i_pipeline.metadata.ledger import LedgerHead

    found = _HEAD.fullmatch(text.strip())
    if not found:
        raise ToolRejected(f"The ledger's anchor in {place} cannot be read: somebody changed it.")
    return LedgerHead(int(found[1]), found[2], place)


def next_anchor(noted: "LedgerHead | None", head: "LedgerHead", holds: Holds) -> bool:
    """Whether an anchor is to be moved to a head: forward only, and only along its own chain.

    Args:
        noted: What the anchor says; None where it says nothing yet.
        head: The ledger's head.
        holds: Whether `noted` is still an entry of the ledger.
    """
    if noted is None:
        return head.sequence > 0
    if not holds(noted):
        _log.error(
            "The ledger no longer holds entry %d as it was anchored in %s; the anchor stays. Run `e2i ledger verify`.",
            noted.sequence,
            noted.place,
        )
        return False
    return head.sequence > noted.sequence


class FileAnchor:
    """The anchor file of a state folder.

    Args:
        path: The file; made at the first entry.
        lock_dir: Folder of the locks between processes of this machine.
    """

    def __init__(self, path: str | Path, lock_dir: str | Path) -> None:
        self.path = Path(path)
        self._lock_dir = Path(lock_dir)

    def read(self) -> "LedgerHead | None":
        """The noted head; None before the first.

        Raises:
            ToolRejected: The file is there and says no head.
        """
        try:
            noted = json.loads(self.path.read_text(encoding="utf-8"))
            text = f"{noted['sequence']}:{noted['hash']}"
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            text = ""
        return parse_head(text, f"the file {self.path}")

    def advance(self, head: "LedgerHead", holds: Holds) -> None:
        """Notes a head, unless a later one is noted, or the noted one is no longer in the ledger.

        Args:
            head: The ledger's head, committed.
            holds: Whether a noted head is still an entry of the ledger.

        Raises:
            ToolUnavailable: The file cannot be written; the entry itself is recorded.
        """
        from filelock import FileLock, Timeout

        try:
            if self._says(head):
                return
            self._lock_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock_dir / "ledger-anchor.lock", timeout=_LOCK_SECONDS):
                if next_anchor(self.read(), head, holds):
                    write_json(self.path, {"sequence": head.sequence, "hash": head.hash})
        except ToolRejected as err:
            _log.error("%s It stays as it is. Run `e2i ledger verify`.", err)
        except (OSError, Timeout) as err:
            raise ToolUnavailable(
                f"The ledger's entry {head.sequence} is recorded, but its anchor {self.path} could not be written "
                f"({getattr(err, 'strerror', None) or type(err).__name__}). Make room there or give this user the "
                "right to write, then run the step again."
            ) from err

    def _says(self, head: "LedgerHead") -> bool:
        noted = self.read()
        return noted is not None and (noted.sequence, noted.hash) == (head.sequence, head.hash)
