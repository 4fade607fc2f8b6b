# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""What a model reads, per purpose. Training and serving name the same service, so that they read the same features.

A further purpose is one more service here. `pinned_...` are the views as models were trained on them: they name the
version of each view, and stay as they are when the views change.
"""

from definitions import PINS, is_available, service_tags
from feast import FeatureService, FeatureView
from on_demand import call_frequency_view, days_since_diagnosis_view, preferred_channel_view, recent_touches_view
from views import engagement_features, hcp_features, patient_features

ENGAGEMENT = {"engagement_rate", "call_count", "first_call_date", "last_call_date", "engagement_score"}
"""What tells of engagement outside of `engagement_features`, the configured covariate `engagement_score` included."""


def _without_engagement(view: FeatureView | None) -> object:
    if view is None:
        return None
    names = [field.name for field in view.features]
    kept = [name for name in names if name not in ENGAGEMENT]
    return view if kept == names else view[kept] if kept else None


def _service(name: str, views: list[object], description: str) -> FeatureService | None:
    present = [view for view in views if view is not None]
    if not present:
        return None
    return FeatureService(
        name=name, features=present, description=description, owner="model-trainer", tags=service_tags()
    )


_STORED = [patient_features, hcp_features, engagement_features]

conversion = _service(
    "conversion", _STORED, "Everything that a conversion model sees of a patient and of their health-care professional."
)
regression = _service("regression", _STORED, "What a model of a continuous outcome, such as days to treatment, sees.")
effect = _service(
    "effect",
    [_without_engagement(patient_features), _without_engagement(hcp_features)],
    "Covariates of an effect model. Engagement is the treatment, so whatever tells of it is left out.",
)
on_demand = _service(
    "on_demand",
    [*_STORED, days_since_diagnosis_view, call_frequency_view, recent_touches_view, preferred_channel_view],
    "Stored features and those of the request: ready values for whoever reads Feast directly.",
)


def _pinned(name: str, versions: dict[str, str]) -> FeatureService:
    return FeatureService(
        name=name,
        features=[f"{view}@{version}" for view, version in sorted(versions.items())],
        description="The views as they were when a model was trained.",
        owner="model-trainer",
    )


pinned = {name: _pinned(name, pin["views"]) for name, pin in PINS.items() if all(map(is_available, pin["views"]))}
globals().update(pinned)  # where Feast looks for objects
