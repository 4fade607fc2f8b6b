"""From audited tables to the rows a model learns from: published dataset, feature views, Feast, training dataset.

What a feature is stands in `domain/features.py` and `feature_repo/`; how journeys are split in `domain/splits.py`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.config.loader import settings
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import (
    DatasetRef,
    FeatureRegistryRef,
    FeatureTableRef,
    TableRef,
    TrainingDatasetRef,
)
from e2i_pipeline.contracts.statistics import DatasetStatistics
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.feature_statistics import FeatureStatisticsResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.publication import PublicationResource
from e2i_pipeline.resources.stages.retention import RetentionResource
from e2i_pipeline.storage.presentation import (
    feature_table,
    picture,
    table_metadata,
    table_of,
    under_overrides,
    verdict_table,
)
from e2i_pipeline.storage.results import ResultStore

_FEATURE_CODE = code_version(
    *(
        f"domain/{name}.py"
        for name in ("features", "feature_sql", "covariate_sql", "feature_tables", "feature_changes")
    ),
    *(f"domain/{name}.py" for name in ("prediction_time", "cohorts")),
    *(
        f"resources/{name}.py"
        for name in ("feast", "feast_online", "feast_reads", "feature_tables", "stages/modelling")
    ),
    *(f"resources/feast_{name}.py" for name in ("contracts", "definitions", "postgres", "tables")),
    *(f"resources/feast_stores/{name}.py" for name in ("encoding", "expiry", "latest", "writing", "online_sqlite")),
    *(f"resources/feast_stores/{name}.py" for name in ("files", "known_time", "offline", "retrieval")),
)
"""What of our code decides features and modelling rows."""

_STATISTICS_CODE = code_version("domain/feature_statistics.py", "resources/stages/feature_statistics.py")

_PUBLISHING_CODE = code_version("domain/splits.py", "domain/cohorts.py", "resources/stages/publication.py")


@dg.asset(kinds={"parquet", "greatexpectations"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("data_preparer")
def validated_dataset(
    context: dg.AssetExecutionContext,
    patient_journeys: TableRef,
    treatment_events: TableRef,
    hcp_profiles: TableRef,
    engagement_events: TableRef,
    gate: GateResource,
    publication: PublicationResource,
    retention: RetentionResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """One manifest over all source tables that passed the gate, with each journey's split."""
    tables = [patient_journeys, treatment_events, hcp_profiles, engagement_events]
    verdicts = gate.require(tables)
    as_of = gate.dataset_as_of(tables)
    overrides = [verdict.override for verdict in verdicts if verdict.override]
    key = publication.key({t.name: t for t in tables}, as_of, _PUBLISHING_CODE, overrides)
    if kept := results.recall(context, key):
        publication.make_current(kept.value)
        retention.clear_left_over()
        return under_overrides(kept, overrides)
    dataset = publication.publish(key, {t.name: t for t in tables}, as_of, overrides)
    cleaned = retention.clean_after_publication(datetime.now(UTC), context.log.info)
    made = results.keep(
        context,
        key,
        dataset,
        {
            "dagster/row_count": dataset.assignments.rows,
            "as_of": dataset.as_of.isoformat(),
            "splits": table_of({"split": s, "journeys": n} for s, n in sorted(dataset.split_counts.items())),
            "cuts": dataset.cuts.model_dump(mode="json"),
            "tables": table_of(
                {"table": t.name, "rows": t.rows, "version": t.version[:12], "absent": t.is_absent} for t in tables
            ),
            "warnings": dg.MetadataValue.md("\n".join(f"- {w}" for v in verdicts for w in v.warnings) or "none"),
            "manifest": dg.MetadataValue.path(dataset.manifest),
            **cleaned.metadata,
        },
    )
    return under_overrides(made, overrides)


def _feature_view(view: str, grain: str) -> dg.AssetsDefinition:
    @dg.asset(name=view, description=grain, kinds={"parquet", "duckdb"}, retry_policy=ESSENTIAL_TOOL)
    @asset_boundary("data_preparer")
    def features(
        context: dg.AssetExecutionContext,
        validated_dataset: DatasetRef,
        feast: FeastResource,
        results: ResultStore,
        opik: OpikResource,
    ) -> dg.MaterializeResult:
        chosen = settings().features
        key = content_key(view, validated_dataset.key, chosen, _FEATURE_CODE)
        if kept := results.recall(context, key, feast.has_view):
            return kept
        made = feast.write_view(
            view,
            validated_dataset.tables,
            covariates=[c.model_dump() for c in chosen.covariates],
            touch_window_days=chosen.touch_window_days,
            bound=getattr(chosen.bounds, view),
        )
        table, left_out = made.table, made.table.left_out.items()
        shown = {
            **table_metadata(table),
            "computed": made.computed,
            "entities_recomputed": "all" if made.entities_recomputed is None else made.entities_recomputed,
            "rows_reused": made.rows_reused,
            "left_out": table_of({"feature": feature, "reason": why} for feature, why in left_out),
        }
        return results.keep(context, key, table, shown)

    return features


