"""What is asserted of the causal stage: nothing is adjusted for that came after time zero, and the effect holds.

The first blocks: an effect adjusted for its own consequences is none. The second does not: a refused effect stays to be
looked at, and its stored verdict keeps it from use.
"""

import dagster as dg

from e2i_pipeline.contracts.causal import RefutationRef, TargetTrialProtocol
from e2i_pipeline.contracts.references import DatasetRef, TrainingDatasetRef
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.causal import CausalResource
from e2i_pipeline.storage.causal_presentation import findings_table


@dg.asset_check(
    asset="target_trial_protocol",
    blocking=True,
    partitions_def=BRANDS,
    additional_ins={
        "training_dataset": dg.AssetIn("training_dataset"),
        "validated_dataset": dg.AssetIn("validated_dataset"),
    },
)
@asset_boundary("scope_definer")
def no_covariate_is_from_after_time_zero(
    context: dg.AssetCheckExecutionContext,
    target_trial_protocol: TargetTrialProtocol,
    training_dataset: TrainingDatasetRef,
    validated_dataset: DatasetRef,
    causal: CausalResource,
    opik: OpikResource,
) -> dg.AssetCheckResult:
    """What is adjusted for was known on the index date, in every row."""
    late, rows = causal.seen_after_time_zero(training_dataset, validated_dataset)
    return dg.AssetCheckResult(
        passed=late == 0 and rows > 0,
        description=(
            f"The covariates of {late} of {rows} rows are of a moment after the index date. Set "
            "features.prediction_lag_days to 0 for the causal stage."
            if late or not rows
            else f"The covariates of all {rows} rows are of their index date."
        ),
        metadata={"rows": rows, "late": late, "confounders": len(target_trial_protocol.confounders)},
    )


@dg.asset_check(asset="refutation", partitions_def=BRANDS)
@asset_boundary("model_trainer")
def effect_may_be_used(
    context: dg.AssetCheckExecutionContext, refutation: RefutationRef, opik: OpikResource
) -> dg.AssetCheckResult:
    """No blocking rule of overlap, evaluation or refutation is broken."""
    return dg.AssetCheckResult(
        passed=refutation.is_passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(refutation.reasons) or "No blocking rule is broken.",
        metadata={"refutation": findings_table(refutation.findings), "warnings": list(refutation.warnings)},
    )
