"""A small Synthea export, made row by row by a test, in each generation of the format; no row is anybody's."""

import csv
import os
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet

_PATIENTS = (
    *("Id", "BIRTHDATE", "DEATHDATE", "SSN", "DRIVERS", "PASSPORT", "PREFIX", "FIRST", "LAST", "SUFFIX", "MAIDEN"),
    *("MARITAL", "RACE", "ETHNICITY", "GENDER", "BIRTHPLACE", "ADDRESS", "CITY", "STATE", "COUNTY"),
)
_PROVIDERS = ("Id", "ORGANIZATION", "NAME", "GENDER", "SPECIALITY", "ADDRESS", "CITY", "STATE", "ZIP", "LAT", "LON")
_COMMON: dict[str, tuple[str, ...]] = {
    "encounters": (
        *("Id", "START", "STOP", "PATIENT", "ORGANIZATION", "PROVIDER", "PAYER", "ENCOUNTERCLASS", "CODE"),
        *("DESCRIPTION", "BASE_ENCOUNTER_COST", "TOTAL_CLAIM_COST", "PAYER_COVERAGE", "REASONCODE"),
        "REASONDESCRIPTION",
    ),
    "conditions": ("START", "STOP", "PATIENT", "ENCOUNTER", "CODE", "DESCRIPTION"),
    "medications": (
        *("START", "STOP", "PATIENT", "PAYER", "ENCOUNTER", "CODE", "DESCRIPTION", "BASE_COST", "PAYER_COVERAGE"),
        *("DISPENSES", "TOTALCOST", "REASONCODE", "REASONDESCRIPTION"),
    ),
    "procedures": (
        *("START", "STOP", "PATIENT", "ENCOUNTER", "CODE", "DESCRIPTION", "BASE_COST", "REASONCODE"),
        "REASONDESCRIPTION",
    ),
    "immunizations": ("DATE", "PATIENT", "ENCOUNTER", "CODE", "DESCRIPTION", "BASE_COST"),
    "observations": ("DATE", "PATIENT", "ENCOUNTER", "CATEGORY", "CODE", "DESCRIPTION", "VALUE", "UNITS", "TYPE"),
}
GENERATIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "older": {
        **_COMMON,
        "patients": (*_PATIENTS, "ZIP", "LAT", "LON", "HEALTHCARE_EXPENSES", "HEALTHCARE_COVERAGE"),
        "providers": (*_PROVIDERS, "UTILIZATION"),
        "payers": ("Id", "NAME", "ADDRESS", "CITY"),
        "payer_transitions": (
            *("PATIENT", "MEMBERID", "START_YEAR", "END_YEAR", "PAYER", "SECONDARY_PAYER", "OWNERSHIP", "OWNERNAME"),
        ),
    },
    "newer": {
        **_COMMON,
        "patients": (*_PATIENTS, "FIPS", "ZIP", "LAT", "LON", "HEALTHCARE_EXPENSES", "HEALTHCARE_COVERAGE", "INCOME"),
        "providers": (*_PROVIDERS, "ENCOUNTERS", "PROCEDURES"),
        "payers": ("Id", "NAME", "OWNERSHIP", "ADDRESS", "CITY"),
        "payer_transitions": (
            *("PATIENT", "MEMBERID", "START_DATE", "END_DATE", "PAYER", "SECONDARY_PAYER", "PLAN_OWNERSHIP"),
            "OWNER_NAME",
        ),
    },
}
"""Columns by table, as the two exports among the third-party sets have them."""

SINUSITIS, BRONCHITIS, OBESITY = 444814009, 10509002, 162864005
LISINOPRIL = 314076

COHORT = CohortDefinition(
    index_event=ConceptSet(table="conditions", concepts=(SINUSITIS, BRONCHITIS)),
    treatment=ConceptSet(table="encounters", classes=("emergency", "inpatient")),
)


