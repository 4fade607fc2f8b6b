"""The four source tables, each landed as an immutable, pseudonymized snapshot.

What must be true of them stands in `checks.py`; how they are read stands in `resources/sources.py`.
"""

from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.config.loader import settings
from e2i_pipeline.contracts.tables import TABLES, TableSchema
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline.storage.presentation import table_metadata
from e2i_pipeline.storage.results import data_version


def _staged(schema: TableSchema) -> dg.AssetsDefinition:
    @dg.asset(
        name=schema.name,
        description=f"{schema.grain} As landed: identifiers are pseudonyms, direct identifiers are gone.",
        kinds={"parquet", "duckdb", settings().source.kind},
        retry_policy=ESSENTIAL_TOOL,
    )
    @asset_boundary("data_preparer")
    def staged(context: dg.AssetExecutionContext, source: SourceResource, opik: OpikResource) -> dg.MaterializeResult:
        is_unchanged = source.is_landed(schema.name)
        table = source.stage(schema.name, now=datetime.now(UTC))
        if table.is_absent:
            context.log.info("The source has no such table.")
        return dg.MaterializeResult(
            value=table,
            metadata={**table_metadata(table), "unchanged": is_unchanged},
            data_version=data_version(table),
        )

    return staged


patient_journeys = _staged(TABLES["patient_journeys"])
treatment_events = _staged(TABLES["treatment_events"])
hcp_profiles = _staged(TABLES["hcp_profiles"])
engagement_events = _staged(TABLES["engagement_events"])
