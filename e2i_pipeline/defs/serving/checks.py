"""The infrastructure gate: the Bento loads in a process of its own and answers as the model does."""

from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.contracts.references import BentoRef
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.deployment import DeploymentResource
from e2i_pipeline.resources.stages.gate import GateResource


@dg.asset_check(asset="bento", blocking=True, partitions_def=BRANDS, retry_policy=ESSENTIAL_TOOL)
@asset_boundary("model_deployer")
def bento_answers_golden_request(
    context: dg.AssetCheckExecutionContext,
    bento: BentoRef,
    deployments: DeploymentResource,
    gate: GateResource,
    opik: OpikResource,
) -> dg.AssetCheckResult:
    """Started in a separate process, the Bento gives the golden request the probabilities that the model gave."""
    verdict = gate.infrastructure_verdict(bento)
    if deployments.has_answered(bento, verdict):
        return dg.AssetCheckResult(
            passed=True, description="It was seen to answer before.", metadata={"unchanged": True}
        )
    answer = deployments.try_golden_request(bento)
    verdict = gate.record_infrastructure(bento, answer.problem, context.run.run_id, datetime.now(UTC))
    deployments.note_verdict(bento, verdict)
    return dg.AssetCheckResult(
        passed=verdict.is_passed, description=" ".join(verdict.reasons) or "It answers.", metadata=answer.metadata
    )
