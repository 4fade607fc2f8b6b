"""What a method should find in the generated world, computed from the process itself and not from the rows drawn.

Coefficients are the generator's own numbers, exact. Averages over patients come from a large simulation of the process
with a stream of its own, each with its standard error: they belong to process and brand, and no seed or size of a world
changes them. The intercept is solved on the same simulation, and is then the generator's own number.
"""

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.domain import synthetic_population as population
from e2i_pipeline.domain import synthetic_process as causes
from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_columns import day_number
from e2i_pipeline.domain.synthetic_process import PROCESSES, Drivers, Process

if TYPE_CHECKING:
    import numpy as np

PATIENTS = 2**17
"""Simulated patients; each with `DRAWS` engagement scores."""

DRAWS = 8
_BATCHES = 64
_STREAM = 20_260_101

DEFINITIONS = {
    "effect_log_odds": (
        "Mean over the patients of the change in the log-odds of starting treatment within the outcome window per "
        "further point of engagement_score, all else equal. Where it is one number for all patients it is the "
        "coefficient of a logistic regression on engagement_score and all that drives the outcome."
    ),
    "average_derivative": (
        "Mean over the patients, each at the engagement that the process gives, of the derivative of the probability "
        "of starting treatment with respect to engagement_score: effect * p * (1 - p). On the scale of probability, "
        "per point."
    ),
    "effect_of_one_more_point": (
        "Mean over the patients of P(treatment | engagement + 1) - P(treatment | engagement), all else equal."
    ),
    "partially_linear": (
        "What a partially linear model targets: E[Cov(T, Y | X)] / E[Var(T | X)], with T engagement_score, Y "
        "treatment_initiated and X all that drives the outcome, the hidden cause included where there is one. The "
        "average derivative, weighted by the variance of engagement."
    ),
    "partially_linear_observed": (
        "The same with X all that drives the outcome and that a column shows. Where there is a hidden cause this is no "
        "causal effect: it is where a partially linear model ends that does not know of it."
    ),
    "best_auc": "Area under the ROC curve of the true probability: no model can expect to do better.",
    "standard_error": "Of the figure of the same name, from the simulation; 0 where the figure is exact.",
    "segments": "The same figures among the patients of a segment, with the segment's share of the patients.",
    "intercept": "Of the log-odds, exact. With it the expected share of patients who start treatment is 0.30.",
    "coefficients": (
        "Log-odds of starting treatment beside intercept and engagement, exact: disease_severity - 5, academic_hcp, "
        "risk_score - 0.4, earlier drugs (at most 4), age_at_diagnosis - 50, insurance_type, geographic_region."
    ),
}
"""What each figure of the truth is, in words."""


class _Simulation(NamedTuple):
    """Patients of shape (PATIENTS,) and, per engagement score, (DRAWS, PATIENTS); the rates are given the intercept."""

    drivers: Drivers
    effect: "np.ndarray"
    engagement: "np.ndarray"
    score: "np.ndarray"


@functools.cache
def brand_truth(brand: str, process: str, seasonality: float) -> dict[str, Any]:
    """What a method should find among the patients of a brand, as JSON values; `DEFINITIONS` says what each is.

    Args:
        brand: Name of the brand.
        process: A name in `PROCESSES`.
        seasonality: 0..1.
    """
    import numpy as np

    how, profile = PROCESSES[process], _profile(brand)
    causal = _simulated(profile, how, seasonality)
    start = _intercept(causal.score)
    observed = _simulated(profile, how, seasonality, is_hidden_free=True) if how.has_hidden_cause else causal
    per_patient = _figures_per_patient(causal, observed, start)
    levels = np.unique(causal.effect)
    segments = {
        name: {"share": float(is_in.mean()), **_averages(per_patient, is_in)}
        for name, is_in in _segments(causal.drivers, how).items()
        if is_in.any()
    }
    first = causes.expit(start + causal.score[0])
    return {
        **_averages(per_patient, np.ones(PATIENTS, bool)),
        "effect_levels": levels.tolist() if len(levels) < _BATCHES else None,
        "segments": segments,
        "best_auc": _best_auc(first),
        "treatment_rate": causes.TREATMENT_RATE,
        "intercept": start,
        "coefficients": causes.COEFFICIENTS,
    }


def _profile(brand: str) -> vocabulary.BrandProfile:
    return vocabulary.BRAND_PROFILES.get(brand, vocabulary.GENERIC_PROFILE)


