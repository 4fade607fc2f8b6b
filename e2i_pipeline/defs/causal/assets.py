"""From the target trial to an effect that may be used, per brand: protocol, overlap, model, evaluation, refutation.

What is computed stands in `domain/causal`. The stage is not part of the default run: it needs the extra `causal`.
"""

from datetime import UTC, datetime
from functools import partial

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.causal import (
    EffectEvaluationRef,
    EffectModelRef,
    OverlapRef,
    RefutationRef,
    TargetTrialProtocol,
)
from e2i_pipeline.contracts.references import DatasetRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.defs.launcher import launcher
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.causal import CausalResource
from e2i_pipeline.resources.stages.effect_registry import EffectParts, EffectRegistryResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.modelling_gate import require_gated
from e2i_pipeline.storage.causal_presentation import (
    balance_table,
    evaluation_story,
    findings_table,
    protocol_story,
    refutation_story,
    slices_table,
    trimmed_table,
)
from e2i_pipeline.storage.presentation import picture, under_overrides
from e2i_pipeline.storage.results import ResultStore

_DECISION = ("domain/effect_promotion.py", "resources/stages/effect_registry.py")


@dg.asset(partitions_def=BRANDS, kinds={"json"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("scope_definer")
def target_trial_protocol(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    experiment_scope: ExperimentScope,
    gate: GateResource,
    modelling: ModellingResource,
    causal: CausalResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The trial that the data is taken to emulate: who, since when, treated how, adjusted for what."""
    require_gated(training_dataset, gate, modelling)
    protocol = causal.protocol(training_dataset, experiment_scope)
    overrides = gate.overrides_on(training_dataset)
    if kept := results.recall(context, protocol.key):
        return under_overrides(kept, overrides)
    made = results.keep(context, protocol.key, protocol, protocol_story(protocol))
    return under_overrides(made, overrides)


@dg.asset(partitions_def=BRANDS, kinds={"scikitlearn"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("data_preparer")
def overlap(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    target_trial_protocol: TargetTrialProtocol,
    gate: GateResource,
    modelling: ModellingResource,
    causal: CausalResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """Who can be compared with whom: propensity, trimming by the declared rule, balance after weighting."""
    require_gated(training_dataset, gate, modelling)
    key, overrides = causal.overlap_key(target_trial_protocol), gate.overrides_on(training_dataset)
    if kept := results.recall(context, key):
        return under_overrides(kept, overrides)
    found, report, png = causal.overlap(key, target_trial_protocol, training_dataset)
    made = results.keep(
        context,
        key,
        found,
        {
            "rows": found.rows,
            "kept": found.kept,
            "effective_rows": found.effective_rows,
            "rules": findings_table(found.findings),
            "slices": slices_table(report.slices),
            "balance": balance_table(report.balance),
            "trimmed": trimmed_table(report.described),
            "overlap": picture(png, "overlap"),
        },
    )
    return under_overrides(made, overrides)


@dg.asset(partitions_def=BRANDS, kinds={"econml"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_trainer")
def effect_model(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    target_trial_protocol: TargetTrialProtocol,
    overlap: OverlapRef,
    gate: GateResource,
    modelling: ModellingResource,
    causal: CausalResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The effect by EconML's estimators, cross-fitted, chosen by R-score, stored as plain numbers."""
    require_gated(training_dataset, gate, modelling)
    key, overrides = causal.model_key(target_trial_protocol, overlap), gate.overrides_on(training_dataset)
    if kept := results.recall(context, key):
        return under_overrides(kept, overrides)
    model = causal.fit(key, target_trial_protocol, training_dataset, overlap)
    made = results.keep(
        context,
        key,
        model,
        {
            "estimator": model.estimator,
            "served": model.served or "none: no estimator that was asked for can be stored without pickle",
            "r_scores": model.scores,
            "average_on_the_fit_fold": model.average.value,
            "interval": f"{model.average.low:.4g} to {model.average.high:.4g}",
            "seconds": model.seconds,
            "location": dg.MetadataValue.path(model.location),
        },
    )
    return under_overrides(made, overrides)


@dg.asset(partitions_def=BRANDS, kinds={"scikitlearn"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_trainer")
def effect_evaluation(
    context: dg.AssetExecutionContext,
    target_trial_protocol: TargetTrialProtocol,
    effect_model: EffectModelRef,
    causal: CausalResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The effect on an untouched fold: average, segments, ranking, calibration, what choosing by it would bring."""
    key = content_key(target_trial_protocol.key, effect_model.version, causal.code)
    if kept := results.recall(context, key):
        return kept
    evaluated, found, png = causal.evaluate(key, target_trial_protocol, effect_model)
    return results.keep(
        context, key, evaluated, {**evaluation_story(target_trial_protocol, found), "effects": picture(png, "effects")}
    )


@dg.asset(partitions_def=BRANDS, kinds={"scikitlearn"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_trainer")
def refutation(
    context: dg.AssetExecutionContext,
    validated_dataset: DatasetRef,
    training_dataset: TrainingDatasetRef,
    target_trial_protocol: TargetTrialProtocol,
    overlap: OverlapRef,
    effect_model: EffectModelRef,
    effect_evaluation: EffectEvaluationRef,
    gate: GateResource,
    modelling: ModellingResource,
    causal: CausalResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """Attempts to break the effect, and the gate's answer whether it may be used."""
    require_gated(training_dataset, gate, modelling)
    key = content_key(effect_model.version, effect_evaluation.version, overlap.version, causal.chosen, causal.code)
    overrides = gate.overrides_on(training_dataset)
    if (kept := results.recall(context, key)) and causal.verdict_of(effect_model):
        return under_overrides(kept, overrides)
    parts = (target_trial_protocol, training_dataset, validated_dataset, overlap, effect_model, effect_evaluation)
    found = causal.refute(key, *parts, context.run.run_id, datetime.now(UTC))
    made = results.keep(context, key, found, refutation_story(effect_evaluation, found))
    return under_overrides(made, overrides)


@dg.asset(partitions_def=BRANDS, kinds={"mlflow", "html"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_trainer")
def registered_effect(
    context: dg.AssetExecutionContext,
    experiment_scope: ExperimentScope,
    target_trial_protocol: TargetTrialProtocol,
    overlap: OverlapRef,
    effect_model: EffectModelRef,
    effect_evaluation: EffectEvaluationRef,
    refutation: RefutationRef,
    causal: CausalResource,
    effects: EffectRegistryResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The effect in MLflow's registry as `e2i-{brand}-effect`: always, as `development`, with its verdict and card."""
    parts = EffectParts(target_trial_protocol, overlap, effect_model, effect_evaluation, refutation)
    key = content_key(*(part.key for part in parts), effect_model.version, refutation.version, code_version("domain"))
    if kept := results.recall(context, key, effects.is_registered):
        return kept
    pictures = causal.pictures(overlap, effect_evaluation)
    version, card = effects.register(parts, experiment_scope, pictures, context.run.run_id, datetime.now(UTC))
    shown = {
        "model": f"{version.name} version {version.version}",
        "stage": version.stage,
        "may_be_used": refutation.is_passed,
        "model_uri": version.model_uri,
        "mlflow_run_id": version.mlflow_run_id,
        "card": dg.MetadataValue.path(str(card)),
    }
    return results.keep(context, key, version, shown)


@dg.asset(partitions_def=BRANDS, kinds={"mlflow"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_deployer")
def promoted_effect(
    context: dg.AssetExecutionContext,
    target_trial_protocol: TargetTrialProtocol,
    overlap: OverlapRef,
    effect_model: EffectModelRef,
    effect_evaluation: EffectEvaluationRef,
    refutation: RefutationRef,
    registered_effect: ModelVersion,
    causal: CausalResource,
    effects: EffectRegistryResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The decision whether the effect is used from now on, by the stored verdict and the effect that is in use."""
    parts = EffectParts(target_trial_protocol, overlap, effect_model, effect_evaluation, refutation)
    verdict = causal.verdict_of(effect_model)
    key = content_key(
        registered_effect, verdict.reasons if verdict else None, code_version(*_DECISION), effects.dry_run
    )
    if kept := results.recall(context, key, partial(effects.still_stands, registered_effect)):
        return kept
    decided = effects.promote(
        parts, registered_effect, verdict, launcher(context.run.tags), context.run.run_id, datetime.now(UTC)
    )
    champion = decided.champion
    shown = {
        "decision": "in use" if decided.is_promoted else "not in use",
        "reason": decided.reason,
        "in_use": f"{champion.name} version {champion.version}, {champion.stage}" if champion else "none",
    }
    return results.keep(context, key, decided, shown)
