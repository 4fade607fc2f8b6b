"""From scope to champion, per brand: scope, study, model, evaluation, registered version, promotion.

One training has one key; the study, the MLflow run and the registered version hang on it, so that a repeated run finds
what exists. How models are fitted and judged stands in `domain/`, how a decision is made in `domain/promotion.py`.
"""

from datetime import UTC, datetime
from functools import partial

import dagster as dg

from e2i_pipeline.config.loader import settings
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.references import BentoRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.defs.launcher import launcher
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.domain.features import observation_window
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.evaluation import EvaluationResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.modelling_gate import require_gated
from e2i_pipeline.resources.stages.promotion import PromotionResource
from e2i_pipeline.resources.stages.training import TrainingResource
from e2i_pipeline.storage.evaluation_view import evaluation_metadata, scope_metadata
from e2i_pipeline.storage.presentation import picture, table_of, under_overrides
from e2i_pipeline.storage.results import ResultStore


class StudyConfig(dg.Config):
    """How much to search this time; what is not given comes from the configuration.

    Attributes:
        n_trials: Finished trials to reach.
        timeout: Seconds after which no new trial begins.
    """

    n_trials: int | None = None
    timeout: int | None = None


@dg.asset(partitions_def=BRANDS, kinds={"json"}, deps=["training_dataset"], retry_policy=ESSENTIAL_TOOL)
@asset_boundary("scope_definer")
def experiment_scope(
    context: dg.AssetExecutionContext, metadata: MetadataResource, results: ResultStore, opik: OpikResource
) -> dg.MaterializeResult:
    """What is to be predicted for the brand, and what counts as good enough: fixed before training."""
    scope = _scope(context.partition_key)
    if kept := results.recall(context, scope.key, metadata.has_experiment):
        return kept
    metadata.record_experiment(scope, mlflow_experiment_id="", run_id=context.run.run_id)
    return results.keep(context, scope.key, scope, scope_metadata(scope))