def _simulated(
    profile: vocabulary.BrandProfile, process: Process, seasonality: float, is_hidden_free: bool = False
) -> _Simulation:
    """Draws patients, each with a physician of their own: the process, and no panel of it.

    Args:
        profile: The brand's profile.
        process: The process.
        seasonality: 0..1.
        is_hidden_free: Whether the hidden cause is drawn anew for each engagement score, with all else held.
    """
    from dataclasses import replace

    import numpy as np

    rng = np.random.default_rng(_STREAM)
    panel = population.draw_panel(rng, profile, PATIENTS)
    drivers = population.draw_drivers(rng, profile, panel.region, panel.is_academic, process, seasonality)
    effect = process.effect(drivers)
    scores: list[np.ndarray] = []
    engagements: list[np.ndarray] = []
    for _ in range(DRAWS):
        mine = replace(drivers, hidden=rng.normal(size=PATIENTS)) if is_hidden_free else drivers
        engagements.append(causes.engagement(process, mine, rng.normal(size=PATIENTS), rng.normal(size=PATIENTS)))
        scores.append(effect * engagements[-1] + causes.background(process, mine, seasonality))
    return _Simulation(drivers, effect, np.stack(engagements), np.stack(scores))


def _intercept(score: "np.ndarray") -> float:
    """The intercept under which the mean probability is `TREATMENT_RATE`."""
    import numpy as np

    found, step = -1.0, 1.0
    while abs(step) > 1e-12:  # Newton: the mean probability is smooth and increasing in the intercept
        p = causes.expit(found + score)
        step = float((np.mean(p) - causes.TREATMENT_RATE) / np.mean(p * (1 - p)))
        found -= step
    return found


def _figures_per_patient(causal: _Simulation, observed: _Simulation, start: float) -> "dict[str, np.ndarray]":
    """What `_averages` averages, each of shape (PATIENTS,)."""
    p = causes.expit(start + causal.score)
    return {
        "effect": causal.effect,
        "derivative": (causal.effect * p * (1 - p)).mean(0),
        "point": (causes.expit(start + causal.score + causal.effect) - p).mean(0),
        "covariance": _covariance(causal.engagement, p),
        "variance": _covariance(causal.engagement, causal.engagement),
        "observed_covariance": _covariance(observed.engagement, causes.expit(start + observed.score)),
        "observed_variance": _covariance(observed.engagement, observed.engagement),
    }


def _covariance(one: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
    """Of each patient over the draws, unbiased: (DRAWS, n) and (DRAWS, n) to (n,)."""
    return ((one - one.mean(0)) * (other - other.mean(0))).sum(0) / (DRAWS - 1)


def _averages(per_patient: "dict[str, np.ndarray]", is_in: "np.ndarray") -> dict[str, Any]:
    """The figures over some patients, with standard errors from batches of them."""
    import numpy as np

    chosen = {name: values[is_in] for name, values in per_patient.items()}
    averages = _ratios({name: values.mean() for name, values in chosen.items()})
    batches = [
        _ratios({name: values[number::_BATCHES].mean() for name, values in chosen.items()})
        for number in range(_BATCHES)
    ]
    errors = {name: float(np.std([b[name] for b in batches], ddof=1) / np.sqrt(_BATCHES)) for name in averages}
    if np.ptp(chosen["effect"]) == 0:
        averages["effect_log_odds"], errors["effect_log_odds"] = float(chosen["effect"][0]), 0.0
    return {**averages, "standard_error": errors}


def _ratios(means: "dict[str, np.floating[Any]]") -> dict[str, float]:
    figures = {
        "effect_log_odds": means["effect"],
        "average_derivative": means["derivative"],
        "effect_of_one_more_point": means["point"],
        "partially_linear": means["covariance"] / means["variance"],
        "partially_linear_observed": means["observed_covariance"] / means["observed_variance"],
    }
    return {name: round(float(figure), 12) + 0.0 for name, figure in figures.items()}  # no 1e-19, no -0.0


def _segments(drivers: Drivers, process: Process) -> "dict[str, np.ndarray]":
    """Masks of shape (PATIENTS,) by name."""
    severity = drivers.severity
    found = {
        "disease_severity below 4": severity < 4,
        "disease_severity 4 to 7": (severity >= 4) & (severity <= 7),
        "disease_severity above 7": severity > 7,
    }
    if process is PROCESSES["time_series"]:
        for year in range(vocabulary.FIRST_INDEX_DAY.year, vocabulary.LAST_INDEX_DAY.year + 1):
            begin, end = (day_number(vocabulary.FIRST_INDEX_DAY.replace(year=y)) for y in (year, year + 1))
            found[f"index date in {year}"] = (drivers.index_day >= begin) & (drivers.index_day < end)
    return found


def _best_auc(p: "np.ndarray") -> float:
    """Expected area under the ROC curve where each of these probabilities is the score of one patient."""
    import numpy as np

    p = np.sort(p)
    below = np.cumsum(1 - p) - (1 - p)  # expected negatives with a lower score
    return float((p * (below + (1 - p) / 2)).sum() / (p.sum() * (1 - p).sum()))
