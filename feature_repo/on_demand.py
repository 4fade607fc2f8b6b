# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""Features that cannot be stored: those that depend on the time of prediction, and on what only the request knows.

They are computed from stored anchors when they are read, offline and online by the same text. The pipeline computes the
first kind by the same formulas (a test holds the two equal), so its own service does without these views. A view whose
anchors this installation's data cannot fill is None, and so is unknown to Feast.
"""

import numpy as np
import pandas as pd
from definitions import has_columns, touch_window_days
from feast import FeatureView, Field, OnDemandFeatureView, RequestSource
from feast.types import Float64, String, UnixTimestamp
from transformations import SourceTransformation, from_source
from views import engagement_features, hcp_features, patient_features

CHANNELS = ["crm", "digital", "email", "in_person", "phone", "webinar", "other"]
"""Channels as the feature tables count them; any other one is `other`."""

prediction_request = RequestSource(
    name="prediction_request",
    schema=[Field(name="prediction_time", dtype=UnixTimestamp, description="When the prediction is made (UTC).")],
    description="When a prediction is made. A training row gives its event timestamp.",
    owner="data-preparer",
)

contact_request = RequestSource(
    name="contact_request",
    schema=[Field(name="planned_channel", dtype=String, description="Channel by which the patient would be reached.")],
    description="What is planned for a patient, which nobody but the one who asks knows.",
    owner="data-preparer",
)


def microseconds(times: pd.Series) -> np.ndarray:
    """Microseconds since 1970 (UTC), NaN where there is no time; a time without zone is UTC."""
    parsed = pd.to_datetime(times, utc=True).dt.tz_localize(None).astype("datetime64[us]")
    return np.where(parsed.isna(), np.nan, parsed.to_numpy().astype("int64").astype("float64"))


def days_since_diagnosis(inputs: pd.DataFrame) -> pd.DataFrame:
    """Whole days from the first diagnosis to the prediction."""
    since = microseconds(inputs["prediction_time"]) - microseconds(inputs["first_diagnosis_date"])
    return pd.DataFrame({"days_since_diagnosis": np.floor(since / 86_400_000_000)})


def call_frequency(inputs: pd.DataFrame) -> pd.DataFrame:
    """Calls per 30 days; a shorter history counts as 30 days."""
    calls = pd.to_numeric(inputs["call_count"]).to_numpy(dtype="float64", na_value=np.nan)
    since = microseconds(inputs["prediction_time"]) - microseconds(inputs["first_call_date"])
    rate = calls * 30.0 / np.maximum(since / 86_400_000_000, 30.0)
    return pd.DataFrame({"call_frequency": np.where(calls == 0, 0.0, rate)})


def recent_touches(inputs: pd.DataFrame) -> pd.DataFrame:
    """Touches within the window before the prediction; a touch exactly as old as the window is not counted."""
    times = list(inputs["recent_touch_times"])
    now = microseconds(inputs["prediction_time"])
    known = np.array([hasattr(t, "__len__") for t in times], dtype=bool)
    lengths = np.array([len(t) if k else 0 for t, k in zip(times, known, strict=True)], dtype="int64")
    rows = np.repeat(np.arange(len(times)), lengths)
    flat = np.array([t for ts, k in zip(times, known, strict=True) if k for t in ts], dtype="float64")
    is_within = (flat > now[rows] - TOUCH_WINDOW_DAYS * 86_400_000_000) & (flat <= now[rows])  # noqa: F821 - a constant of from_source
    counts = np.bincount(rows[is_within], minlength=len(times)).astype("float64")
    return pd.DataFrame({"recent_touches": np.where(known, counts, np.nan)})


def is_preferred_channel(inputs: pd.DataFrame) -> pd.DataFrame:
    """1 where the planned channel is the patient's most frequent one, 0 where it is not, null where none is known."""
    planned = inputs["planned_channel"].astype("object")
    named = planned.where(planned.isin(CHANNELS), "other")
    preferred = inputs["channel_preferences"].astype("object")
    is_same = (named == preferred).astype("float64")
    return pd.DataFrame({"is_preferred_channel": is_same.where(planned.notna() & preferred.notna(), np.nan)})


def _view(
    source: FeatureView | None,
    anchors: list[str],
    request: RequestSource,
    transformation: SourceTransformation,
    description: str,
) -> OnDemandFeatureView | None:
    if source is None or not has_columns(source.name, anchors):
        return None
    feature = transformation.udf.__name__
    return OnDemandFeatureView(
        name=f"{feature}_on_demand",
        sources=[source[anchors], request],
        schema=[Field(name=feature, dtype=Float64)],  # Feast infers it, and an inferred one has no description
        feature_transformation=transformation,
        mode="pandas",
        description=description,
        owner="data-preparer",
        tags={"stage": "features", "sensitivity": source.tags["sensitivity"]},
    )


days_since_diagnosis_view = _view(
    patient_features,
    ["first_diagnosis_date"],
    prediction_request,
    from_source(days_since_diagnosis, microseconds),
    "Days from the first diagnosis event to the prediction time.",
)
call_frequency_view = _view(
    hcp_features,
    ["call_count", "first_call_date"],
    prediction_request,
    from_source(call_frequency, microseconds),
    "Calls and visits to the HCP per 30 days so far.",
)
recent_touches_view = _view(
    engagement_features,
    ["recent_touch_times"],
    prediction_request,
    from_source(recent_touches, microseconds, TOUCH_WINDOW_DAYS=touch_window_days()),
    "Touches that reached the patient in the look-back window.",
)
preferred_channel_view = _view(
    engagement_features,
    ["channel_preferences"],
    contact_request,
    from_source(is_preferred_channel, CHANNELS=CHANNELS),
    "Whether the planned channel is the patient's most frequent one: 1 or 0, null where none is known.",
)
