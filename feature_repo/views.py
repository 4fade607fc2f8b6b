# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""The features. Counts and sums are over all brands and over all of the history known at the time.

What depends on the time of prediction (days since diagnosis, touches in the last days, calls per 30 days) is not
stored, because it would be stale when read: these views hold the anchors, tagged so, and the feature is computed from
them for the prediction time: by the pipeline, in training and in serving alike, and by the views of `on_demand.py`.

Feast counts a change of a field as a new version of a view, but none of its TTL or of its tags. The join key therefore
carries both as tags of its own, so that whatever decides a value makes a version that a model can be pinned to.

Two bounds decide what is seen at the very time of a prediction. `bound` is that of the join, for every row of a view.
The tables behind these views move an event that must not be seen at its own time past it, one by one (`event_bound`; an
event with a date only is never seen at its midnight), so that a patient's baseline of the index day still is.

A view that this installation's data cannot fill is None, and so is unknown to Feast.
"""

from datetime import timedelta

from definitions import bound, event_bound, fields
from entities import hcp, patient
from feast import Entity, FeatureView, Field
from feast.data_source import DataSource
from feast.types import Array, Float64, Int64, String, UnixTimestamp
from sources import engagement_push, hcp_table, patient_table

ANCHOR = {"role": "anchor"}


def _view(
    name: str, entity: Entity, source: DataSource | None, ttl: timedelta, description: str, features: list[Field]
) -> FeatureView | None:
    if source is None:
        return None
    bounds = {"bound": bound(name, "<="), "event_bound": event_bound(name)}
    decisive = {"ttl_seconds": str(int(ttl.total_seconds())), **bounds}
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=ttl,
        source=source,
        schema=[Field(name=entity.join_key, dtype=String, tags=decisive), *fields(name, features)],
        description=description,
        owner="data-preparer",
        tags={
            "stage": "features",
            "sensitivity": "health" if entity is patient else "professional",
            **bounds,
        },
    )


patient_features = _view(
    "patient_features",
    patient,
    patient_table,
    # Counts do not go stale, so the limit only ends histories that nobody has added to for ten years.
    ttl=timedelta(days=3650),
    description="Clinical history and baseline of a patient. Midnight does not see the events of the day that begins.",
    features=[
        Field(name="first_diagnosis_date", dtype=UnixTimestamp, description="Day of the first diagnosis.", tags=ANCHOR),
        Field(name="treatment_count", dtype=Int64, description="Prescriptions so far."),
        Field(name="diagnosis_count", dtype=Int64, description="Diagnoses so far."),
        Field(name="consultation_count", dtype=Int64, description="Consultations so far."),
        Field(name="hospitalization_count", dtype=Int64, description="Hospital stays so far."),
        Field(name="procedure_count", dtype=Int64, description="Procedures so far."),
        Field(name="lab_test_count", dtype=Int64, description="Laboratory tests so far."),
        Field(name="total_cost", dtype=Float64, description="Cost of all events so far, in the source's currency."),
        Field(name="risk_factors", dtype=Int64, description="Number of comorbidities in the latest journey."),
        Field(name="risk_score", dtype=Float64, description="Risk score of the latest journey, 0 to 1."),
    ],
)

hcp_features = _view(
    "hcp_features",
    hcp,
    hcp_table,
    # A profile that nobody has confirmed for five years says little.
    ttl=timedelta(days=1825),
    description="Profile of a health-care professional, and how they answered so far.",
    features=[
        Field(name="specialty", dtype=String, description="Specialty of the profile's version known at the time."),
        Field(name="patient_volume", dtype=Int64, description="Total patient volume of the profile."),
        Field(name="total_patients", dtype=Int64, description="Different patients seen in journeys and events so far."),
        Field(name="engagement_rate", dtype=Float64, description="Share of touches accepted or viewed so far, 0 to 1."),
        Field(name="call_count", dtype=Int64, description="Calls and visits so far.", tags=ANCHOR),
        Field(name="first_call_date", dtype=UnixTimestamp, description="Time of the first call or visit.", tags=ANCHOR),
        Field(name="last_call_date", dtype=UnixTimestamp, description="Time of the last call or visit.", tags=ANCHOR),
    ],
)

engagement_features = _view(
    "engagement_features",
    patient,
    engagement_push,
    # After five years without a touch or a journey nothing is said about a patient, not even that there was no touch.
    ttl=timedelta(days=1825),
    description="Touches that reached a patient: their own, and those of their HCP that name no patient.",
    features=[
        Field(
            name="recent_touch_times",
            dtype=Array(Int64),
            description="Times of the touches in the look-back window, in microseconds since 1970 (UTC).",
            tags=ANCHOR,
        ),
        Field(name="channel_preferences", dtype=String, description="Most frequent channel so far."),
        Field(
            name="channel_counts",
            dtype=Array(Int64),
            description="Touches so far per channel: crm, digital, email, in_person, phone, webinar, any other.",
            tags=ANCHOR,
        ),
    ],
)
