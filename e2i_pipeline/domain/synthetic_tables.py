"""People and their histories of the generated world as canonical tables: journeys and profiles.

Who the people are belongs to `synthetic_population`, what happens to them to `synthetic_events`.
"""

# pyarrow ships no types, so what comes out of it is unknown to the type checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from typing import TYPE_CHECKING

from e2i_pipeline.contracts.tables import HCP_PROFILES, PATIENT_JOURNEYS
from e2i_pipeline.domain import synthetic_columns as columns
from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_columns import DAY_US, day_number, numbered, some, typed, words
from e2i_pipeline.domain.synthetic_population import Panel, Patients
from e2i_pipeline.domain.synthetic_process import PROCESSES, Design
from e2i_pipeline.domain.synthetic_versions import HCP_DIGITS, JourneyIds, Streams, Versions, draw_versions

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_FURTHER = {"negative_control_outcome": "INTEGER", "hidden_confounder": "DOUBLE"}
"""Columns beyond the data dictionary, of a process with a hidden cause."""


def journeys_table(
    streams: "Streams", brand: str, profile: vocabulary.BrandProfile, patients: Patients, design: Design
) -> "pa.Table":
    """One row per journey, or its versions where the design restates (see `synthetic_versions`).

    Without versions it is the one that was known on the final day. It is written when the outcome becomes known: soon
    after treatment began, or when the window closed. While the window is open it holds the baseline only, and
    `treatment_initiated` is null.
    """
    import numpy as np

    rng, ids = streams.journeys, JourneyIds.of(brand, patients)
    versions = draw_versions(rng, streams.history, patients, design)
    baseline = {
        "patient_journey_id": ids.journey,
        "patient_id": ids.patient,
        "hcp_id": ids.hcp,
        "brand": words([brand], np.zeros(patients.size)),
        "journey_start_date": patients.index_day,
        **_clinical(rng, profile, patients),
        **_social(rng, patients),
        "risk_score": typed(patients.risk, "DOUBLE", some(rng, patients.size, 0.015)),
        "disease_severity": typed(patients.severity, "DOUBLE", _missing(streams.history, profile, patients, design)),
        "academic_hcp": patients.is_academic,
        "engagement_score": patients.engagement,
        "source_match_confidence": columns.score(rng, 15, 1.2, patients.size),
        "data_source": words(vocabulary.DATA_SOURCES, columns.cut(rng, patients.size, (0.5, 0.25, 0.15, 0.10))),
        "hidden_confounder": patients.hidden,
    }
    rows = {name: columns.at(values, versions.patient) for name, values in baseline.items()}
    schema = PATIENT_JOURNEYS
    if PROCESSES[design.process].has_hidden_cause:
        revealed = ("negative_control_outcome", *(["hidden_confounder"] if design.reveal_confounder else []))
        schema = schema.with_columns({name: _FURTHER[name] for name in revealed})
    return columns.table(schema, {**rows, **_reported(rng, patients, versions, design)})


def _reported(
    rng: "np.random.Generator", patients: Patients, versions: Versions, design: Design
) -> "dict[str, np.ndarray | pa.Array]":
    """What differs between the versions of a journey: its outcome, and what became known when."""
    import numpy as np

    index_day, m = patients.index_day[versions.patient], len(versions.patient)
    is_treated, is_open = versions.is_treated, ~versions.has_outcome
    stage = np.where(is_treated, 1 + columns.cut(rng, m, (0.70, 0.15, 0.10, 0.05)), 0)
    status = np.where(is_treated, columns.cut(rng, m, (0.50, 0.40, 0.10)), np.where(is_open, 0, 3))
    window = design.outcome_window_days
    return {
        "journey_end_date": typed(index_day + window, "DATE", is_open | is_treated),
        "journey_duration_days": typed(np.full(m, window), "INTEGER", is_open | is_treated),
        "journey_stage": words(
            ["diagnosis", "initial_treatment", "treatment_optimization", "maintenance", "treatment_switch"], stage
        ),
        "journey_status": words(["active", "stable", "transitioning", "completed"], status),
        "treatment_initiated": typed(is_treated, "INTEGER", is_open),
        "days_to_treatment": typed(patients.days_to_treatment[versions.patient], "INTEGER", ~is_treated),
        "negative_control_outcome": typed(patients.is_control[versions.patient], "INTEGER", is_open),
        "data_quality_score": columns.score(rng, 12, 1.5, m),
        "source_timestamp": versions.sourced - rng.integers(0, 43_200, m) * 1_000_000,
        "ingestion_timestamp": versions.known,
        "data_split": words(["unassigned"], np.zeros(m)),
        "created_at": np.minimum(index_day * DAY_US, versions.known),
        "updated_at": versions.known,
    }


