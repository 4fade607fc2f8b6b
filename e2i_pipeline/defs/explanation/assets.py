"""Why the model says what it says, and what a run did: SHAP attributions, the model card, the report of the run.

How attributions are summed and put into words stands in `domain/attribution.py` and `domain/narratives.py`; what the
pages look like in `domain/report.py` and `domain/run_report.py`.
"""

from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.references import (
    AttributionRef,
    BentoRef,
    DatasetRef,
    DeploymentRef,
    FeatureRegistryRef,
    ModelCardRef,
    OnlineFeaturesRef,
    PredictionsRef,
    TrainingDatasetRef,
)
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.explanation import ExplanationResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.modelling_gate import require_gated
from e2i_pipeline.resources.stages.run_report import RunParts, RunReportResource
from e2i_pipeline.storage.presentation import picture, table_of, under_overrides
from e2i_pipeline.storage.results import ResultStore, data_version


@dg.asset(partitions_def=BRANDS, kinds={"shap"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("feature_analyzer")
def shap_analysis(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    trained_model: TrainedModelRef,
    registered_model: ModelVersion,
    gate: GateResource,
    modelling: ModellingResource,
    explanation: ExplanationResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """SHAP values of the registered version on a sample of the test split, per feature, on the model's margin."""
    require_gated(training_dataset, gate, modelling)
    explained = (trained_model.version, _version(registered_model), training_dataset.version)
    key = content_key(explained, explanation.sampling, code_version("domain", "resources/shap.py"))
    overrides = gate.overrides_on(training_dataset)
    if kept := results.recall(context, key, explanation.has):
        return under_overrides(kept, overrides)
    attribution, plot, narrative = explanation.attribute(
        key, training_dataset, trained_model, registered_model, context.run.run_id, datetime.now(UTC)
    )
    shares = ({"feature": f, "share_of_mean_absolute_shap": s} for f, s in attribution.importance.items())
    made = results.keep(
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
    return under_overrides(made, overrides)


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
    answered = [override.entry for override in explanation.gate.overrides_on(training_dataset)]
    versions = (_version(registered_model), hyperparameter_study.mlflow_run_id, model_evaluation.version)
    key = content_key(*(part.key for part in parts), versions, answered, code_version("domain"))
    if kept := results.recall(context, key):
        return kept
    card = explanation.card(key, *parts)
    return results.keep(context, key, card, {"page": dg.MetadataValue.path(card.location), "version": card.version})


@dg.asset(partitions_def=BRANDS, kinds={"html"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("observability_connector")
def run_report(
    context: dg.AssetExecutionContext,
    validated_dataset: DatasetRef,
    feature_registry: FeatureRegistryRef,
    online_features: OnlineFeaturesRef,
    training_dataset: TrainingDatasetRef,
    experiment_scope: ExperimentScope,
    hyperparameter_study: TuningResult,
    trained_model: TrainedModelRef,
    model_evaluation: EvaluationRef,
    registered_model: ModelVersion,
    shap_analysis: AttributionRef,
    model_card: ModelCardRef,
    bento: BentoRef,
    promoted_model: PromotionRef,
    deployment: DeploymentRef,
    batch_predictions: PredictionsRef,
    reports: RunReportResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """One page per run: what came in, what was made of it, what serves now, how long it took and where it lies."""
    parts = RunParts(
        validated_dataset,
        feature_registry,
        online_features,
        training_dataset,
        experiment_scope,
        hyperparameter_study,
        trained_model,
        model_evaluation,
        registered_model,
        shap_analysis,
        model_card,
        bento,
        promoted_model,
        deployment,
        batch_predictions,
    )
    report = reports.write(parts, context.run.run_id, datetime.now(UTC), context.instance, results, opik)
    return dg.MaterializeResult(
        value=report,
        data_version=data_version(report),
        metadata={"page": dg.MetadataValue.path(report.page), "latest": dg.MetadataValue.path(report.location)},
    )


def _version(model: ModelVersion) -> tuple[str, str, str]:
    """What tells a registered version from another one of the same training."""
    return model.name, model.version, model.mlflow_run_id
