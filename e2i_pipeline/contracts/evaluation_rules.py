"""What an evaluation is held against, beside the scope's success criteria: the section `evaluation` of the settings.

What each rule does stands in the module of `domain/` that applies it; why a default is what it is, in
docs/evaluation.md.
"""

from typing import Literal

from pydantic import Field, model_validator

from e2i_pipeline.contracts.base import Contract

Gate = Literal["success_criteria", "calibration", "slices", "fairness", "behaviour"]
"""The parts of the evaluation gate; a blocking one keeps a model from being promoted, another only warns."""

Direction = Literal["increasing", "decreasing"]


class RecalibrationRules(Contract):
    """When probabilities are recalibrated on the validation split; see `domain.recalibration`.

    Attributes:
        method: `auto` takes what helps, `platt` or `isotonic` only that one where it helps, `none` neither.
        margin: Log loss (nats) that a method must save in cross-validation within the validation split, >= 0.
        maximum_auc_loss: AUC that it may cost there, by ties, 0..1.
        folds: Folds of that cross-validation, >= 2.
    """

    method: Literal["auto", "platt", "isotonic", "none"] = "auto"
    margin: float = Field(default=0.001, ge=0)
    maximum_auc_loss: float = Field(default=0.001, ge=0, le=1)
    folds: int = Field(default=5, ge=2, le=20)


class BootstrapRules(Contract):
    """How intervals are drawn; see `domain.bootstrap`.

    Attributes:
        resamples: Resamples, 200 or more; fewer are drawn of very many rows.
        confidence: Of every interval, and of every decision that rests on one, 0.5..0.999.
    """

    resamples: int = Field(default=1000, ge=200, le=100_000)
    confidence: float = Field(default=0.95, ge=0.5, le=0.999)


class CalibrationRules(Contract):
    """What calibrated means on the test split; a bound is broken when the whole interval lies beyond it.

    Attributes:
        slope: Lowest and highest slope; 1 is right.
        intercept: Lowest and highest intercept, log-odds; 0 is right.
        maximum_ece: Highest expected calibration error, 0..1; what chance adds to it on so few rows is allowed for.
    """

    slope: tuple[float, float] = (0.8, 1.25)
    intercept: tuple[float, float] = (-0.35, 0.35)
    maximum_ece: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> "CalibrationRules":
        for name, (low, high) in (("slope", self.slope), ("intercept", self.intercept)):
            if low >= high:
                raise ValueError(f"{name}: the lower bound {low} is not below the upper bound {high}")
        return self


class SliceRules(Contract):
    """Which parts of the test split are judged on their own; see `domain.slices`.

    Attributes:
        columns: Columns that define them, where the data has them; `age_group` is made of `age_at_diagnosis`.
        age_bounds: Ages in years at which a further age group begins, rising.
        minimum_rows: Rows below which a slice is not shown, 11 or more.
        minimum_per_class: Rows of each class below which a slice has no floor, 1 or more.
    """

    columns: tuple[str, ...] = ("geographic_region", "age_group", "gender", "insurance_type", "specialty")
    age_bounds: tuple[int, ...] = (40, 55, 65, 75)
    minimum_rows: int = Field(default=11, ge=11)
    minimum_per_class: int = Field(default=11, ge=1)

    @model_validator(mode="after")
    def _rising(self) -> "SliceRules":
        if list(self.age_bounds) != sorted(set(self.age_bounds)):
            raise ValueError("age_bounds must rise")
        return self


class FairnessRules(Contract):
    """How far groups may differ at the operational threshold; see `domain.fairness`.

    Attributes:
        columns: The protected columns, where the data has them.
        maximum_equal_opportunity_difference: Of the true-positive rates, 0..1.
        maximum_demographic_parity_difference: Of the shares flagged, 0..1.
    """

    columns: tuple[str, ...] = ("age_group", "gender", "geographic_region", "insurance_type")
    maximum_equal_opportunity_difference: float = Field(default=0.2, ge=0, le=1)
    maximum_demographic_parity_difference: float = Field(default=0.2, ge=0, le=1)


class BehaviourRules(Contract):
    """How a model must behave, whatever its figures; see `domain.behaviour`.

    Attributes:
        monotone: Direction in which the prediction must go with a feature, all else held.
        step: How far a feature is moved, in its standard deviations over the test rows, > 0.
        tolerated_share: Share of the moved rows that may go the other way, 0..1.
    """

    monotone: dict[str, Direction] = Field(default={})
    step: float = Field(default=1.0, gt=0)
    tolerated_share: float = Field(default=0.05, ge=0, le=1)


class EvaluationRules(Contract):
    """All of them.

    Attributes:
        observation_window_days: Days of history that the scope declares; None derives them from the features.
        blocking: Parts of the gate that keep a model from being promoted; the others warn.
        maximum_candidates: Candidates that may read one dataset's test rows before that is warned of, 1 or more.
        recalibration: Recalibration of probabilities.
        bootstrap: Intervals.
        calibration: Bounds of calibration.
        slices: Slices.
        fairness: Bounds of fairness.
        behaviour: Behavioural tests.
    """

    observation_window_days: int | None = Field(default=None, ge=1)
    blocking: tuple[Gate, ...] = ("success_criteria", "calibration", "slices", "fairness", "behaviour")
    maximum_candidates: int = Field(default=10, ge=1)
    recalibration: RecalibrationRules = RecalibrationRules()
    bootstrap: BootstrapRules = BootstrapRules()
    calibration: CalibrationRules = CalibrationRules()
    slices: SliceRules = SliceRules()
    fairness: FairnessRules = FairnessRules()
    behaviour: BehaviourRules = BehaviourRules()