def _missing(
    rng: "np.random.Generator", profile: vocabulary.BrandProfile, patients: Patients, design: Design
) -> "np.ndarray | None":
    """Whose disease severity is not known: it depends on age and physician only, and both are known (MAR)."""
    import numpy as np

    if not design.missing_share:
        return None
    # Their means over the patients are 1: exp(0.03 * 13 z) has the mean exp(0.39 ** 2 / 2), and 0.3 are academic.
    by_age = np.exp(0.03 * (patients.age - profile.mean_age)) / np.exp(0.39**2 / 2)
    by_physician = np.where(patients.is_academic, 0.5, 1.214)
    return rng.random(patients.size) < np.minimum(design.missing_share * by_age * by_physician, 0.95)


def _clinical(
    rng: "np.random.Generator", profile: vocabulary.BrandProfile, patients: Patients
) -> "dict[str, pa.Array]":
    import numpy as np

    codes = profile.diagnoses
    shares = np.array([0.6, 0.2, 0.1, 0.1][: len(codes)])
    # Distinct comorbidities of one patient: consecutive ones from a random start.
    start = np.repeat(rng.integers(0, len(vocabulary.COMORBIDITIES), patients.size), patients.comorbidities)
    rank = np.arange(len(start)) - np.repeat(
        np.cumsum(patients.comorbidities) - patients.comorbidities, patients.comorbidities
    )
    which = (start + rank) % len(vocabulary.COMORBIDITIES)
    return {
        "primary_diagnosis_code": words(codes, columns.cut(rng, patients.size, tuple(shares / shares.sum()))),
        "secondary_diagnosis_codes": columns.lists(words(vocabulary.COMORBIDITY_CODES, which), patients.comorbidities),
        "comorbidities": columns.lists(words(vocabulary.COMORBIDITIES, which), patients.comorbidities),
    }


def _social(rng: "np.random.Generator", patients: Patients) -> "dict[str, np.ndarray | pa.Array]":
    import numpy as np

    n = patients.size
    states = [state for region in vocabulary.REGIONS.values() for state in region]
    return {
        "age_at_diagnosis": patients.age,
        "age_group": words(["18-34", "35-49", "50-64", "65+"], np.searchsorted([35, 50, 65], patients.age, "right")),
        "gender": words(["male", "female"], patients.is_female.astype(np.int64), some(rng, n, 0.01)),
        "geographic_region": words(tuple(vocabulary.REGIONS), patients.region, some(rng, n, 0.01)),
        "state": words(states, patients.region * 4 + rng.integers(0, 4, n)),
        "zip_code": numbered("", rng.integers(1_001, 99_950, n), 5, some(rng, n, 0.02)),
        "insurance_type": words(vocabulary.INSURANCE, patients.insurance, some(rng, n, 0.02)),
    }


