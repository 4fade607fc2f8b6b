"""The metadata database as a resource: what each stage records of its work, and what a gate reads back.

Every method may be called again with the same content: it finds its row by the content's own key. Times are arguments;
no clock is read here. The methods stand in `records/` by topic, the tables in `e2i_pipeline.metadata`, which is
imported (with SQLAlchemy) at first use.
"""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from e2i_pipeline.errors import ConfigurationError, ToolRejected
from e2i_pipeline.resources.ledger_anchor import FileAnchor
from e2i_pipeline.resources.records.base import Row
from e2i_pipeline.resources.records.evaluation import EvaluationRecords
from e2i_pipeline.resources.records.features import FeatureRecords
from e2i_pipeline.resources.records.ledger import LedgerRecords
from e2i_pipeline.resources.records.operations import OperationRecords
from e2i_pipeline.resources.records.quality import QualityRecords
from e2i_pipeline.resources.records.registry import RegistryRecords
from e2i_pipeline.resources.records.training import TrainingRecords

if TYPE_CHECKING:
    from e2i_pipeline.metadata.database import Database


class MetadataResource(
    QualityRecords,
    TrainingRecords,
    RegistryRecords,
    EvaluationRecords,
    FeatureRecords,
    OperationRecords,
    LedgerRecords,
    dg.ConfigurableResource,
):
    """The `ml_*` tables, the gate's verdicts and the ledger. Essential: a stage that cannot record fails.

    Each method raises `ToolUnavailable` when the database does not answer, and `ToolRejected` when it refuses.

    Attributes:
        url: `sqlite:///<file>` or `postgresql://...`; it may carry a password and is never shown.
        lock_dir: Folder of the locks between processes of this machine, and of what waits to be recorded.
        anchor: File in which the ledger's head is noted outside the database; empty for none.
    """

    url: str = Field(repr=False)
    lock_dir: str
    anchor: str = ""

    def rows(self, table: str, **equal: Any) -> list[Row]:
        """The rows of any metadata table whose columns have these values.

        Raises:
            ToolRejected: There is no such table or column.
            ToolUnavailable: The database does not answer.
        """
        from e2i_pipeline.metadata.tables import METADATA

        known = METADATA.tables
        if table not in known:
            raise ToolRejected(f"There is no metadata table {table}. Tables: {', '.join(sorted(known))}.")
        if unknown := sorted(set(equal) - set(known[table].c.keys())):
            raise ToolRejected(f"{table} has no column {', '.join(unknown)}.")
        return self._database().rows(known[table].select().filter_by(**equal))

    def _anchor(self) -> FileAnchor | None:
        return FileAnchor(self.anchor, self.lock_dir) if self.anchor else None

    def _database(self) -> "Database":
        """The database of this process, migrated when first used. A child of a fork opens its own."""
        # Outside a run Dagster has not resolved the variable yet.
        url = self.url.get_value() if isinstance(self.url, dg.EnvVar) else self.url
        if not url:
            raise ConfigurationError("The metadata database has no URL: set E2I_METADATA_URL.")
        return _open(url, os.getpid())


@lru_cache(maxsize=8)
def _open(url: str, _process: int) -> "Database":
    from e2i_pipeline.metadata.migration import migrate

    return migrate(url)
