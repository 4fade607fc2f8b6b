"""Who lives in the generated world: a brand's physicians and patients, and whether each patient starts treatment.

The causal structure stands here and nowhere else. How people and events are written as canonical tables belongs to
`synthetic_tables`; calendar and words to `synthetic_vocabulary`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_columns import cut, day_number

if TYPE_CHECKING:
    import numpy as np

TREATMENT_RATE = 0.30
"""Share of patients who start treatment within the window; the intercept is solved for it."""

COEFFICIENTS: dict[str, float | dict[str, float]] = {
    "disease_severity": 0.25,  # per point, centred at 5
    "academic_hcp": 0.60,
    "risk_score": 2.0,  # per 1, centred at 0.4
    "prior_treatments": 0.30,  # per earlier drug
    "age_at_diagnosis": -0.012,  # per year, centred at 50
    "insurance_type": {"commercial": 0.3, "medicare": 0.0, "medicaid": -0.3, "uninsured": -0.9},
    "geographic_region": {"northeast": 0.15, "south": -0.10, "midwest": 0.0, "west": 0.10},
}
"""Log-odds of starting treatment, beside the intercept and the effect of engagement."""


@dataclass(frozen=True)
class Process:
    """How engagement acts on the outcome.

    Attributes:
        effect: Log-odds per engagement point, from disease severity (n,) to (n,).
        is_confounded: Whether disease severity and an academic physician drive engagement too.
    """

    effect: "Callable[[np.ndarray], np.ndarray]"
    is_confounded: bool


@dataclass(frozen=True)
class Panel:
    """The physicians of a brand; every array has shape (physicians,).

    Attributes:
        specialty: Index into the brand's specialties.
        region: Index into the regions.
        is_academic: Whether they work at an academic centre.
        volume: Patients a year.
        pull: How much engagement they attract beyond everything else, standard normal.
    """

    specialty: "np.ndarray"
    region: "np.ndarray"
    is_academic: "np.ndarray"
    volume: "np.ndarray"
    pull: "np.ndarray"

    @property
    def size(self) -> int:
        """Number of physicians."""
        return len(self.region)


@dataclass(frozen=True)
class Patients:
    """The patients of a brand, one journey each; every array has shape (patients,).

    Attributes:
        hcp: Index into the panel.
        index_day: Index date, days since 1970.
        diagnosis_lag: Days from the first diagnosis to the index date, >= 30.
        age: Years at diagnosis, 18..90.
        is_female: Gender.
        region: Index into the regions.
        insurance: Index into the kinds of insurance.
        comorbidities: Their number, 0..3.
        prior_treatments: Earlier drugs, 0..4.
        severity: 0..10.
        is_academic: Whether the physician is academic.
        engagement: Score, 0..10.
        risk: Score, 0..1.
        effect: Log-odds per engagement point.
        probability: Of starting treatment within the window.
        is_initiated: Whether they do.
        days_to_treatment: Days from the index date, 0..window - 1; -1 where not initiated.
        intercept: Of the log-odds.
    """

    hcp: "np.ndarray"
    index_day: "np.ndarray"
    diagnosis_lag: "np.ndarray"
    age: "np.ndarray"
    is_female: "np.ndarray"
    region: "np.ndarray"
    insurance: "np.ndarray"
    comorbidities: "np.ndarray"
    prior_treatments: "np.ndarray"
    severity: "np.ndarray"
    is_academic: "np.ndarray"
    engagement: "np.ndarray"
    risk: "np.ndarray"
    effect: "np.ndarray"
    probability: "np.ndarray"
    is_initiated: "np.ndarray"
    days_to_treatment: "np.ndarray"
    intercept: float

    @property
    def size(self) -> int:
        """Number of patients."""
        return len(self.index_day)


def draw_panel(rng: "np.random.Generator", profile: vocabulary.BrandProfile, patients: int) -> Panel:
    """Draws the physicians: one per 50 patients, eight at least."""
    import numpy as np

    size = max(8, patients // 50)
    shares = np.array([0.60, 0.25, 0.15][: len(profile.specialties)])
    return Panel(
        specialty=cut(rng, size, tuple(shares / shares.sum())),
        region=cut(rng, size, (0.22, 0.36, 0.22, 0.20)),
        is_academic=rng.random(size) < 0.30,
        volume=np.maximum(10, rng.lognormal(5.0, 0.5, size)).astype(np.int64),
        pull=rng.normal(size=size),
    )


def draw_patients(
    rng: "np.random.Generator",
    profile: vocabulary.BrandProfile,
    panel: Panel,
    size: int,
    process: Process,
    outcome_window_days: int,
) -> Patients:
    """Draws the patients and their outcomes.

    Args:
        rng: The brand's own stream of random numbers.
        profile: The brand's profile.
        panel: Its physicians.
        size: Number of patients.
        process: How engagement acts.
        outcome_window_days: Days from the index date (included) in which treatment counts.
    """
    import numpy as np

    hcp = rng.choice(panel.size, size, p=panel.volume / panel.volume.sum())
    region = np.where(rng.random(size) < 0.9, panel.region[hcp], rng.integers(0, len(vocabulary.REGIONS), size))
    age = np.clip(np.rint(rng.normal(profile.mean_age, 13.0, size)), 18, 90).astype(np.int64)
    insurance = np.where(age >= 65, cut(rng, size, (0.25, 0.65, 0.08, 0.02)), cut(rng, size, (0.66, 0.04, 0.20, 0.10)))
    severity = np.round(10 * rng.beta(2.0, 2.0, size), 2)
    is_academic = panel.is_academic[hcp]
    comorbidities = np.minimum(rng.poisson(0.9, size), 3)
    risk = np.round(np.clip(rng.normal(0.20 + 0.03 * severity + 0.05 * comorbidities, 0.14), 0, 1), 3)
    prior_treatments = np.minimum(rng.poisson(0.6, size), 4)
    driven = 0.35 * severity + 1.5 * is_academic if process.is_confounded else np.full(size, 2.2)
    engagement = np.round(np.clip(1.2 + driven + 0.6 * panel.pull[hcp] + rng.normal(0, 1.4, size), 0, 10), 2)

    effect = process.effect(severity)
    score = effect * engagement + _background(severity, is_academic, risk, prior_treatments, age, insurance, region)
    intercept = _intercept(score)
    probability = 1 / (1 + np.exp(-(intercept + score)))
    is_initiated = rng.random(size) < probability
    days = np.floor(outcome_window_days * rng.beta(0.9, 2.2, size)).astype(np.int64)
    first, last = day_number(vocabulary.FIRST_INDEX_DAY), day_number(vocabulary.LAST_INDEX_DAY)
    return Patients(
        hcp=hcp,
        index_day=rng.integers(first, last + 1, size),
        diagnosis_lag=30 + np.minimum(rng.exponential(200, size), 1500).astype(np.int64),
        age=age,
        is_female=rng.random(size) < profile.female_share,
        region=region,
        insurance=insurance,
        comorbidities=comorbidities,
        prior_treatments=prior_treatments,
        severity=severity,
        is_academic=is_academic,
        engagement=engagement,
        risk=risk,
        effect=effect,
        probability=probability,
        is_initiated=is_initiated,
        days_to_treatment=np.where(is_initiated, np.minimum(days, outcome_window_days - 1), -1),
        intercept=intercept,
    )


def _background(
    severity: "np.ndarray",
    is_academic: "np.ndarray",
    risk: "np.ndarray",
    prior_treatments: "np.ndarray",
    age: "np.ndarray",
    insurance: "np.ndarray",
    region: "np.ndarray",
) -> "np.ndarray":
    """The log-odds beside intercept and engagement, after `COEFFICIENTS`."""
    plain = {name: value for name, value in COEFFICIENTS.items() if isinstance(value, float)}
    return (
        plain["disease_severity"] * (severity - 5)
        + plain["academic_hcp"] * is_academic
        + plain["risk_score"] * (risk - 0.4)
        + plain["prior_treatments"] * prior_treatments
        + plain["age_at_diagnosis"] * (age - 50)
        + _per_level("insurance_type", vocabulary.INSURANCE)[insurance]
        + _per_level("geographic_region", tuple(vocabulary.REGIONS))[region]
    )


def _per_level(name: str, levels: tuple[str, ...]) -> "np.ndarray":
    import numpy as np

    values = COEFFICIENTS[name]
    return np.array([values[level] for level in levels] if isinstance(values, dict) else [])


def _intercept(score: "np.ndarray") -> float:
    """The intercept under which the mean probability is `TREATMENT_RATE`, by bisection to 1e-9 of log-odds."""
    import numpy as np

    low, high = -50.0, 50.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if float(np.mean(1 / (1 + np.exp(-(middle + score))))) < TREATMENT_RATE:
            low = middle
        else:
            high = middle
    return (low + high) / 2
