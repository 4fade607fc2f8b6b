"""Why the model says what it says: SHAP attributions and the model card.

How attributions are summed and put into words stands in `domain/attribution.py` and `domain/narratives.py`; what the
page looks like in `domain/report.py`.
"""

from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import (
    AttributionRef,
    DatasetRef,
    EvaluationRef,
    ExperimentScope,
    FeatureRegistryRef,
    ModelVersion,
    TrainedModelRef,
    TrainingDatasetRef,
    TuningResult,
)
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.explanation import ExplanationResource
from e2i_pipeline.storage.presentation import picture, table_of
from e2i_pipeline.storage.results import ResultStore


@dg.asset(partitions_def=BRANDS, kinds={"shap"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("feature_analyzer")
def shap_analysis(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    trained_model: TrainedModelRef,
    registered_model: ModelVersion,
    explanation: ExplanationResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """SHAP values of the registered version on a sample of the test split, per feature, on the log-odds margin."""
    key = content_key(trained_model.version, training_dataset.version, explanation.sampling, code_version("domain"))
    if kept := results.recall(context, key):
        return kept
    attribution, plot, narrative = explanation.attribute(
        key, training_dataset, trained_model, registered_model, context.run.run_id, datetime.now(UTC)
    )
    shares = ({"feature": f, "share_of_mean_absolute_shap": s} for f, s in attribution.importance.items())
    return results.keep(
        context,
        key,
        attribution,
        {
            "rows": attribution.rows,
            "method": attribution.method,
            "narrative": dg.MetadataValue.md(narrative),
            "importance": table_of(shares),
            "summary_plot": picture(plot, "SHAP summary"),
            "location": dg.MetadataValue.path(attribution.location),
        },
    )


@dg.asset(partitions_def=BRANDS, kinds={"html"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("feature_analyzer")
def model_card(
    context: dg.AssetExecutionContext,
    validated_dataset: DatasetRef,
    feature_registry: FeatureRegistryRef,
    training_dataset: TrainingDatasetRef,
    experiment_scope: ExperimentScope,
    hyperparameter_study: TuningResult,
    model_evaluation: EvaluationRef,
    registered_model: ModelVersion,
    shap_analysis: AttributionRef,
    explanation: ExplanationResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """One page per version: the data and its defects, features, study, metrics, drivers and limits."""
    parts = (
        validated_dataset,
        feature_registry,
        training_dataset,
        experiment_scope,
        hyperparameter_study,
        model_evaluation,
        registered_model,
        shap_analysis,
    )
    key = content_key(*(part.key for part in parts), model_evaluation.version, code_version("domain"))
    if kept := results.recall(context, key):
        return kept
    card = explanation.card(key, *parts)
    return results.keep(context, key, card, {"page": dg.MetadataValue.path(card.location), "version": card.version})
