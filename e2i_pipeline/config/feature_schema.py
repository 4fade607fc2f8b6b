"""The settings of features: when they are predicted for, what is added to them, and when what is served is trusted."""

from typing import Literal

from pydantic import Field

from e2i_pipeline.config.part import Name, Part


class Covariate(Part):
    """A column that becomes a feature by configuration alone.

    Attributes:
        name: Feature name.
        table: One of the source tables.
        column: Column of that table.
        dtype: `numeric`, `categorical` or `boolean`.
        aggregation: How several rows become one value; `latest` for a column of a journey or of a profile.
        window: Days before the prediction time whose rows count; without it all rows known so far do. For events and
            touches.
        low: Smallest value that makes sense.
        high: Largest value that makes sense.
    """

    name: Name
    table: Literal["patient_journeys", "treatment_events", "hcp_profiles", "engagement_events"]
    column: Name
    dtype: Literal["numeric", "categorical", "boolean"]
    aggregation: Literal["latest", "count", "sum", "mean", "min", "max"] = "latest"
    window: int | None = Field(default=None, ge=1, le=36_500)
    low: float | None = None
    high: float | None = None


class Bounds(Part):
    """Per view, whether an event is seen at its own time (`<=`) or only afterwards (`<`).

    An event with a date only is never seen at its midnight: the outcome counts from that day on. The events of
    `patient_features` all have dates only, so that its bound is strict and stays so.
    """

    patient_features: Literal["<"]
    hcp_features: Literal["<", "<="]
    engagement_features: Literal["<", "<="]


class FeatureSettings(Part):
    """Prediction time, look-back windows in days, and covariates.

    Attributes:
        prediction_lag_days: Days from the index date to the prediction time.
        touch_window_days: Look-back window of `recent_touches`.
        bounds: What each view sees of an event at its own time.
        covariates: Columns that become features.
    """

    prediction_lag_days: int = Field(ge=0)
    touch_window_days: int = Field(ge=1)
    bounds: Bounds
    covariates: list[Covariate]


class ParitySettings(Part):
    """How the online store is held against the offline store.

    Attributes:
        sample: Entities compared per join key.
        min_present: Smallest share of the entities of a view that must have a value: agreement on nulls says nothing.
    """

    sample: int = Field(ge=10)
    min_present: float = Field(gt=0, le=1)


class FeastSettings(Part):
    """The Feast project, and when what it serves is trusted."""

    project: Name
    parity: ParitySettings
