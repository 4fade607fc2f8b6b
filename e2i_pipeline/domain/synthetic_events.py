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
from e2i_pipeline.domain.synthetic_tables import FINAL_INSTANT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

TYPES = ("diagnosis", "consultation", "lab_test", "procedure", "prescription", "hospitalization")
_DIAGNOSIS, _CONSULTATION, _LAB, _PROCEDURE, _PRESCRIPTION, _HOSPITAL = range(6)
_SUBTYPES = ("initial", "follow_up", "routine", "diagnostic", "oral", "acute")
_PLACES = ("outpatient", "outpatient", "laboratory", "outpatient", "pharmacy", "hospital")
_MEDIAN_COST = (150.0, 120.0, 60.0, 450.0, 900.0, 9_000.0)  # dollars, per type


@dataclass(frozen=True)
class Events:
    """Clinical events of a brand; every array has shape (events,).

    Attributes:
        patient: Index into the patients.
        day: Event date, days since 1970.
        kind: Index into `TYPES`.
        drug: For a prescription 0 the brand, 1.. an earlier drug; -1 otherwise.
        known: Known-at time, microseconds since 1970 (UTC).
    """

    patient: "np.ndarray"
    day: "np.ndarray"
    kind: "np.ndarray"
    drug: "np.ndarray"
    known: "np.ndarray"

    def ordered(self) -> "Events":
        """What is known on the final day, ordered by patient and date."""
        import numpy as np

        kept = np.flatnonzero(self.known <= FINAL_INSTANT)
        order = kept[np.lexsort((self.kind[kept], self.day[kept], self.patient[kept]))]
        return Events(self.patient[order], self.day[order], self.kind[order], self.drug[order], self.known[order])


def draw_events(
    rng: "np.random.Generator", profile: vocabulary.BrandProfile, patients: Patients, outcome_window_days: int
) -> Events:
    """Draws six to eight events per patient, some before and some after the index date.

    Nothing happens after the window closes but refills, so that no event lies after the end of its journey.
    """
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
        parts.append((who, rng.integers(1, outcome_window_days + 1, len(who)), kind))
    visit = everyone[rng.random(n) < 0.5]  # the visit of the index day itself
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

    patient = np.concatenate([who for who, _, _ in parts])
    offset = np.concatenate([days for _, days, _ in parts])
    kind = np.concatenate([np.full(len(who), kind) for who, _, kind in parts])
    drug = np.where(offset >= 0, 0, rng.integers(1, len(profile.prior_drugs) + 1, len(kind)))
    day = patients.index_day[patient] + offset
    lag_hours = np.where(rng.random(len(day)) < 0.05, rng.integers(72, 336, len(day)), rng.integers(26, 60, len(day)))
    known = day * DAY_US + lag_hours * 3_600_000_000
    return Events(patient, day, kind, np.where(kind == _PRESCRIPTION, drug, -1), known).ordered()


