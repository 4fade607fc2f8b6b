"""What happens to the people of the generated world: clinical events and touches, as canonical tables.

Nothing here changes an outcome: events follow from what `synthetic_population` drew, so a feature that looks past the
prediction time finds the outcome (a prescription of the brand) and betrays itself.
"""

# pyarrow ships no types, so what comes out of it is unknown to the type checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.tables import ENGAGEMENT_EVENTS, TREATMENT_EVENTS
from e2i_pipeline.domain import synthetic_columns as columns
from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_columns import DAY_US, day_number, numbered, some, typed, words
from e2i_pipeline.domain.synthetic_population import Panel, Patients
from e2i_pipeline.domain.synthetic_process import Design
from e2i_pipeline.domain.synthetic_versions import FINAL_INSTANT, HCP_DIGITS, JourneyIds, Streams, delays

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

TYPES = ("diagnosis", "consultation", "lab_test", "procedure", "prescription", "hospitalization")
_DIAGNOSIS, _CONSULTATION, _LAB, _PROCEDURE, _PRESCRIPTION, _HOSPITAL = range(6)
_SUBTYPES = ("initial", "follow_up", "routine", "diagnostic", "oral", "acute")
_PLACES = ("outpatient", "laboratory", "pharmacy", "hospital")
_PLACE = (0, 0, 1, 0, 2, 3)  # per type
_MEDIAN_COST = (150.0, 120.0, 60.0, 450.0, 900.0, 9_000.0)  # dollars, per type


_FACILITIES = tuple(f"F{number:04}" for number in range(200))
_FIRST_EVENT_DAY = day_number(vocabulary.FIRST_INDEX_DAY) - 2_000
"""Before any event: a diagnosis is at most 1,530 days old on the index date."""


@dataclass(frozen=True)
class Events:
    """Clinical events that are known on the final day, by patient and date; every array has shape (events,).

    Attributes:
        patient: Index into the patients.
        day: Event date, days since 1970.
        offset: Days from the index date.
        kind: Index into `TYPES`.
        drug: For a prescription 0 the brand, 1.. an earlier drug; -1 otherwise.
        known: Known-at time, microseconds since 1970 (UTC).
    """

    patient: "np.ndarray"
    day: "np.ndarray"
    offset: "np.ndarray"
    kind: "np.ndarray"
    drug: "np.ndarray"
    known: "np.ndarray"


def draw_events(
    rng: "np.random.Generator",
    history: "np.random.Generator",
    profile: vocabulary.BrandProfile,
    patients: Patients,
    design: Design,
) -> Events:
    """Draws six to eight events per patient, some before and some after the index date.

    Nothing happens after the window closes but refills, so that no event lies after the end of its journey.

    Args:
        rng: The stream of the events.
        history: The stream of what comes late.
        profile: The brand's profile.
        patients: The patients.
        design: What decides the world.
    """
    import numpy as np

    parts = _parts(rng, patients, design.outcome_window_days)
    patient = np.concatenate([who for who, _, _ in parts])
    offset = np.concatenate([days for _, days, _ in parts]).astype(np.int32)
    kind = np.concatenate([np.full(len(who), kind, np.int8) for who, _, kind in parts])
    day = patients.index_day[patient] + offset
    lag_hours = np.where(some(rng, len(day), 0.05), rng.integers(72, 336, len(day)), rng.integers(26, 60, len(day)))
    known = day * DAY_US + lag_hours * 3_600_000_000 + delays(history, design.late_share, len(day))
    kept = np.flatnonzero(known <= FINAL_INSTANT)
    # By patient, date and kind: one key, since one sort is a third of three.
    key = (patient[kept] * 2**16 + (day[kept] - _FIRST_EVENT_DAY)) * len(TYPES) + kind[kept]
    order = kept[np.argsort(key, kind="stable")]
    drug = np.where(offset[order] >= 0, 0, rng.integers(1, len(profile.prior_drugs) + 1, len(order), np.int8))
    drug = np.where(kind[order] == _PRESCRIPTION, drug, -1).astype(np.int8)
    return Events(patient[order], day[order], offset[order], kind[order], drug, known[order])