patient_features = _feature_view(
    "patient_features", "One row per patient and change of what is known: history counts, baseline, covariates."
)
hcp_features = _feature_view(
    "hcp_features", "One row per health-care professional and change: profile version, patients, touches so far."
)
engagement_features = _feature_view(
    "engagement_features", "One row per patient and touch: the touches of the window, the channels so far."
)


@dg.asset(kinds={"feast"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("data_preparer")
def feature_registry(
    context: dg.AssetExecutionContext,
    patient_features: FeatureTableRef,
    hcp_features: FeatureTableRef,
    engagement_features: FeatureTableRef,
    feast: FeastResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The applied Feast registry: entities, views and the feature service over the present feature tables."""
    tables = (patient_features, hcp_features, engagement_features)
    key = content_key([t.key for t in tables], _FEATURE_CODE, feast.project, feast.definitions_hash())
    if kept := results.recall(context, key, feast.is_applied):
        return kept
    applied = feast.apply({t.name: t for t in tables})
    return results.keep(
        context,
        key,
        applied,
        {
            "project": applied.project,
            "service": applied.service,
            "features": feature_table(applied.features),
            "left_out": table_of({"feature": f, "reason": why} for f, why in applied.left_out.items()),
            "definitions": dg.MetadataValue.path(applied.definitions),
        },
    )


@dg.asset(kinds={"feast", "sqlite"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("data_preparer")
def online_features(
    context: dg.AssetExecutionContext,
    feature_registry: FeatureRegistryRef,
    validated_dataset: DatasetRef,
    feast: FeastResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The online store, filled with each entity's latest values up to `as_of`."""
    key = content_key(feature_registry.key, validated_dataset.as_of.isoformat(), _FEATURE_CODE)
    if kept := results.recall(context, key, feast.is_materialized):
        return kept
    online = feast.materialize(feature_registry, until=validated_dataset.as_of)
    return results.keep(
        context,
        key,
        online,
        {
            "rows": sum(online.rows.values()),
            "until": online.until.isoformat(),
            "rows_per_second": online.rows_per_second,
            "views": table_of(window.model_dump(mode="json") for window in online.windows),
        },
    )


@dg.asset(partitions_def=BRANDS, kinds={"feast", "parquet"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("data_preparer")
def training_dataset(
    context: dg.AssetExecutionContext,
    validated_dataset: DatasetRef,
    feature_registry: FeatureRegistryRef,
    modelling: ModellingResource,
    gate: GateResource,
    statistics: FeatureStatisticsResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """One row per journey of the brand at its prediction time: what was known then, and the outcome."""
    code = f"{_FEATURE_CODE}{_STATISTICS_CODE}"
    key = modelling.key(context.partition_key, validated_dataset, feature_registry, code)
    if kept := results.recall(context, key, statistics.has):
        return under_overrides(kept, validated_dataset.overrides)
    table = modelling.training_dataset(key, context.partition_key, validated_dataset, feature_registry)
    found = statistics.record(table, context.run.run_id)
    if found.empty:
        said = "In the train split these have no value, so that a model learns nothing from them: %s."
        context.log.warning(said, ", ".join(found.empty))
    shown = {
        **table_metadata(table),
        **_training_metadata(table.split_counts, table),
        **_statistics_metadata(found),
        "as_of": validated_dataset.as_of.isoformat(),
        "feature_service": feature_registry.service,
        "feature_definitions": feature_registry.key,
        "verdicts": verdict_table(gate.verdicts(list(validated_dataset.tables.values()))),
    }
    return under_overrides(results.keep(context, key, table, shown), validated_dataset.overrides)


def _training_metadata(counts: Mapping[str, int], table: TrainingDatasetRef) -> dict[str, object]:
    positive = table.positives  # of a regression there are none
    rows = (
        {"split": s, "journeys": n, **({"positives": positive.get(s, 0)} if positive else {})}
        for s, n in sorted(counts.items())
    )
    return {
        "splits": table_of(rows),
        "features": feature_table(table.features),
        "train_labels_maturing_in_validation": table.label_overlap,
    }


def _statistics_metadata(found: DatasetStatistics) -> dict[str, object]:
    """The statistics as a table and as a picture, and what has no value at all."""
    from e2i_pipeline.domain.feature_plots import distributions
    from e2i_pipeline.domain.feature_statistics import shown_rows

    shown: dict[str, object] = {
        "feature_statistics": table_of(shown_rows(found)),
        "distributions": picture(distributions(found), "distributions"),
    }
    flat = {"without_values": list(found.empty), "constant": list(found.constant)}
    return {**shown, **{name: features for name, features in flat.items() if features}}
