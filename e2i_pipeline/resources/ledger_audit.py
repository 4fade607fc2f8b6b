"""Looks at the whole ledger from outside: the metadata database, and the places where its head was noted.

No tool is imported and nothing is written, so that it can be done where nothing else runs. What a broken chain is
stands in `metadata/ledger.py`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.resources.ledger_anchor import FileAnchor, parse_head
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow_glance import Glance
from e2i_pipeline.resources.mlflow_ledger import LEDGER_HEAD, experiment_place
from e2i_pipeline.resources.records.base import Row
from e2i_pipeline.resources.sqlite_glance import sqlite_file

if TYPE_CHECKING:
    from e2i_pipeline.metadata.ledger import LedgerHead


class LedgerAudit:
    """One look at a ledger and its anchors.

    Args:
        metadata: The metadata database, with its anchor file.
        metadata_url: Its URL: a file that is not there is not made.
        tracking_uri: MLflow's tracking URI; only a local SQLite file is looked into.
        experiment_prefix: First part of the names of our experiments.

    Attributes:
        anchors: The heads that were noted outside the ledger.
        unread: Places of anchors that could not be looked at, each in words.
        rows: All entries, in order.

    Raises:
        ToolUnavailable: The database does not answer, or the anchor file cannot be read.
    """

    def __init__(
        self, metadata: MetadataResource, metadata_url: str, tracking_uri: str, experiment_prefix: str
    ) -> None:
        self._metadata = metadata
        self._broken: list[str] = []
        self.anchors: list[LedgerHead] = []
        self.unread: list[str] = []
        file = sqlite_file(metadata_url)
        self._is_there = file is None or file.is_file()
        # before the entries: what is appended meanwhile is then no head that the entries lack
        self._read_file()
        self._read_mlflow(Glance(tracking_uri).experiment_tags(LEDGER_HEAD, experiment_prefix))
        self.rows: list[Row] = metadata.ledger() if self._is_there else []

    def findings(self) -> list[str]:
        """Every break in a sentence, which begins with the entry's number where it shows at an entry."""
        from e2i_pipeline.metadata.ledger import chain_findings

        found = [f"entry {at}: {problem}" for at, problem in chain_findings(self.rows, None, *self.anchors)]
        found += self._broken
        if self.rows and not any(self._is_ours(anchor.place) for anchor in self.anchors) and not self._broken:
            found.append(
                f"the anchor file {self._metadata.anchor} is missing: it was deleted, or nothing was decided from this "
                "state folder yet; without it a ledger that was cut short or rewritten may pass for a whole one"
            )
        return found + self._beside()

    def _beside(self) -> list[str]:
        """Verdicts that the ledger does not bear out."""
        keys = self._metadata.verdicts_beside_the_ledger() if self._is_there else []
        return [
            f"the stored verdict on {key.subject} (version {key.data_version[:12]}) is not the one in the ledger: the "
            "verdict or its entry was changed, and it does not count"
            for key in keys
        ]

    def _is_ours(self, place: str) -> bool:
        return self._metadata.anchor in place

    def _read_file(self) -> None:
        try:
            self._take(FileAnchor(self._metadata.anchor, self._metadata.lock_dir).read)
        except OSError as err:
            raise ToolUnavailable(
                f"The ledger's anchor {self._metadata.anchor} cannot be read: {err.strerror}. Give this user the right "
                "to read it, then verify again."
            ) from err

    def _read_mlflow(self, tags: dict[str, str] | None) -> None:
        if tags is None:
            self.unread.append("MLflow's: its store is no SQLite file on this machine, or another program's")
        for name, text in (tags or {}).items():
            place = experiment_place(name)
            self._take(lambda text=text, place=place: parse_head(text, place))

    def _take(self, read: "Callable[[], LedgerHead | None]") -> None:
        try:
            head = read()
        except ToolRejected as err:
            self._broken.append(str(err))
        else:
            self.anchors += [head] if head is not None else []
