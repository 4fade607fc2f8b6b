"""The Bento of each registered version, the deployment of the champion, and its scores for open journeys.

What the Bento answers stands in `serving/`; how it is built and started in `resources/bentoml.py`.
"""

from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import BentoRef, OnlineFeaturesRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import TrainedModelRef
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.deployment import DeploymentResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.modelling_gate import require_gated
from e2i_pipeline.resources.stages.parity import ParityResource
from e2i_pipeline.storage.presentation import table_metadata, under_overrides
from e2i_pipeline.storage.results import ResultStore


@dg.asset(partitions_def=BRANDS, kinds={"bentoml"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_deployer")
def bento(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    trained_model: TrainedModelRef,
    registered_model: ModelVersion,
    gate: GateResource,
    modelling: ModellingResource,
    deployments: DeploymentResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """The Bento of the registered version, with a golden request: rows and the probabilities the model gives them."""
    require_gated(training_dataset, gate, modelling)
    model = (registered_model.name, registered_model.version, trained_model.version)
    key = content_key(model, training_dataset.version, deployments.packaging)
    overrides = gate.overrides_on(training_dataset)
    if kept := results.recall(context, key, deployments.has):
        return under_overrides(kept, overrides)
    built = deployments.package(training_dataset, trained_model, registered_model)
    made = results.keep(
        context,
        key,
        built,
        {
            "bento": built.tag,
            "model_tag": built.model_tag,
            "location": dg.MetadataValue.path(built.location),
            "golden_request": dg.MetadataValue.path(built.golden_request),
        },
    )
    return under_overrides(made, overrides)


@dg.asset(name="deployment", partitions_def=BRANDS, kinds={"bentoml"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_deployer")
def local_deployment(
    context: dg.AssetExecutionContext,
    promoted_model: PromotionRef,
    bento: BentoRef,
    online_features: OnlineFeaturesRef,
    deployments: DeploymentResource,
    parity: ParityResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """What `make serve` starts: the champion's Bento. Only what was promoted, and beside right features."""
    parity.require(online_features)
    standing = deployments.as_it_stands(promoted_model)
    key = content_key(standing.champion, bento.tag, deployments.environment, deployments.bentoml.home)
    if kept := results.recall(context, key, deployments.is_deployed):
        return kept
    deployed = deployments.deploy(standing, bento, context.run.run_id, datetime.now(UTC))
    return results.keep(
        context,
        key,
        deployed,
        {
            "bento": deployed.bento_tag or "none: nothing was promoted yet",
            "endpoint": deployed.endpoint,
            "status": deployed.status,
            "location": dg.MetadataValue.path(deployed.location),
        },
    )


@dg.asset(partitions_def=BRANDS, kinds={"parquet"}, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("prediction_synthesizer")
def batch_predictions(
    context: dg.AssetExecutionContext,
    training_dataset: TrainingDatasetRef,
    promoted_model: PromotionRef,
    gate: GateResource,
    modelling: ModellingResource,
    deployments: DeploymentResource,
    results: ResultStore,
    opik: OpikResource,
) -> dg.MaterializeResult:
    """One row per journey whose outcome is still open: the champion's probability, and whether it is flagged."""
    require_gated(training_dataset, gate, modelling)
    code = code_version("resources/stages/deployment.py", "resources/stages/modelling.py", "domain")
    standing = deployments.as_it_stands(promoted_model)
    key = content_key(standing.champion, training_dataset.version, code)
    overrides = gate.overrides_on(training_dataset)
    if kept := results.recall(context, key):
        return under_overrides(kept, overrides)
    scored = deployments.score(key, training_dataset, standing)
    made = results.keep(context, key, scored, {**table_metadata(scored), "predictions": scored.rows})
    return under_overrides(made, overrides)
