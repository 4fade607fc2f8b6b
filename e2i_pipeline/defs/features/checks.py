"""The modelling suite per split and the leakage audit on `training_dataset`: both block."""

import dagster as dg

from e2i_pipeline.config.loader import settings
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.defs.gate_checks import gate_checks
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
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
