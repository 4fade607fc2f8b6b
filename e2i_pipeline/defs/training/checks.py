"""The success criteria as checks on `model_evaluation`.

They do not block: a worse model is registered, explained and packaged, so that people can see why it is worse. The
stored verdict holds `promoted_model` back.
"""

from collections.abc import Iterator

import dagster as dg

from e2i_pipeline.contracts.references import EvaluationRef, ExperimentScope
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.resources.opik import OpikResource

_WARN = dg.AssetCheckSeverity.WARN
_SPECS = {
    "test_auc_reaches_the_minimum": "AUC on the test split is at least `success_criteria.minimum_auc`.",
    "precision_at_capacity_reaches_the_minimum": (
        "Precision among the top share that a team can act on, over the base rate, is at least "
        "`success_criteria.minimum_precision_at_k`."
    ),
    "false_positive_rate_is_within_the_maximum": (
        "The false-positive rate at the capacity's threshold is at most `success_criteria.maximum_fpr`."
    ),
    "probabilities_are_calibrated": "The calibration slope on the test split lies within 0.8 and 1.25.",
}


@dg.multi_asset_check(
    name="model_evaluation_criteria",
    specs=[
        dg.AssetCheckSpec(
            name,
            asset="model_evaluation",
            description=rule,
            partitions_def=BRANDS,
            additional_deps=["experiment_scope"],
        )
        for name, rule in _SPECS.items()
    ],
    ins={"evaluation": dg.AssetIn("model_evaluation"), "scope": dg.AssetIn("experiment_scope")},
)
@asset_boundary("model_trainer")
def model_evaluation_criteria(
    context: dg.AssetCheckExecutionContext, evaluation: EvaluationRef, scope: ExperimentScope, opik: OpikResource
) -> Iterator[dg.AssetCheckResult]:
    """One check per criterion."""
    test = evaluation.metrics["test"]
    slope = test["calibration_slope"]
    held = {
        "test_auc_reaches_the_minimum": (test["auc"], test["auc"] >= scope.minimum_auc),
        "precision_at_capacity_reaches_the_minimum": (
            test["lift_at_k"],
            test["lift_at_k"] >= scope.minimum_precision_at_k,
        ),
        "false_positive_rate_is_within_the_maximum": (test["fpr"], test["fpr"] <= scope.maximum_fpr),
        "probabilities_are_calibrated": (slope, 0.8 <= slope <= 1.25),
    }
    for name, (observed, passed) in held.items():
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key="model_evaluation",
            passed=passed,
            severity=_WARN,
            metadata={"observed": observed},
        )
