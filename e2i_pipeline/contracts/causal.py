"""What travels between the assets of the causal stage: the protocol, and small references to what follows from it."""

from pydantic import Field

from e2i_pipeline.contracts.base import Contract, Reference
from e2i_pipeline.contracts.references import FeatureSpec


class Segment(Contract):
    """A part of the population whose effect is reported by itself.

    Attributes:
        name: As people read it, e.g. `disease_severity from 4 to 7`.
        feature: The feature that it is cut from.
        low: Smallest value, inclusive; None where open.
        high: Largest value, exclusive; None where open.
    """

    name: str
    feature: str
    low: float | None = None
    high: float | None = None


class TargetTrialProtocol(Reference):
    """The trial that observational data is taken to emulate (Hernan and Robins, 2016), fixed before anything is fit.

    Attributes:
        key: Hash of all below; it is part of every result.
        brand: The brand (partition).
        dataset_version: Content hash of the modelling rows.
        eligibility: Who is in, one sentence each.
        time_zero: When follow-up begins.
        treatment: Feature that is the treatment.
        treatment_kind: `binary` or `continuous`.
        treatment_definition: In words.
        confounders: What is adjusted for, all of it known at time zero.
        left_out: Features that are not adjusted for, each with the reason.
        modifiers: Confounders with which the effect may differ.
        segments: Parts of the population that are reported by themselves, of numeric modifiers; of a categorical one
            each value is.
        outcome: Column of the outcome.
        outcome_kind: `binary` or `continuous`.
        window_days: Days from time zero in which the outcome counts.
        estimand: What is estimated, in words.
        is_randomized: Whether treatment was assigned by chance, so that nothing needs adjustment.
        negative_controls: Outcomes that the treatment cannot change.
        folds: Share of the rows per fold: `fit`, `validation`, `evaluation`.
        split_by: `patient_and_hcp` or `patient`: what no two folds may share.
        capacity: Share of the rows that a team can act on, 0..1.
        cost: What a treatment (a further point of it) costs, on the outcome's scale.
        seed: Seed of everything random.
    """

    brand: str
    dataset_version: str
    eligibility: tuple[str, ...]
    time_zero: str
    treatment: str
    treatment_kind: str = Field(pattern="^(binary|continuous)$")
    treatment_definition: str
    confounders: tuple[FeatureSpec, ...]
    left_out: dict[str, str]
    modifiers: tuple[str, ...]
    segments: tuple[Segment, ...]
    outcome: str
    outcome_kind: str = Field(pattern="^(binary|continuous)$")
    window_days: int
    estimand: str
    is_randomized: bool
    negative_controls: tuple[str, ...]
    folds: dict[str, float]
    split_by: str = Field(pattern="^(patient_and_hcp|patient)$")
    capacity: float
    cost: float
    seed: int


class CausalFinding(Contract):
    """One thing looked at, by a rule written down before.

    Attributes:
        name: Stable name, e.g. `placebo_treatment`.
        rule: The rule in words.
        observed: What was found, with its figures.
        holds: Whether the rule holds.
        blocks: Whether the effect is refused for use where it does not.
    """

    name: str
    rule: str
    observed: str
    holds: bool
    blocks: bool


class OverlapRef(Reference):
    """Who can be compared with whom.

    Attributes:
        key: Protocol, nuisance model and rules.
        brand: The brand (partition).
        location: Parquet: per row its fold, expected treatment, its variance, weight, and whether it is kept.
        version: SHA-256 of that file.
        rows: Rows looked at.
        kept: Rows within the bounds; the effect is about these.
        effective_rows: Effective sample size of the kept rows by their weights (Kish).
        findings: What was held against a rule.
    """

    brand: str
    location: str
    version: str
    rows: int
    kept: int
    effective_rows: float
    findings: tuple[CausalFinding, ...]


class EffectFigure(Contract):
    """An effect with its interval of 95 %.

    Attributes:
        name: What it is the effect of, or among whom.
        value: On the outcome's scale, per treatment (or per point of a continuous one).
        low: Lower end.
        high: Upper end.
        rows: Rows behind it.
    """

    name: str
    value: float
    low: float
    high: float
    rows: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of 0."""
        return self.low > 0 or self.high < 0


class EffectModelRef(Reference):
    """The fitted effect.

    Attributes:
        key: Protocol, overlap, estimators and code.
        brand: The brand (partition).
        location: Folder with `effect.json` (the linear effect), `candidates.json` and `evaluation.parquet`.
        version: SHA-256 over these files.
        estimator: The chosen estimator.
        served: The estimator that can be served: the best of those that are stored without pickle.
        scores: R-score on the validation fold per estimator: the share of what the average effect leaves unexplained
            that its heterogeneity explains; 0 for no better than one effect for everybody.
        average: The average effect on the fit fold.
        seconds: Wall-clock seconds.
    """

    brand: str
    location: str
    version: str
    estimator: str
    served: str
    scores: dict[str, float]
    average: EffectFigure
    seconds: float


class EffectEvaluationRef(Reference):
    """The effect on rows that nothing was fitted on.

    Attributes:
        key: Effect model and rules.
        brand: The brand (partition).
        location: JSON with all figures and curves.
        version: SHA-256 of that file.
        average: The average effect.
        segments: The effect by segment; smaller cells than the minimum are left out.
        suppressed: Segments left out for their size.
        ranking: AUTOC and Qini.
        uplift: The effect among those whom a team of the protocol's capacity would choose.
        policies: Net gain per journey of the model's choice against treating nobody, everybody, and today's choice.
        findings: What was held against a rule.
    """

    brand: str
    location: str
    version: str
    average: EffectFigure
    segments: tuple[EffectFigure, ...]
    suppressed: int
    ranking: tuple[EffectFigure, ...]
    uplift: EffectFigure
    policies: tuple[EffectFigure, ...]
    findings: tuple[CausalFinding, ...]


class RefutationRef(Reference):
    """What tried to break the effect, and the gate's answer over the whole stage.

    Attributes:
        key: Effect model, evaluation and rules.
        brand: The brand (partition).
        location: JSON with all figures.
        version: SHA-256 of that file.
        findings: Of the refutation.
        is_passed: Whether the effect may be used: no blocking rule of overlap, evaluation or refutation is broken.
        reasons: Why not, one sentence each.
        warnings: What did not block.
    """

    brand: str
    location: str
    version: str
    findings: tuple[CausalFinding, ...]
    is_passed: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
