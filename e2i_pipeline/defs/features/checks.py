"""What blocks: the modelling suite and the leakage audit on `training_dataset`, parity on `online_features`."""

from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.config.loader import settings
from e2i_pipeline.contracts.references import FeatureRegistryRef, OnlineFeaturesRef, TrainingDatasetRef
from e2i_pipeline.defs.gate_checks import gate_checks
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.parity import ParityResource
from e2i_pipeline.storage.presentation import table_of

training_dataset_checks = gate_checks(
    "training_dataset",
    settings().great_expectations.default_suites[settings().problem_type],
    settings().stores.gx_root,
    splits=("train", "validation", "test"),
    partitions_def=BRANDS,
)


@dg.asset_check(asset="training_dataset", blocking=True, partitions_def=BRANDS)
@asset_boundary("data_preparer")
def training_dataset_has_no_leakage(
    context: dg.AssetCheckExecutionContext,
    training_dataset: TrainingDatasetRef,
    modelling: ModellingResource,
    opik: OpikResource,
) -> dg.AssetCheckResult:
    """No patient in two splits, splits in order of time, no feature that knows the outcome."""
    findings = modelling.audit_leakage(training_dataset)
    return dg.AssetCheckResult(
        passed=not findings,
        description=" ".join(f.sentence for f in findings) or "Nothing found.",
        metadata={"findings": table_of({"finding": f.name, "rows": f.count, "what": f.sentence} for f in findings)},
    )


@dg.asset_check(
    asset="online_features",
    blocking=True,
    additional_ins={"feature_registry": dg.AssetIn("feature_registry")},
    retry_policy=ESSENTIAL_TOOL,
)
@asset_boundary("data_preparer")
def online_features_match_the_offline_store(
    context: dg.AssetCheckExecutionContext,
    online_features: OnlineFeaturesRef,
    feature_registry: FeatureRegistryRef,
    parity: ParityResource,
    opik: OpikResource,
) -> dg.AssetCheckResult:
    """Sampled entities have the same values online as offline as of `as_of`, and are absent where they are absent."""
    found = parity.audit(online_features, feature_registry, context.run.run_id, datetime.now(UTC))
    return dg.AssetCheckResult(
        passed=found.verdict.is_passed,
        description=" ".join(found.verdict.reasons) or "Both stores say the same.",
        metadata={
            "as_of": online_features.until.isoformat(),
            "features": table_of({**r.model_dump(), "mismatches": r.mismatches} for r in found.results),
        },
    )
