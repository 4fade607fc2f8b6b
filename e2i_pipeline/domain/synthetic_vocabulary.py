"""What the generated world is made of: its calendar, its brands, its words. Constants only; no drawing of numbers.

The three E2I brands have their own specialties and ICD-10-CM codes; any other brand gets a generic set.
"""

from datetime import date
from typing import NamedTuple

FIRST_INDEX_DAY = date(2023, 1, 1)
LAST_INDEX_DAY = date(2025, 9, 15)
FINAL_DAY = date(2025, 12, 31)
"""Nothing is known after this day: with a window of 180 days, 7 % of the outcomes are still open."""

FIRST_TOUCH_DAY = date(2022, 7, 1)
"""Engagement, and the profiles' first versions, begin before the first index day."""


class BrandProfile(NamedTuple):
    """What shapes a brand's patients and physicians.

    Attributes:
        specialties: Specialties of its physicians, the commonest first.
        diagnoses: ICD-10-CM codes of its patients, the commonest first.
        prior_drugs: Drugs taken before, none of them the brand.
        lab_test: LOINC code of its usual test and the analyte's name.
        procedure: CPT code of its usual procedure.
        mean_age: Years at diagnosis.
        female_share: 0..1.
    """

    specialties: tuple[str, ...]
    diagnoses: tuple[str, ...]
    prior_drugs: tuple[str, ...]
    lab_test: tuple[str, str]
    procedure: str
    mean_age: float
    female_share: float


BRAND_PROFILES = {
    "Remibrutinib": BrandProfile(  # chronic spontaneous urticaria
        specialties=("dermatology", "allergy and immunology", "rheumatology"),
        diagnoses=("L50.1", "L50.8", "L50.9"),
        prior_drugs=("cetirizine", "fexofenadine", "omalizumab"),
        lab_test=("19113-0", "ige"),
        procedure="95004",
        mean_age=42.0,
        female_share=0.68,
    ),
    "Fabhalta": BrandProfile(  # paroxysmal nocturnal haemoglobinuria
        specialties=("haematology", "internal medicine", "neurology"),
        diagnoses=("D59.5",),
        prior_drugs=("eculizumab", "ravulizumab", "pegcetacoplan"),
        lab_test=("14804-9", "ldh"),
        procedure="88184",
        mean_age=46.0,
        female_share=0.52,
    ),
    "Kisqali": BrandProfile(  # breast cancer
        specialties=("oncology",),
        diagnoses=("C50.911", "C50.912", "C50.919", "C50.411"),
        prior_drugs=("letrozole", "anastrozole", "palbociclib"),
        lab_test=("10331-7", "ca15_3"),
        procedure="19083",
        mean_age=58.0,
        female_share=0.99,
    ),
}

GENERIC_PROFILE = BrandProfile(
    specialties=("internal medicine", "family medicine", "general practice"),
    diagnoses=("I10", "E11.9", "J45.909"),
    prior_drugs=("metformin", "lisinopril", "atorvastatin"),
    lab_test=("2345-7", "glucose"),
    procedure="99213",
    mean_age=52.0,
    female_share=0.51,
)

REGIONS = {
    "northeast": ("NY", "MA", "PA", "NJ"),
    "south": ("TX", "FL", "GA", "NC"),
    "midwest": ("OH", "IL", "MI", "MN"),
    "west": ("CA", "WA", "CO", "AZ"),
}
INSURANCE = ("commercial", "medicare", "medicaid", "uninsured")
COMORBIDITIES = ("hypertension", "diabetes", "asthma", "depression", "obesity", "thyroid disease")
COMORBIDITY_CODES = ("I10", "E11.9", "J45.909", "F32.9", "E66.9", "E03.9")
DATA_SOURCES = ("IQVIA_APLD", "HealthVerity", "Komodo", "Veeva")
CHANNELS = {
    "email": "email_open",
    "phone": "call",
    "in_person": "visit",
    "digital": "web_visit",
    "crm": "sample",
    "webinar": "webinar_attendance",
}
RESPONSES = ("accepted", "viewed", "ignored")
PRACTICES = ("private practice", "group practice", "hospital", "academic")
FIRST_NAMES = ("Aurelia", "Benedikt", "Cassia", "Dorian", "Elspeth", "Florian", "Griselda", "Hadrian")
LAST_NAMES = ("Abernathy", "Blackwood", "Castellan", "Drummond", "Eastwick", "Fairweather", "Galloway", "Hollister")
