"""A world of patients with a known causal effect: the four canonical tables, and the truth beside them.

Everything follows from the seed: no clock, no I/O, no loop over rows. Who the people are and what drives them stands
in `synthetic_population`, how they are written as tables in `synthetic_tables` and `synthetic_events`.
"""

# pyarrow ships no types, so what comes out of it is unknown to the type checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain import synthetic_events as events
from e2i_pipeline.domain import synthetic_population as population
from e2i_pipeline.domain import synthetic_tables as tables
from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_population import Patients, Process

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

GENERATOR_VERSION = 1
"""Raised whenever the same seed would give other tables."""


class World(NamedTuple):
    """What was generated.

    Attributes:
        tables: The canonical tables by name.
        truth: JSON values: what a method should find in them, per brand.
    """

    tables: "dict[str, pa.Table]"
    truth: dict[str, Any]


def _by_severity(severity: "np.ndarray") -> "np.ndarray":
    """Log-odds per engagement point: 0.50 above severity 7, 0.30 from 4 to 7, 0.15 below 4. Shape (n,) to (n,)."""
    import numpy as np

    return np.select([severity > 7, severity >= 4], [0.50, 0.30], 0.15)


def _everywhere(effect: float) -> "Callable[[np.ndarray], np.ndarray]":
    """One effect for everybody, in log-odds per engagement point."""

    def effect_of(severity: "np.ndarray") -> "np.ndarray":
        import numpy as np

        return np.full(len(severity), effect)

    return effect_of


PROCESSES = {
    "confounded": Process(effect=_everywhere(0.25), is_confounded=True),
    "simple_linear": Process(effect=_everywhere(0.40), is_confounded=False),
    "heterogeneous": Process(effect=_by_severity, is_confounded=True),
    "null_effect": Process(effect=_everywhere(0.0), is_confounded=True),
}
"""The generating processes by name."""


def generate(
    brands: Sequence[str],
    seed: int,
    journeys_per_brand: int,
    outcome_window_days: int = 180,
    process: str = "confounded",
) -> World:
    """Generates the world. A brand's rows depend on its name, the seed and the sizes, not on the other brands.

    Args:
        brands: Brand names.
        seed: >= 0.
        journeys_per_brand: Journeys, and patients, of each brand, >= 1.
        outcome_window_days: Days from the index date (included) in which treatment counts, >= 1.
        process: A name in `PROCESSES`.

    Returns:
        The four canonical tables over all brands, and the truth.

    Raises:
        ValueError: There is no such process.
    """
    import pyarrow as pa

    if process not in PROCESSES:
        raise ValueError(f"There is no generating process {process!r}; there are {', '.join(PROCESSES)}.")
    parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    truth: dict[str, Any] = {"process": process, "seed": seed, "generator_version": GENERATOR_VERSION, "brands": {}}
    for brand in brands:
        world = _generate_brand(brand, seed, journeys_per_brand, outcome_window_days, PROCESSES[process])
        for name, part in world.tables.items():
            parts[name].append(part)
        truth["brands"][brand] = world.truth
    return World({name: pa.concat_tables(found) for name, found in parts.items()}, truth)


def _generate_brand(brand: str, seed: int, size: int, window: int, process: Process) -> World:
    import numpy as np

    # One stream per table, so that a change to one leaves the others as they were.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, zlib.crc32(brand.encode())]).spawn(6)]
    profile = vocabulary.BRAND_PROFILES.get(brand, vocabulary.GENERIC_PROFILE)
    panel = population.draw_panel(streams[0], profile, size)
    patients = population.draw_patients(streams[1], profile, panel, size, process, window)
    drawn = events.draw_events(streams[2], profile, patients, window)
    return World(
        {
            "patient_journeys": tables.journeys_table(streams[3], brand, patients, window),
            "treatment_events": events.events_table(streams[2], brand, profile, patients, drawn),
            "hcp_profiles": tables.profiles_table(streams[4], brand, profile, panel),
            "engagement_events": events.touches_table(streams[5], brand, panel, patients),
        },
        _truth(patients),
    )


def _truth(patients: Patients) -> dict[str, Any]:
    """What a method should find: coefficients (log-odds), average derivative (probability), best achievable AUC."""
    import numpy as np

    spread = patients.probability * (1 - patients.probability)
    return {
        "journeys": patients.size,
        "treatment_rate": float(patients.is_initiated.mean()),
        "effect_log_odds": float(patients.effect.mean()),
        "effect_levels": np.unique(patients.effect).tolist(),
        "average_derivative": float((patients.effect * spread).mean()),
        "best_auc": _auc(patients.probability, patients.is_initiated),
        "intercept": patients.intercept,
        "coefficients": population.COEFFICIENTS,
    }


def _auc(score: "np.ndarray", outcome: "np.ndarray") -> float | None:
    """Area under the ROC curve by ranks (Mann-Whitney); scores without ties. None where one class is empty."""
    import numpy as np

    positives = int(outcome.sum())
    negatives = len(outcome) - positives
    if positives == 0 or negatives == 0:
        return None
    rank_sum = float((np.argsort(np.argsort(score)) + 1)[outcome].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
