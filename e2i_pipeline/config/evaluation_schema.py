"""The settings of evaluation and promotion: when a model counts as good enough, and when it replaces another.

The section `evaluation` is a contract (`contracts.evaluation_rules`): what `domain/` applies is what is configured.
"""

from typing import Any, Literal

from pydantic import Field

from e2i_pipeline.config.part import Part


class SuccessCriteria(Part):
    """What a model must reach on the test split; see `ExperimentScope` for units and ranges.

    Attributes:
        minimum_r2: For a regression; None asks for none.
        maximum_rmse: For a regression, in the target's unit; None asks for none.
    """

    minimum_auc: float = Field(ge=0.5, le=1)
    minimum_precision_at_k: float = Field(ge=0)
    maximum_fpr: float = Field(ge=0, le=1)
    capacity: float = Field(gt=0, lt=1)
    minimum_r2: float | None = Field(default=None, le=1)
    maximum_rmse: float | None = Field(default=None, gt=0)

    def of(self, problem_type: str) -> dict[str, Any]:
        """The criteria as a scope of the problem type holds them; those of a regression bind no classification."""
        apart = {} if problem_type == "regression" else {"minimum_r2": None, "maximum_rmse": None}
        return {**self.model_dump(), **apart}


class PromotionSettings(Part):
    """When a candidate replaces the champion.

    Attributes:
        stage: What a promoted version becomes.
        min_absolute_change: By how much it must be better on the same rows, in AUC (regression: in R2).
        significance: Below which the p-value of the paired test must lie.
        slice_floor: How far the AUC of a slice may lie below the overall one (regression: the share by which its RMSE
            may exceed it).
        dry_run: Whether promotion only says what it would do.
    """

    stage: Literal["staging", "shadow", "production"]
    min_absolute_change: float = Field(ge=0, le=1)
    significance: float = Field(gt=0, le=1)
    slice_floor: float = Field(ge=0, le=1)
    dry_run: bool