def _parts(rng: "np.random.Generator", patients: Patients, window: int) -> "list[tuple[np.ndarray, np.ndarray, int]]":
    """Whose events, on which day after the index date, of which kind."""
    import numpy as np

    n, everyone, treated = patients.size, np.arange(patients.size), patients.is_initiated
    parts: list[tuple[np.ndarray, np.ndarray, int]] = [(everyone, -patients.diagnosis_lag, _DIAGNOSIS)]
    rates = {
        _CONSULTATION: (1.2, 0.9 + 0.8 * treated),
        _LAB: (0.5 + 0.1 * patients.severity, 0.6 + 0.6 * treated),
        _PROCEDURE: (0.25, 0.25),
        _HOSPITAL: (0.02 + 0.01 * patients.severity, 0.03),
    }
    for kind, (before, after) in rates.items():
        who = np.repeat(everyone, rng.poisson(before, n))
        parts.append((who, -1 - (rng.random(len(who)) * patients.diagnosis_lag[who]).astype(np.int64), kind))
        who = np.repeat(everyone, rng.poisson(after, n))
        parts.append((who, rng.integers(1, window + 1, len(who)), kind))
    visit = everyone[some(rng, n, 0.5)]  # the visit of the index day itself
    parts.append((visit, np.zeros(len(visit), np.int64), _CONSULTATION))
    earlier = np.repeat(everyone, patients.prior_treatments)
    parts.append(
        (earlier, -1 - (rng.random(len(earlier)) * patients.diagnosis_lag[earlier]).astype(np.int64), _PRESCRIPTION)
    )
    first = np.flatnonzero(treated)
    parts.append((first, patients.days_to_treatment[first], _PRESCRIPTION))
    refills = rng.poisson(1.2, len(first))
    again = np.repeat(first, refills)
    nth = np.arange(len(again)) - np.repeat(np.cumsum(refills) - refills, refills) + 1
    parts.append((again, patients.days_to_treatment[again] + 30 * nth, _PRESCRIPTION))
    return parts


def events_table(
    rng: "np.random.Generator",
    brand: str,
    profile: vocabulary.BrandProfile,
    patients: Patients,
    events: Events,
    number: int,
) -> "pa.Table":
    """The clinical events, numbered per patient in the order of their dates.

    Args:
        rng: The stream of the events.
        brand: Name of the brand.
        profile: Its profile.
        patients: The patients.
        events: Their events.
        number: Number of the first event among the brand's.
    """
    import numpy as np

    m = len(events.patient)
    rank = np.arange(m, dtype=np.int32)
    starts = np.r_[True, events.patient[1:] != events.patient[:-1]]
    sequence = rank - np.maximum.accumulate(np.where(starts, rank, 0)) + 1
    journey, patient, hcp = JourneyIds.of(brand, patients).of_patients(events.patient)
    is_drug, is_stay = events.kind == _PRESCRIPTION, events.kind == _HOSPITAL
    is_adverse = (events.offset > 0) & (events.kind == _CONSULTATION) & some(rng, m, 0.03)
    is_stop = (events.drug == 0) & some(rng, m, 0.05)
    duration = np.where(is_stay, rng.integers(1, 10, m, np.int32), 30)
    return columns.table(
        TREATMENT_EVENTS,
        {
            "treatment_event_id": numbered(f"{brand}-T", number + rank, 8),
            "patient_journey_id": journey,
            "patient_id": patient,
            "hcp_id": hcp,
            "event_date": events.day,
            "event_type": words(TYPES, events.kind),
            "event_subtype": words(_SUBTYPES, events.kind),
            **_drugs(rng, brand, profile, events),
            "duration_days": typed(duration, "INTEGER", ~(is_drug | is_stay)),
            **_codes(rng, profile, events),
            "location_type": words(_PLACES, np.array(_PLACE)[events.kind]),
            "facility_id": words(_FACILITIES, rng.integers(0, len(_FACILITIES), m, np.int16), some(rng, m, 0.02)),
            "cost": typed(_costs(rng, events), "DOUBLE", some(rng, m, 0.02)),
            "outcome_indicator": words(["normal", "abnormal"], some(rng, m, 0.3), events.kind != _LAB),
            "adverse_event_flag": typed(is_adverse, "BOOLEAN"),
            "discontinuation_flag": typed(is_stop, "BOOLEAN"),
            "discontinuation_reason": words(["intolerance", "cost"], some(rng, m, 0.4), ~is_stop),
            "sequence_number": sequence,
            "days_from_diagnosis": events.offset + patients.diagnosis_lag[events.patient],
            "data_source": words(vocabulary.DATA_SOURCES, columns.cut(rng, m, (0.5, 0.25, 0.15, 0.10))),
            "source_timestamp": events.known - rng.integers(0, 7_200, m, np.int32).astype(np.int64) * 1_000_000,
            "created_at": events.known,
            "data_split": words(["unassigned"], np.zeros(m, np.int8)),
        },
    )


def _drugs(
    rng: "np.random.Generator", brand: str, profile: vocabulary.BrandProfile, events: Events
) -> "dict[str, pa.Array]":
    import numpy as np

    names = (brand, *profile.prior_drugs)
    m = len(events.drug)
    is_other = events.drug < 0
    drug = np.maximum(events.drug, 0)
    # Neighbours among the prescriptions alone: -1 where the patient has none.
    given = np.flatnonzero(~is_other)
    same = events.patient[given[1:]] == events.patient[given[:-1]]
    before, after = np.full(m, -1, np.int8), np.full(m, -1, np.int8)
    before[given[1:]] = np.where(same, drug[given[:-1]], -1)
    after[given[:-1]] = np.where(same, drug[given[1:]], -1)
    is_own = np.minimum(drug, 1)
    return {
        "brand": words([brand, "competitor"], is_own, is_other),
        "drug_ndc": words([f"00078-{number:04}" for number in range(len(names))], drug, is_other),
        "drug_name": words(names, drug, is_other),
        "drug_class": words(["target therapy", "standard of care"], is_own, is_other),
        "dosage": words(["25 mg", "50 mg", "200 mg"], drug % 3, is_other | some(rng, m, 0.02)),
        "previous_treatment": words(names, np.maximum(before, 0), before < 0),
        "next_treatment": words(names, np.maximum(after, 0), after < 0),
    }