@dg.asset(partitions_def=BRANDS, kinds={"optuna", "mlflow", "xgboost", "scikitlearn"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_selector")
def hyperparameter_study(
    context: dg.AssetExecutionContext,
    config: StudyConfig,
    training_dataset: TrainingDatasetRef,
    experiment_scope: ExperimentScope,
    gate: GateResource,
    modelling: ModellingResource,
    training: TrainingResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The brand's Optuna study: the best algorithm and parameters on the validation split."""
    require_gated(training_dataset, gate, modelling)
    overrides = gate.overrides_on(training_dataset)
    key = training.key(training_dataset, experiment_scope, config.n_trials)
    modelling.note_use(key, training_dataset)
    kept = results.recall(context, key, training.has_run)
    if kept and (longer := training.longer_key(kept.value, config.timeout)) != key:
        context.log.info("The earlier study was cut short by its time-out, and may take longer now.")
        modelling.note_use(longer, training_dataset)
        key, kept = longer, results.recall(context, longer, training.has_run)
    if kept:
        return under_overrides(kept, overrides)
    tuned, outcome = training.study(
        key, training_dataset, experiment_scope, config.n_trials, config.timeout, context.run.run_id, context.log.info
    )
    pictures = training.pictures(outcome)
    training.mlflow.log_pictures(tuned.mlflow_run_id, pictures, "study")
    made = results.keep(
        context,
        key,
        tuned,
        {
            "best_value": tuned.best_value,
            "algorithm": tuned.algorithm,
            "parameters": dict(tuned.parameters),
            "trials": tuned.trials,
            "seconds": tuned.seconds,
            "is_reproducible": tuned.is_reproducible,
            "failures": outcome.failures,
            "study": tuned.study,
            "mlflow_run": training.mlflow.ui_url(tuned.mlflow_run_id, tuned.mlflow_experiment_id),
            "tracking": training.mlflow.tracking_state(tuned.mlflow_run_id),
            "algorithms": table_of(score.model_dump(exclude={"folds"}) for score in tuned.comparison),
            "warm_started_from": tuned.warm_started_from or "nothing",
            **{name: picture(png, name) for name, png in pictures.items()},
        },
    )
    return under_overrides(made, overrides)


@dg.asset(partitions_def=BRANDS, kinds={"mlflow"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_trainer")
def trained_model(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    experiment_scope: ExperimentScope,
    hyperparameter_study: TuningResult,
    gate: GateResource,
    modelling: ModellingResource,
    training: TrainingResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The model fitted on the train split with the study's best parameters, in open formats, logged to MLflow."""
    require_gated(training_dataset, gate, modelling)
    modelling.require_use(hyperparameter_study.key, training_dataset)
    key, overrides = hyperparameter_study.key, gate.overrides_on(training_dataset)
    if kept := results.recall(context, key, training.has_model):
        return under_overrides(kept, overrides)
    model = training.fit(training_dataset, experiment_scope, hyperparameter_study, context.run.run_id)
    made = results.keep(
        context,
        key,
        model,
        {
            "algorithm": model.algorithm,
            "fit_rows": model.fit_rows,
            "seconds": model.seconds,
            "location": dg.MetadataValue.path(model.location),
            "model_uri": model.model_uri,
            "mlflow_run_id": model.mlflow_run_id,
        },
    )
    return under_overrides(made, overrides)


@dg.asset(partitions_def=BRANDS, kinds={"scikitlearn", "mlflow"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_trainer")
def model_evaluation(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    experiment_scope: ExperimentScope,
    trained_model: TrainedModelRef,
    evaluations: EvaluationResource,
    gate: GateResource,
    modelling: ModellingResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """Discrimination, calibration and slices of the trained model per split, held against the scope's criteria."""
    require_gated(training_dataset, gate, modelling)
    key, overrides = evaluations.key(trained_model, experiment_scope), gate.overrides_on(training_dataset)
    if (kept := results.recall(context, key)) and gate.verdict_of(trained_model, experiment_scope):
        return under_overrides(kept, overrides)
    run_id, now = context.run.run_id, datetime.now(UTC)
    evaluation, pictures = evaluations.evaluate(training_dataset, experiment_scope, trained_model, run_id, now)
    gate.record_evaluation(trained_model, experiment_scope, evaluation, run_id, now)
    shown = {**evaluation_metadata(evaluation), **{name: picture(png, name) for name, png in pictures.items()}}
    return under_overrides(results.keep(context, key, evaluation, shown), overrides)


@dg.asset(partitions_def=BRANDS, kinds={"mlflow"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_trainer")
def registered_model(
    context: dg.AssetExecutionContext,
    trained_model: TrainedModelRef,
    model_evaluation: EvaluationRef,
    promotions: PromotionResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The version in MLflow's registry: always registered, as `development`, with its verdict beside it."""
    model_type, logged = settings().model_type, (trained_model.mlflow_run_id, trained_model.model_uri)
    key = content_key(trained_model.key, logged, model_evaluation.version, model_evaluation.unmet, model_type)
    if kept := results.recall(context, key, promotions.is_registered):
        return kept
    version = promotions.register(trained_model, model_evaluation, model_type, context.run.run_id, datetime.now(UTC))
    return results.keep(
        context,
        key,
        version,
        {
            "model": f"{version.name} version {version.version}",
            "stage": version.stage,
            "model_uri": version.model_uri,
            "mlflow_run_id": version.mlflow_run_id,
            "ledger_anchor": promotions.anchor_ledger(trained_model),
        },
    )


@dg.asset(partitions_def=BRANDS, kinds={"mlflow"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_deployer")
def promoted_model(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    experiment_scope: ExperimentScope,
    trained_model: TrainedModelRef,
    registered_model: ModelVersion,
    bento: BentoRef,
    promotions: PromotionResource,
    gate: GateResource,
    modelling: ModellingResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The decision whether the new version replaces the champion, by the stored verdicts and on the same rows."""
    require_gated(training_dataset, gate, modelling)
    evaluation = gate.verdict_of(trained_model, experiment_scope)
    infrastructure = gate.infrastructure_verdict(bento)
    candidate = (registered_model.name, registered_model.version, trained_model.version, training_dataset.version)
    verdicts = [(verdict.is_passed, verdict.reasons) for verdict in (evaluation, infrastructure) if verdict]
    key = content_key(candidate, verdicts, bento.tag, promotions.rule)
    overrides = gate.overrides_on(training_dataset)
    if kept := results.recall(context, key, partial(promotions.still_stands, registered_model)):
        return under_overrides(kept, overrides)
    promotion = promotions.promote(
        training_dataset,
        trained_model,
        registered_model,
        evaluation,
        infrastructure,
        datetime.now(UTC),
        context.run.run_id,
        launcher(context.run.tags),
    )
    champion = promotion.champion
    made = results.keep(
        context,
        key,
        promotion,
        {
            "decision": "promoted" if promotion.is_promoted else "kept as it was",
            "reason": promotion.reason,
            "champion": f"{champion.name} version {champion.version}, {champion.stage}" if champion else "none",
            "ledger": promotions.told_in_ledger(registered_model.name),
            "ledger_anchor": promotions.anchor_ledger(trained_model),
        },
    )
    return under_overrides(made, overrides)


def _scope(brand: str) -> ExperimentScope:
    chosen = settings()
    windows = [chosen.features.touch_window_days, *(c.window for c in chosen.features.covariates)]
    fields = {
        "brand": brand,
        "target": chosen.target,
        "problem_type": chosen.problem_type,
        "population": f"Journeys of {brand}, by {chosen.cohort.unit}, from their index date on.",
        "observation_window_days": observation_window(windows, chosen.evaluation.observation_window_days),
        "prediction_horizon_days": chosen.cohort.outcome_window_days,
        **chosen.success_criteria.of(chosen.problem_type),
    }
    return ExperimentScope(key=content_key(fields), **fields)
