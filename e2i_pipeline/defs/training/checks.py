"""The evaluation gate as checks on `model_evaluation`, one per finding.

They do not block: a worse model is registered, explained and packaged, so that people can see why it is worse. The
stored verdict holds `promoted_model` back. What each check means stands in `domain/evaluation_gate.py`.
"""

from collections.abc import Iterator

import dagster as dg

from e2i_pipeline.config.loader import settings
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.domain.evaluation_gate import checks_for
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.storage.evaluation_view import finding_metadata


@dg.multi_asset_check(
    name="model_evaluation_criteria",
    specs=[
        dg.AssetCheckSpec(name, asset="model_evaluation", description=rule, partitions_def=BRANDS)
        for name, rule in checks_for(settings().problem_type).items()
    ],
    ins={"evaluation": dg.AssetIn("model_evaluation")},
)
@asset_boundary("model_trainer")
def model_evaluation_criteria(
    context: dg.AssetCheckExecutionContext, evaluation: EvaluationRef, opik: OpikResource
) -> Iterator[dg.AssetCheckResult]:
    """One check per finding of the gate."""
    for finding in evaluation.findings:
        yield dg.AssetCheckResult(
            check_name=finding.check,
            asset_key="model_evaluation",
            passed=finding.is_passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=" ".join(finding.sentences) or None,
            metadata=finding_metadata(finding),
        )
