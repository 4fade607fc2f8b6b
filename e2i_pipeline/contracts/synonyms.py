"""What tables and columns are often called elsewhere, for a first draft of a mapping. Data only; a person decides."""

TABLE_SYNONYMS: dict[str, tuple[str, ...]] = {
    "patient_journeys": ("journey", "encounter", "episode", "admission", "cohort", "patient", "case", "stay", "visit"),
    "treatment_events": ("event", "treatment", "claim", "medication", "prescription", "procedure", "diagnosis", "lab"),
    "hcp_profiles": ("hcp", "provider", "physician", "doctor", "prescriber", "practitioner", "demo"),
    "engagement_events": ("engagement", "touch", "call", "detailing", "activity", "interaction", "crm", "counts"),
}
"""Words in the name of an input that speak for a canonical table."""

COLUMN_SYNONYMS: dict[str, tuple[str, ...]] = {
    "patient_journey_id": (
        "journey_id",
        "encounter_id",
        "episode_id",
        "admission_id",
        "stay_id",
        "visit_id",
        "case_id",
        "id",
    ),
    "patient_id": (
        "patient",
        "patient_nbr",
        "patient_number",
        "patient_no",
        "person_id",
        "subject_id",
        "pid",
        "pat_id",
    ),
    "hcp_id": ("provider", "provider_id", "physician_id", "doctor_id", "prescriber_id", "practitioner_id", "id"),
    "brand": ("product", "product_name"),
    "journey_start_date": (
        *("start_date", "start", "index_date", "admission_date", "admit_date", "encounter_date", "visit_date"),
        *("service_date", "diagnosis_date", "date"),
    ),
    "journey_end_date": ("end_date", "end", "stop", "stop_date", "discharge_date"),
    "primary_diagnosis_code": ("diag_1", "diagnosis", "diagnosis_code", "primary_diagnosis", "icd10", "icd_10", "dx"),
    "age_at_diagnosis": ("age", "age_years", "patient_age"),
    "age_group": ("age_band", "age_range"),
    "gender": ("sex", "patient_gender"),
    "geographic_region": ("region", "census_region"),
    "zip_code": ("zip", "postal_code", "postcode", "zipcode"),
    "insurance_type": ("insurance", "payer", "payer_type", "payer_code", "plan_type"),
    "risk_score": ("risk",),
    "disease_severity": ("severity", "severity_score"),
    "treatment_initiated": ("treated", "initiated", "outcome", "target", "label", "converted", "readmitted", "started"),
    "days_to_treatment": ("time_to_treatment", "days_until_treatment"),
    "ingestion_timestamp": ("loaded_at", "load_date", "ingested_at", "extract_date", "export_date"),
    "treatment_event_id": ("event_id", "claim_id", "id"),
    "event_date": ("date", "service_date", "claim_date", "start_date", "start"),
    "event_type": ("type", "kind", "category", "claim_type"),
    "drug_name": ("drug", "medication", "medication_name"),
    "drug_ndc": ("ndc", "ndc_code"),
    "cost": ("amount", "total_cost", "totalcost", "charge"),
    "specialty": ("speciality", "medical_specialty", "specialization"),
    "total_patient_volume": ("patient_volume", "patients", "panel_size"),
    "updated_at": ("last_updated", "modified_at", "update_date"),
    "created_at": ("recorded_at", "entered_at"),
    "engagement_event_id": ("touch_id", "call_id", "activity_id", "interaction_id", "event_id", "id"),
    "event_timestamp": ("timestamp", "event_time", "call_date", "activity_date", "date", "event_date"),
    "channel": ("medium", "channel_type", "activity_type"),
    "response": ("reaction", "outcome"),
}
"""Other names of canonical columns: lower case, words with `_` between them, the likeliest first."""

CLOSED: dict[str, tuple[str, ...]] = {
    "event_type": ("diagnosis", "prescription", "lab_test", "procedure", "consultation", "hospitalization"),
    "channel": ("email", "phone", "in_person", "digital", "crm", "webinar"),
    "geographic_region": ("northeast", "south", "midwest", "west"),
    "response": ("accepted", "viewed", "ignored"),
    "journey_status": ("active", "stable", "transitioning", "completed"),
}
"""Canonical columns with a closed set of values (gx/expectations), whose codes a person must map."""

NULL_MARKERS = (
    "?",
    "n/a",
    "N/A",
    "#N/A",
    "NULL",
    "null",
    "nan",
    "NaN",
    ".",
    "-",
    "--",
    "unknown",
    "Unknown",
    "missing",
)
"""Texts that rarely are data; `NA` and `None` often are, so that a person must say."""

AMBIGUOUS_MARKERS = ("NA", "None")

DATE_FORMATS = (
    *("%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d-%b-%Y", "%d%b%Y", "%m/%d/%Y %H:%M"),
    *("%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"),
)
"""Forms of dates that landing does not read by itself, as strptime's."""

YES = ("1", "y", "yes", "true", "t")
NO = ("0", "n", "no", "false", "f")
