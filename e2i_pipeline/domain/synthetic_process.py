"""The causal structure of the generated world: what drives engagement, what drives the outcome, and how strongly.

It stands here and nowhere else: the world is drawn by it (`synthetic_population`), and so is the truth that is told
about it (`synthetic_truth`). No drawing of numbers here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_columns import day_number, season

if TYPE_CHECKING:
    import numpy as np

TREATMENT_RATE = 0.30
"""Expected share of patients who start treatment within the window; the intercept is solved for it."""

HALF_LIFE_DAYS = 365
"""`time_series`: after so many days an engagement point does half of what it did."""

SEASON_LOG_ODDS = 0.5
"""Log-odds of starting treatment in the middle of January beyond the yearly mean, at a seasonality of 1."""

COEFFICIENTS: dict[str, float | dict[str, float]] = {
    "disease_severity": 0.25,  # per point, centred at 5
    "academic_hcp": 0.60,
    "risk_score": 2.0,  # per 1, centred at 0.4
    "prior_treatments": 0.30,  # per earlier drug
    "age_at_diagnosis": -0.012,  # per year, centred at 50
    "insurance_type": {"commercial": 0.3, "medicare": 0.0, "medicaid": -0.3, "uninsured": -0.9},
    "geographic_region": {"northeast": 0.15, "south": -0.10, "midwest": 0.0, "west": 0.10},
}
"""Log-odds of starting treatment, beside the intercept, the effect of engagement, the season and what is hidden."""

HIDDEN_ENGAGEMENT = 1.2
"""`selection_bias`: engagement points per standard deviation of the hidden cause."""

HIDDEN_LOG_ODDS = 0.9
"""`selection_bias`: log-odds of starting treatment, and of the negative control, per standard deviation of it."""


@dataclass(frozen=True)
class Design:
    """What decides a generated world, beside the brands.

    Attributes:
        seed: >= 0.
        journeys_per_brand: Journeys, and patients, of each brand, >= 1.
        outcome_window_days: Days from the index date (included) in which treatment counts, >= 1.
        process: A name in `PROCESSES`.
        late_share: Share (0..1) of outcomes, clinical events and touches that arrive 30 to 120 days late.
        restated_share: Above 0, each journey comes in versions: one of the index day without an outcome, one with it,
            and for this share (0..1) of the closed ones a third, which corrects the second.
        restated_event_share: Share (0..1) of clinical events that come a second time, with another cost.
        missing_share: About the share (0..1) of journeys without disease severity: more among the old, and among
            patients of physicians who are not academic.
        seasonality: 0..1: how much more there is of everything in winter than in summer.
        reveal_confounder: Whether `selection_bias` delivers its hidden cause as a column too.
    """

    seed: int
    journeys_per_brand: int
    outcome_window_days: int = 180
    process: str = "confounded"
    late_share: float = 0.0
    restated_share: float = 0.0
    restated_event_share: float = 0.0
    missing_share: float = 0.0
    seasonality: float = 0.0
    reveal_confounder: bool = False


@dataclass(frozen=True)
class Drivers:
    """What drives engagement and the outcome; every array has shape (patients,).

    Attributes:
        index_day: Index date, days since 1970.
        age: Years at diagnosis, 18..90.
        region: Index into the regions.
        insurance: Index into the kinds of insurance.
        comorbidities: Their number, 0..3.
        prior_treatments: Earlier drugs, 0..4.
        severity: 0..10.
        is_academic: Whether the physician is academic.
        risk: Score, 0..1.
        hidden: The hidden cause, standard normal; 0 where the process has none.
    """

    index_day: "np.ndarray"
    age: "np.ndarray"
    region: "np.ndarray"
    insurance: "np.ndarray"
    comorbidities: "np.ndarray"
    prior_treatments: "np.ndarray"
    severity: "np.ndarray"
    is_academic: "np.ndarray"
    risk: "np.ndarray"
    hidden: "np.ndarray"

    @property
    def size(self) -> int:
        """Number of patients."""
        return len(self.index_day)


@dataclass(frozen=True)
class Process:
    """How engagement comes about and acts on the outcome.

    Attributes:
        definition: In words, for those who read `truth.json`.
        effect: Log-odds per engagement point of each patient, shape (patients,).
        is_confounded: Whether disease severity and an academic physician drive engagement too.
        has_hidden_cause: Whether engagement and outcome have a common cause that no column shows.
    """

    definition: str
    effect: "Callable[[Drivers], np.ndarray]"
    is_confounded: bool = True
    has_hidden_cause: bool = False


def _everywhere(effect: float) -> "Callable[[Drivers], np.ndarray]":
    def effect_of(drivers: Drivers) -> "np.ndarray":
        import numpy as np

        return np.full(drivers.size, effect)

    return effect_of


def _by_severity(drivers: Drivers) -> "np.ndarray":
    import numpy as np

    return np.select([drivers.severity > 7, drivers.severity >= 4], [0.50, 0.30], 0.15)


def _decaying(drivers: Drivers) -> "np.ndarray":
    import numpy as np

    age = drivers.index_day - day_number(vocabulary.FIRST_INDEX_DAY)
    return 0.30 * np.exp2(-age / HALF_LIFE_DAYS)


_CONFOUNDING = "Disease severity and an academic physician drive both engagement and the outcome."
PROCESSES = {
    "simple_linear": Process(
        "0.40 for everybody. Nothing drives both engagement and the outcome.", _everywhere(0.40), is_confounded=False
    ),
    "confounded": Process(f"0.25 for everybody. {_CONFOUNDING}", _everywhere(0.25)),
    "heterogeneous": Process(
        f"0.50 above a disease severity of 7, 0.30 from 4 to 7, 0.15 below 4. {_CONFOUNDING}", _by_severity
    ),
    "time_series": Process(
        f"0.30 * 2 ** (-d / {HALF_LIFE_DAYS}), where d is the number of days from {vocabulary.FIRST_INDEX_DAY} to the "
        f"journey's index date. {_CONFOUNDING}",
        _decaying,
    ),
    "selection_bias": Process(
        f"0.35 for everybody. {_CONFOUNDING} So does a cause that no column shows (unless reveal_confounder is on); "
        "it drives negative_control_outcome too, and engagement does not.",
        _everywhere(0.35),
        has_hidden_cause=True,
    ),
    "null_effect": Process(f"0 for everybody. {_CONFOUNDING}", _everywhere(0.0)),
}
"""The generating processes by name; each effect is in log-odds of starting treatment per engagement point."""


def engagement(process: Process, drivers: Drivers, pull: "np.ndarray", noise: "np.ndarray") -> "np.ndarray":
    """Engagement scores, 0..10, two decimals.

    Args:
        process: The process.
        drivers: Of n patients.
        pull: Of their physicians, standard normal; broadcasts with (n,).
        noise: Standard normal; broadcasts with (n,).
    """
    import numpy as np

    score = 0.35 * drivers.severity + 1.5 * drivers.is_academic if process.is_confounded else 2.2
    if process.has_hidden_cause:
        score = score + HIDDEN_ENGAGEMENT * drivers.hidden
    return np.round(np.clip(1.2 + score + 0.6 * pull + 1.4 * noise, 0, 10), 2)


def background(process: Process, drivers: Drivers, seasonality: float) -> "np.ndarray":
    """The log-odds beside intercept and engagement, shape (patients,).

    Args:
        process: The process.
        drivers: Of the patients.
        seasonality: 0..1.
    """
    plain = {name: value for name, value in COEFFICIENTS.items() if isinstance(value, float)}
    score = (
        plain["disease_severity"] * (drivers.severity - 5)
        + plain["academic_hcp"] * drivers.is_academic
        + plain["risk_score"] * (drivers.risk - 0.4)
        + plain["prior_treatments"] * drivers.prior_treatments
        + plain["age_at_diagnosis"] * (drivers.age - 50)
        + _per_level("insurance_type", vocabulary.INSURANCE)[drivers.insurance]
        + _per_level("geographic_region", tuple(vocabulary.REGIONS))[drivers.region]
    )
    if process.has_hidden_cause:
        score += HIDDEN_LOG_ODDS * drivers.hidden
    if seasonality:
        score += SEASON_LOG_ODDS * seasonality * season(drivers.index_day)
    return score


def negative_control_log_odds(drivers: Drivers) -> "np.ndarray":
    """Log-odds of the negative control: by the hidden cause and by what is observed, and not by engagement."""
    return -1.0 + HIDDEN_LOG_ODDS * drivers.hidden + 0.10 * (drivers.severity - 5) + 0.02 * (drivers.age - 50)


def _per_level(name: str, levels: tuple[str, ...]) -> "np.ndarray":
    import numpy as np

    values = COEFFICIENTS[name]
    return np.array([values[level] for level in levels] if isinstance(values, dict) else [])


def expit(log_odds: "np.ndarray") -> "np.ndarray":
    """Probabilities."""
    import numpy as np

    return 1 / (1 + np.exp(-log_odds))