def profiles_table(
    rng: "np.random.Generator", brand: str, profile: vocabulary.BrandProfile, panel: Panel, number: int
) -> "pa.Table":
    """One or two versions of each physician; the first is older than any index date.

    Args:
        rng: Stream of random numbers.
        brand: Name of the brand.
        profile: Its profile.
        panel: Some of its physicians.
        number: Number of the first of them.
    """
    import numpy as np

    first = rng.integers(day_number(vocabulary.FIRST_TOUCH_DAY), day_number(vocabulary.FIRST_INDEX_DAY) - 1, panel.size)
    second = rng.integers(day_number(vocabulary.FIRST_INDEX_DAY) + 150, day_number(vocabulary.FINAL_DAY), panel.size)
    has_second = rng.random(panel.size) < 0.5
    hcp = np.concatenate([np.arange(panel.size), np.flatnonzero(has_second)])
    updated_day = np.concatenate([first, second[has_second]])
    m = len(hcp)
    growth = np.concatenate([np.ones(panel.size), rng.uniform(0.9, 1.3, int(has_second.sum()))])
    volume = (panel.volume[hcp] * growth).astype(np.int64)
    rank = panel.rank[hcp]
    states = [state for region in vocabulary.REGIONS.values() for state in region]
    state, city, name, surname, years, practice, channel = (  # what no version changes: drawn once per physician
        rng.integers(0, high, panel.size)[hcp] for high in (4, 40, 8, 8, 35, 3, len(vocabulary.CHANNELS))
    )
    digital = np.clip(0.5 + 0.15 * panel.pull[hcp] + rng.normal(0, 0.1, m), 0, 1)
    return columns.table(
        HCP_PROFILES,
        {
            "hcp_id": numbered(f"{brand}-H", number + hcp, HCP_DIGITS),
            "npi": numbered("9", number + hcp, 9),
            "first_name": words(vocabulary.FIRST_NAMES, name),
            "last_name": words(vocabulary.LAST_NAMES, surname),
            "specialty": words(profile.specialties, panel.specialty[hcp]),
            "sub_specialty": words(["adult", "paediatric"], (years < 4).astype(np.int64), some(rng, m, 0.03)),
            "practice_type": words(vocabulary.PRACTICES, np.where(panel.is_academic[hcp], 3, practice)),
            "practice_size": words(["small", "medium", "large"], np.searchsorted([100, 250], volume)),
            "geographic_region": words(tuple(vocabulary.REGIONS), panel.region[hcp]),
            "state": words(states, panel.region[hcp] * 4 + state),
            "city": words([f"City {number:02}" for number in range(40)], city),
            "zip_code": numbered("", 10_000 + 97 * (number + hcp) % 80_000, 5),
            "priority_tier": 5 - np.minimum((rank * 5).astype(np.int64), 4),
            "decile": 1 + np.minimum((rank * 10).astype(np.int64), 9),
            "total_patient_volume": volume,
            "target_patient_volume": (volume * rng.uniform(0.1, 0.4, m)).astype(np.int64),
            "prescribing_volume": (volume * rng.uniform(0.2, 0.9, m)).astype(np.int64),
            "years_experience": years + 1,
            "digital_engagement_score": typed(np.round(digital, 3), "DOUBLE", some(rng, m, 0.02)),
            "preferred_channel": words(tuple(vocabulary.CHANNELS), channel),
            "last_interaction_date": typed(updated_day - rng.integers(1, 60, m), "DATE", some(rng, m, 0.03)),
            "interaction_frequency": np.round(np.exp(0.6 + 0.3 * panel.pull[hcp]), 2),
            "influence_network_size": rng.poisson(25, m),
            "peer_influence_score": np.round(np.clip(rng.beta(2, 4, m) + 0.2 * panel.is_academic[hcp], 0, 1), 3),
            "adoption_category": words(["early", "majority", "late"], columns.cut(rng, m, (0.2, 0.6, 0.2))),
            "coverage_status": words(["covered", "vacant"], columns.cut(rng, m, (0.9, 0.1))),
            "territory_id": numbered("T-", panel.region[hcp] * 10 + city % 10, 3),
            "sales_rep_id": numbered("REP-", panel.region[hcp] * 10 + city % 10, 3),
            "created_at": first[hcp] * DAY_US,
            "updated_at": updated_day * DAY_US + rng.integers(0, 86_399, m) * 1_000_000,
        },
    )