def _codes(rng: "np.random.Generator", profile: vocabulary.BrandProfile, events: Events) -> "dict[str, pa.Array]":
    import numpy as np

    m = len(events.kind)
    loinc, analyte = profile.lab_test

    def of_kind(code: str, *kinds: int) -> "pa.Array":
        is_it = np.isin(np.arange(len(TYPES)), kinds)[events.kind]
        return columns.lists(words([code], np.zeros(np.count_nonzero(is_it), np.int8)), is_it, ~is_it)

    labs = np.flatnonzero(events.kind == _LAB)
    values, which = np.unique(np.round(rng.lognormal(4.5, 0.6, len(labs)), 1), return_inverse=True)
    index = np.zeros(m, np.int32)
    index[labs] = which
    return {
        "icd_codes": of_kind(profile.diagnoses[0], _DIAGNOSIS, _CONSULTATION, _HOSPITAL),
        "cpt_codes": of_kind(profile.procedure, _PROCEDURE),
        "loinc_codes": of_kind(loinc, _LAB),
        "lab_values": columns.picked(
            columns.measured(f'{{"{analyte}": ', values, "}"), index, missing=events.kind != _LAB
        ),
    }


def _costs(rng: "np.random.Generator", events: Events) -> "np.ndarray":
    import numpy as np

    return np.round(np.array(_MEDIAN_COST)[events.kind] * rng.lognormal(0, 0.5, len(events.kind)), 2)


def touches_table(
    streams: Streams, brand: str, panel: Panel, part: range, patients: Patients, design: Design, number: int
) -> "pa.Table":
    """Touches of physicians, about 24 each, and of patients, the more the higher their engagement score.

    Args:
        streams: The streams of random numbers.
        brand: Name of the brand.
        panel: All its physicians.
        part: Numbers of those whose touches are wanted.
        patients: The patients.
        design: What decides the world.
        number: Number of the first touch among the brand's.
    """
    import numpy as np

    rng, own = streams.touches, panel.part(part.start, part.stop)
    per_hcp = rng.poisson(24 * np.exp(0.3 * own.pull + 0.3 * own.is_academic - 0.15))
    per_patient = rng.poisson(0.25 * patients.engagement)
    later = rng.poisson(0.3, patients.size)
    patient = np.concatenate([np.repeat(np.arange(patients.size), counts) for counts in (per_patient, later)])
    direction = np.repeat([-1, 1], [per_patient.sum(), later.sum()])
    hcp = np.concatenate([np.repeat(np.arange(part.start, part.stop), per_hcp), patients.hcp[patient]])
    first, last = day_number(vocabulary.FIRST_TOUCH_DAY), day_number(vocabulary.FINAL_DAY)
    day = np.concatenate(
        [
            columns.days(rng, first, last, int(per_hcp.sum()), design.seasonality),
            patients.index_day[patient] + direction * rng.integers(1, 180, len(patient)),
        ]
    )
    moment = day * DAY_US + rng.integers(8 * 3600, 18 * 3600, len(day)) * 1_000_000
    known = moment + rng.exponential(6 * 3600, len(day)).astype(np.int64) * 1_000_000
    known += delays(streams.history, design.late_share, len(day))
    kept = np.flatnonzero(known <= FINAL_INSTANT)
    kept = kept[np.argsort(moment[kept], kind="stable")]
    hcp, m = hcp[kept], len(kept)
    named = np.concatenate([np.full(int(per_hcp.sum()), -1), patient])[kept]
    channel = np.where(
        some(rng, m, 0.5), panel.volume[hcp] % len(vocabulary.CHANNELS), rng.integers(0, len(vocabulary.CHANNELS), m)
    )
    liking = 1 / (1 + np.exp(-panel.pull[hcp]))
    response = np.where(rng.random(m) < 0.2 + 0.4 * liking, 0, np.where(some(rng, m, 0.5), 1, 2))
    known_hcps, of_hcp = np.unique(hcp, return_inverse=True)
    ids = JourneyIds.of(brand, patients)
    return columns.table(
        ENGAGEMENT_EVENTS,
        {
            "engagement_event_id": numbered(f"{brand}-E", number + np.arange(m), 8),
            "hcp_id": columns.picked(numbered(f"{brand}-H", known_hcps, HCP_DIGITS), of_hcp.astype(np.int32)),
            "patient_id": columns.picked(ids.patient, np.maximum(named, 0).astype(np.int32), named < 0),
            "brand": words([brand], np.zeros(m, np.int8)),
            "event_timestamp": moment[kept],
            "channel": words(tuple(vocabulary.CHANNELS), channel),
            "event_type": words(tuple(vocabulary.CHANNELS.values()), channel),
            "response": words(vocabulary.RESPONSES, response, some(rng, m, 0.02)),
            "created_at": known[kept],
        },
    )