def events_table(
    rng: "np.random.Generator", brand: str, profile: vocabulary.BrandProfile, patients: Patients, events: Events
) -> "pa.Table":
    """The clinical events, numbered per patient in the order of their dates."""
    import numpy as np

    m = len(events.patient)
    number = np.arange(m)
    starts = np.r_[True, events.patient[1:] != events.patient[:-1]]
    sequence = number - np.maximum.accumulate(np.where(starts, number, 0)) + 1
    is_drug, is_stay = events.kind == _PRESCRIPTION, events.kind == _HOSPITAL
    is_own = events.drug == 0
    days_after = events.day - patients.index_day[events.patient]
    is_adverse = (days_after > 0) & (events.kind == _CONSULTATION) & some(rng, m, 0.03)
    is_stop = is_own & some(rng, m, 0.05)
    duration = np.where(is_stay, rng.integers(1, 10, m), 30)
    return columns.table(
        TREATMENT_EVENTS,
        {
            "treatment_event_id": numbered(f"{brand}-T", number, 8),
            "patient_journey_id": numbered(f"{brand}-J", events.patient),
            "patient_id": numbered(f"{brand}-P", events.patient),
            "hcp_id": numbered(f"{brand}-H", patients.hcp[events.patient], 5),
            "event_date": events.day,
            "event_type": words(TYPES, events.kind),
            "event_subtype": words(_SUBTYPES, events.kind),
            **_drugs(rng, brand, profile, events),
            "duration_days": typed(duration, "INTEGER", ~(is_drug | is_stay)),
            **_codes(rng, profile, events),
            "location_type": words(_PLACES, events.kind),
            "facility_id": numbered("F", rng.integers(0, 200, m), 4, some(rng, m, 0.02)),
            "cost": typed(_costs(rng, events), "DOUBLE", some(rng, m, 0.02)),
            "outcome_indicator": words(["normal", "abnormal"], columns.cut(rng, m, (0.7, 0.3)), events.kind != _LAB),
            "adverse_event_flag": typed(is_adverse, "BOOLEAN"),
            "discontinuation_flag": typed(is_stop, "BOOLEAN"),
            "discontinuation_reason": words(["intolerance", "cost"], columns.cut(rng, m, (0.6, 0.4)), ~is_stop),
            "sequence_number": sequence,
            "days_from_diagnosis": days_after + patients.diagnosis_lag[events.patient],
            "data_source": words(vocabulary.DATA_SOURCES, columns.cut(rng, m, (0.5, 0.25, 0.15, 0.10))),
            "source_timestamp": events.known - rng.integers(0, 7_200, m) * 1_000_000,
            "created_at": events.known,
            "data_split": words(["unassigned"], np.zeros(m, np.int64)),
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
    before, after = np.full(m, -1), np.full(m, -1)
    before[given[1:]] = np.where(same, drug[given[:-1]], -1)
    after[given[:-1]] = np.where(same, drug[given[1:]], -1)
    return {
        "brand": words([brand, "competitor"], np.minimum(drug, 1), is_other),
        "drug_ndc": numbered("00078-", drug, 4, is_other),
        "drug_name": words(names, drug, is_other),
        "drug_class": words(["target therapy", "standard of care"], np.minimum(drug, 1), is_other),
        "dosage": words(["25 mg", "50 mg", "200 mg"], drug % 3, is_other | some(rng, m, 0.02)),
        "previous_treatment": words(names, np.maximum(before, 0), before < 0),
        "next_treatment": words(names, np.maximum(after, 0), after < 0),
    }


def _codes(rng: "np.random.Generator", profile: vocabulary.BrandProfile, events: Events) -> "dict[str, pa.Array]":
    import numpy as np
    import pyarrow as pa

    m = len(events.kind)
    loinc, analyte = profile.lab_test

    def of_kind(code: str, *kinds: int) -> "pa.Array":
        is_it = np.isin(events.kind, kinds)
        return columns.lists(words([code], np.zeros(int(is_it.sum()), np.int64)), is_it.astype(np.int64), ~is_it)

    value = pa.array(np.round(rng.lognormal(4.5, 0.6, m), 1), mask=events.kind != _LAB).cast(pa.string())
    return {
        "icd_codes": of_kind(profile.diagnoses[0], _DIAGNOSIS, _CONSULTATION, _HOSPITAL),
        "cpt_codes": of_kind(profile.procedure, _PROCEDURE),
        "loinc_codes": of_kind(loinc, _LAB),
        "lab_values": columns.joined(f'{{"{analyte}": ', value, "}"),
    }


def _costs(rng: "np.random.Generator", events: Events) -> "np.ndarray":
    import numpy as np

    return np.round(np.array(_MEDIAN_COST)[events.kind] * rng.lognormal(0, 0.5, len(events.kind)), 2)


def touches_table(rng: "np.random.Generator", brand: str, panel: Panel, patients: Patients) -> "pa.Table":
    """Touches of physicians, about 24 each, and of patients, the more the higher their engagement score."""
    import numpy as np

    per_hcp = rng.poisson(24 * np.exp(0.3 * panel.pull + 0.3 * panel.is_academic - 0.15))
    per_patient = rng.poisson(0.25 * patients.engagement)
    later = rng.poisson(0.3, patients.size)
    patient = np.concatenate([np.repeat(np.arange(patients.size), counts) for counts in (per_patient, later)])
    direction = np.repeat([-1, 1], [per_patient.sum(), later.sum()])
    hcp = np.concatenate([np.repeat(np.arange(panel.size), per_hcp), patients.hcp[patient]])
    first, last = day_number(vocabulary.FIRST_TOUCH_DAY), day_number(vocabulary.FINAL_DAY)
    day = np.concatenate(
        [
            rng.integers(first, last + 1, int(per_hcp.sum())),
            patients.index_day[patient] + direction * rng.integers(1, 180, len(patient)),
        ]
    )
    moment = day * DAY_US + rng.integers(8 * 3600, 18 * 3600, len(day)) * 1_000_000
    known = moment + rng.exponential(6 * 3600, len(day)).astype(np.int64) * 1_000_000
    kept = np.flatnonzero(known <= FINAL_INSTANT)
    kept = kept[np.lexsort((kept, moment[kept]))]
    named = np.concatenate([np.full(int(per_hcp.sum()), -1), patient])[kept]
    hcp, m = hcp[kept], len(kept)
    preferred = panel.volume[hcp] % len(vocabulary.CHANNELS)
    channel = np.where(rng.random(m) < 0.5, preferred, rng.integers(0, len(vocabulary.CHANNELS), m))
    liking = 1 / (1 + np.exp(-panel.pull[hcp]))
    response = np.where(rng.random(m) < 0.2 + 0.4 * liking, 0, np.where(rng.random(m) < 0.5, 1, 2))
    return columns.table(
        ENGAGEMENT_EVENTS,
        {
            "engagement_event_id": numbered(f"{brand}-E", np.arange(m), 8),
            "hcp_id": numbered(f"{brand}-H", hcp, 5),
            "patient_id": numbered(f"{brand}-P", np.maximum(named, 0), missing=named < 0),
            "brand": words([brand], np.zeros(m, np.int64)),
            "event_timestamp": moment[kept],
            "channel": words(tuple(vocabulary.CHANNELS), channel),
            "event_type": words(tuple(vocabulary.CHANNELS.values()), channel),
            "response": words(vocabulary.RESPONSES, response, some(rng, m, 0.02)),
            "created_at": known[kept],
        },
    )
