"""Feature tables where the offline store reads them: nothing to do for files, a copy for PostgreSQL.

Redshift is not tried, and nothing is copied there: its tables must be loaded by other means.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.references import FeatureTableRef
from e2i_pipeline.resources import feast_postgres
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast_config import offline_kind
from e2i_pipeline.resources.feast_contracts import pins, source_of
from e2i_pipeline.resources.feast_repository import FeastRepository

if TYPE_CHECKING:
    from feast import FeatureStore


def publish(repository: FeastRepository, engine: EngineResource, tables: Iterable[FeatureTableRef]) -> None:
    """Puts feature tables where the offline store of the configuration reads them.

    Raises:
        ToolUnavailable: Its database does not answer.
        ConfigurationError: Its database refuses.
    """
    settings = repository.settings()
    if offline_kind(settings) == "postgres":
        feast_postgres.publish(engine, settings["offline_store"], settings["project"], tables)


def drop_unused(repository: FeastRepository, store: "FeatureStore", folder: Path) -> None:
    """Drops copies that neither a view nor a pinned service refers to.

    Args:
        repository: The repository and its configuration.
        store: The open store, just applied.
        folder: Folder of the feature store's files within the state folder.

    Raises:
        ToolUnavailable: The database does not answer.
    """
    settings = repository.settings()
    if offline_kind(settings) != "postgres":
        return
    used = {source_of(view) for view in store.list_feature_views()}
    used |= {table for pin in pins(folder).values() for table in pin["tables"].values()}
    feast_postgres.drop_unused(settings["offline_store"], settings["project"], used)
