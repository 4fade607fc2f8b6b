"""The settings of the causal stage: the trial that is emulated, and when its effect is refused."""

from typing import Literal

from pydantic import Field, model_validator

from e2i_pipeline.config.part import Name, Part


class OverlapSettings(Part):
    """When like can be compared with like.

    Attributes:
        propensity: Bounds of the probability of a binary treatment; rows outside are trimmed.
        density: Bounds of a continuous treatment's stabilized weight f(T) / f(T|X); rows outside are trimmed.
        minimum_kept: Smallest share of the rows that may be left.
        minimum_effective: Smallest effective share of the rows that are left.
        maximum_imbalance: Largest standardized mean difference, or correlation with a continuous treatment, after
            weighting: 0.25 is the bound beyond which adjustment is not trusted (Rubin, 2001).
    """

    propensity: tuple[float, float]
    density: tuple[float, float]
    minimum_kept: float = Field(gt=0, le=1)
    minimum_effective: float = Field(gt=0, le=1)
    maximum_imbalance: float = Field(gt=0, le=1)


class NuisanceSettings(Part):
    """The models of outcome and treatment: an algorithm of the registry, its parameters, and folds of cross-fitting."""

    algorithm: Name
    parameters: dict[str, bool | int | float | str]
    folds: int = Field(ge=2, le=10)


class ForestSettings(Part):
    """The causal forest: trees, and the most rows that it is grown on, which bounds its memory."""

    trees: int = Field(ge=8, le=2000, multiple_of=4)
    maximum_rows: int = Field(ge=1_000)


class RefutationSettings(Part):
    """How often a refuting draw is made, and the share of the rows of a subset."""

    draws: int = Field(ge=4, le=100)
    subset: float = Field(gt=0, lt=1)


class FoldShares(Part):
    """Share of the rows per fold; they add up to 1."""

    fit: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    evaluation: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> "FoldShares":
        if abs(self.fit + self.validation + self.evaluation - 1) > 1e-9:
            raise ValueError("the shares of fit, validation and evaluation must add up to 1")
        return self


class CausalSettings(Part):
    """The target trial, and the rules for its effect.

    Attributes:
        treatment: Feature that is the treatment.
        treatment_kind: `binary` (0 or 1) or `continuous`.
        is_randomized: Whether it was assigned by chance.
        confounders: Features to adjust for; empty for all that are known at time zero and do not tell of engagement.
        modifiers: Features with which the effect may differ.
        cuts: Cut points of numeric modifiers, for the segments that are reported.
        negative_controls: Columns of the journeys that the treatment cannot change.
        folds: Shares of the folds.
        split_by: What no two folds may share.
        estimators: `linear_dml`, `causal_forest`, and, of a binary treatment, `dr_learner`.
        cost: What a treatment, or a further point of it, costs on the outcome's scale.
        nuisance: The models of outcome and treatment.
        forest: The causal forest.
        overlap: When like can be compared with like.
        refutation: How the effect is attacked.
    """

    treatment: Name
    treatment_kind: Literal["binary", "continuous"]
    is_randomized: bool
    confounders: list[Name]
    modifiers: list[Name]
    cuts: dict[Name, list[float]]
    negative_controls: list[Name]
    folds: FoldShares
    split_by: Literal["patient_and_hcp", "patient"]
    estimators: list[Literal["linear_dml", "causal_forest", "dr_learner"]] = Field(min_length=1)
    cost: float = Field(ge=0)
    nuisance: NuisanceSettings
    forest: ForestSettings
    overlap: OverlapSettings
    refutation: RefutationSettings