class Drop:
    """An export in the making: two patients, one in an emergency 60 days after the index, and nothing wrong in it."""

    def __init__(self, generation: str = "newer") -> None:
        self.columns = GENERATIONS[generation]
        self.tables: dict[str, list[dict[str, object]]] = {name: [] for name in self.columns}
        self._dates = ("START_YEAR", "END_YEAR") if generation == "older" else ("START_DATE", "END_DATE")
        self.add("payers", Id="pay-1", NAME="Medicare", OWNERSHIP="GOVERNMENT")
        self.add("payers", Id="pay-2", NAME="Humana", OWNERSHIP="PRIVATE")
        self.add("payers", Id="pay-3", NAME="NO_INSURANCE", OWNERSHIP="NO_INSURANCE")
        self.provider("hcp-1")
        self.provider("hcp-2", SPECIALITY="INTERNAL MEDICINE")
        self.patient("p1")
        self.patient("p2", GENDER="F", STATE="Massachusetts", ZIP="02155", FIPS="25017")
        index = self.encounter("p1", "2015-03-10T10:00:00Z", "ambulatory")
        self.condition("p1", "2015-03-10", index)
        self.encounter("p1", "2015-05-09T10:00:00Z", "emergency", PROVIDER="hcp-2")
        index = self.encounter("p2", "2016-05-01T10:00:00Z", "ambulatory")
        self.condition("p2", "2016-05-01", index, CODE=BRONCHITIS, DESCRIPTION="Acute bronchitis (disorder)")
        self.encounter("p2", "2019-12-31T10:00:00Z", "wellness")  # the last day of which the data knows

    def add(self, table: str, **values: object) -> None:
        self.tables.setdefault(table, []).append(values)

    def patient(self, patient: str, **values: object) -> None:
        named = {"SSN": "999-00-CANARY", "FIRST": "Canary", "LAST": "Canary", "ADDRESS": "1 Canary Way"}
        base = {"Id": patient, "BIRTHDATE": "1980-03-11", "GENDER": "M", "STATE": "Nebraska", "ZIP": "68504"}
        self.add("patients", **{**named, **base, "FIPS": "31109", **values})
        start, end = self._dates
        period = {start: "1980-03-11T04:00:00Z", end: "2030-01-01T04:00:00Z"}
        self.add("payer_transitions", PATIENT=patient, PAYER="pay-2", MEMBERID="CANARY-1", **period)

    def provider(self, provider: str, **values: object) -> None:
        base = {"Id": provider, "NAME": "Canary Doe", "SPECIALITY": "GENERAL PRACTICE", "STATE": "NE", "ZIP": "68504"}
        self.add("providers", **{**base, **values})

    def encounter(self, patient: str, start: str, kind: str, **values: object) -> str:
        key = str(values.get("Id", f"e{len(self.tables['encounters']) + 1}"))
        times = {"Id": key, "START": start, "STOP": start, "PATIENT": patient, "ENCOUNTERCLASS": kind}
        where = {"ORGANIZATION": "org-1", "PROVIDER": "hcp-1", "PAYER": "pay-1", "TOTAL_CLAIM_COST": "77.50"}
        named = {"CODE": 185345009, "DESCRIPTION": "Encounter for symptom"}
        self.add("encounters", **{**times, **where, **named, **values})
        return key

    def condition(self, patient: str, start: str, encounter: str, **values: object) -> None:
        base = {"START": start, "STOP": start, "PATIENT": patient, "ENCOUNTER": encounter, "CODE": SINUSITIS}
        self.add("conditions", **{**base, "DESCRIPTION": "Viral sinusitis (disorder)", **values})

    def medication(self, patient: str, start: str, encounter: str, **values: object) -> None:
        base = {"START": start, "STOP": start, "PATIENT": patient, "ENCOUNTER": encounter, "CODE": LISINOPRIL}
        named = {"DESCRIPTION": "lisinopril 10 MG Oral Tablet", "TOTALCOST": "12.25", "PAYER": "pay-2"}
        self.add("medications", **{**base, **named, **values})

    def write(self, folder: Path, skip: Iterable[str] = ()) -> Path:
        """Writes each table as CSV; one without rows keeps its header, as in Synthea's own exports."""
        folder.mkdir(parents=True, exist_ok=True)
        for table, rows in self.tables.items():
            if table in skip:
                continue
            known = self.columns.get(table, ())
            further = dict.fromkeys(name for row in rows for name in row if name not in _everywhere(table))
            with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, [*known, *further], restval="", extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)
        return folder


def _everywhere(table: str) -> set[str]:
    """The columns that a table has in any generation: those of another one are not written."""
    return {name for generation in GENERATIONS.values() for name in generation.get(table, ())}


def population(generation: str, size: int, seed: int = 7) -> Drop:
    """An export of a made-up population in which age and earlier visits decide who comes to acute care.

    Args:
        generation: `older` or `newer`.
        size: Patients besides the two that are always there.
        seed: Of the random numbers.
    """
    rng, drop = np.random.default_rng(seed), Drop(generation)
    for number in range(20):
        drop.provider(f"hcp-{number + 10}", SPECIALITY=("GENERAL PRACTICE", "PHYSICAL THERAPY")[number % 2])
    for number in range(size):
        patient, age = f"q{number}", int(rng.integers(5, 90))
        index = date(2012, 1, 1) + timedelta(days=int(rng.integers(365 * 7)))
        state = ("Nebraska", "Texas", "Ohio")[rng.integers(3)]
        born = index - timedelta(days=365 * age + 40)
        drop.patient(patient, BIRTHDATE=str(born), GENDER="MF"[rng.integers(2)], STATE=state)
        earlier = int(rng.integers(5))
        for back in range(earlier):
            day = index - timedelta(days=60 * back + int(rng.integers(1, 50)))
            met = drop.encounter(patient, f"{day}T15:00:00Z", "wellness", PROVIDER=f"hcp-{rng.integers(10, 30)}")
            drop.medication(patient, f"{day}T15:30:00Z", met)
        met = drop.encounter(patient, f"{index}T15:00:00Z", "ambulatory", PROVIDER=f"hcp-{rng.integers(10, 30)}")
        drop.condition(patient, str(index), met, CODE=(SINUSITIS, BRONCHITIS)[rng.integers(2)])
        if rng.random() < 0.05 + 0.007 * age + 0.06 * earlier:
            day = index + timedelta(days=int(rng.integers(1, 170)))
            drop.encounter(patient, f"{day}T20:00:00Z", ("emergency", "inpatient")[rng.integers(2)])
    return drop


def shared_synthea(name: str) -> Path:
    """A third-party export, or a skip with the reason."""
    repository = Path(__file__).resolve().parents[3]
    shared = Path(os.environ.get("E2I_SHARED_DATA") or repository.parent / "shared" / "data")
    folder = shared / name
    if not folder.is_dir():
        pytest.skip(
            f"the third-party Synthea export is not at {folder}; set E2I_SHARED_DATA to the folder that holds it"
        )
    return folder
