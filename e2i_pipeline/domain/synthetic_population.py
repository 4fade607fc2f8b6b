"""Who lives in the generated world: a brand's physicians and patients, and whether each patient starts treatment.

What drives what stands in `synthetic_process`. How people and events are written as canonical tables belongs to
`synthetic_tables`; calendar and words to `synthetic_vocabulary`.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from e2i_pipeline.domain import synthetic_process as causes
from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_columns import cut, day_number, days
from e2i_pipeline.domain.synthetic_process import PROCESSES, Design, Drivers, Process

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Panel:
    """The physicians of a brand; every array has shape (physicians,).

    Attributes:
        specialty: Index into the brand's specialties.
        region: Index into the regions.
        is_academic: Whether they work at an academic centre.
        volume: Patients a year.
        rank: 0..1: the share of physicians with fewer patients.
        pull: How much engagement they attract beyond everything else, standard normal.
    """

    specialty: "np.ndarray"
    region: "np.ndarray"
    is_academic: "np.ndarray"
    volume: "np.ndarray"
    rank: "np.ndarray"
    pull: "np.ndarray"

    @property
    def size(self) -> int:
        """Number of physicians."""
        return len(self.region)

    def part(self, first: int, end: int) -> "Panel":
        """The physicians from number `first` to before number `end`."""
        return Panel(*(getattr(self, field.name)[first:end] for field in fields(self)))


@dataclass(frozen=True)
class Patients(Drivers):
    """Some patients of a brand, one journey each; every array has shape (patients,).

    Attributes:
        first: Number of the first of them among the brand's.
        hcp: Index into the panel.
        diagnosis_lag: Days from the first diagnosis to the index date, >= 30.
        is_female: Gender.
        engagement: Score, 0..10.
        is_initiated: Whether they start treatment within the window.
        days_to_treatment: Days from the index date, 0..window - 1; -1 where not initiated.
        is_control: The negative control outcome.
    """

    first: int
    hcp: "np.ndarray"
    diagnosis_lag: "np.ndarray"
    is_female: "np.ndarray"
    engagement: "np.ndarray"
    is_initiated: "np.ndarray"
    days_to_treatment: "np.ndarray"
    is_control: "np.ndarray"


def draw_panel(rng: "np.random.Generator", profile: vocabulary.BrandProfile, size: int) -> Panel:
    """Draws the physicians; 30 % of them are academic, in a small panel too."""
    import numpy as np

    shares = np.array([0.60, 0.25, 0.15][: len(profile.specialties)])
    volume = np.maximum(10, rng.lognormal(5.0, 0.5, size)).astype(np.int64)
    return Panel(
        specialty=cut(rng, size, tuple(shares / shares.sum())),
        region=cut(rng, size, (0.22, 0.36, 0.22, 0.20)),
        is_academic=rng.permutation(size) < round(0.30 * size),
        volume=volume,
        rank=np.argsort(np.argsort(volume)) / size,
        pull=rng.normal(size=size),
    )


def draw_drivers(
    rng: "np.random.Generator",
    profile: vocabulary.BrandProfile,
    region: "np.ndarray",
    is_academic: "np.ndarray",
    process: Process,
    seasonality: float,
) -> Drivers:
    """Draws what drives engagement and outcome.

    Args:
        rng: Stream of random numbers.
        profile: The brand's profile.
        region: The region of each patient's physician, shape (patients,).
        is_academic: Whether that physician is academic, shape (patients,).
        process: The process.
        seasonality: 0..1.
    """
    import numpy as np

    size = len(region)
    first, last = day_number(vocabulary.FIRST_INDEX_DAY), day_number(vocabulary.LAST_INDEX_DAY)
    age = np.clip(np.rint(rng.normal(profile.mean_age, 13.0, size)), 18, 90).astype(np.int64)
    severity = np.round(10 * rng.beta(2.0, 2.0, size), 2)
    comorbidities = np.minimum(rng.poisson(0.9, size), 3)
    return Drivers(
        index_day=days(rng, first, last, size, seasonality),
        age=age,
        region=np.where(rng.random(size) < 0.9, region, rng.integers(0, len(vocabulary.REGIONS), size)),
        insurance=np.where(
            age >= 65, cut(rng, size, (0.25, 0.65, 0.08, 0.02)), cut(rng, size, (0.66, 0.04, 0.20, 0.10))
        ),
        comorbidities=comorbidities,
        prior_treatments=np.minimum(rng.poisson(0.6, size), 4),
        severity=severity,
        is_academic=is_academic,
        risk=np.round(np.clip(rng.normal(0.20 + 0.03 * severity + 0.05 * comorbidities, 0.14), 0, 1), 3),
        hidden=np.round(rng.normal(size=size), 4) if process.has_hidden_cause else np.zeros(size),
    )


def draw_patients(
    rng: "np.random.Generator",
    profile: vocabulary.BrandProfile,
    panel: Panel,
    rows: range,
    design: Design,
    intercept: float,
) -> Patients:
    """Draws patients and their outcomes.

    Args:
        rng: The stream of random numbers of these patients.
        profile: The brand's profile.
        panel: All its physicians.
        rows: The patients' numbers among the brand's.
        design: What decides the world.
        intercept: Of the log-odds of starting treatment.
    """
    import numpy as np

    size, process, window = len(rows), PROCESSES[design.process], design.outcome_window_days
    hcp = rng.choice(panel.size, size, p=panel.volume / panel.volume.sum())
    drivers = draw_drivers(rng, profile, panel.region[hcp], panel.is_academic[hcp], process, design.seasonality)
    engagement = causes.engagement(process, drivers, panel.pull[hcp], rng.normal(size=size))
    score = process.effect(drivers) * engagement + causes.background(process, drivers, design.seasonality)
    is_initiated = rng.random(size) < causes.expit(intercept + score)
    waited = np.floor(window * rng.beta(0.9, 2.2, size)).astype(np.int64)
    is_control = np.zeros(size, bool)
    if process.has_hidden_cause:
        is_control = rng.random(size) < causes.expit(causes.negative_control_log_odds(drivers))
    return Patients(
        **vars(drivers),
        first=rows.start,
        hcp=hcp,
        diagnosis_lag=30 + np.minimum(rng.exponential(200, size), 1500).astype(np.int64),
        is_female=rng.random(size) < profile.female_share,
        engagement=engagement,
        is_initiated=is_initiated,
        days_to_treatment=np.where(is_initiated, np.minimum(waited, window - 1), -1),
        is_control=is_control,
    )
