# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""What a model reads. Training and serving name the same service, so that they read the same features."""

from definitions import service_tags
from feast import FeatureService
from views import engagement_features, hcp_features, patient_features

conversion = FeatureService(
    name="conversion",
    features=[view for view in (patient_features, hcp_features, engagement_features) if view is not None],
    description="Everything that a conversion model sees of a patient and of their health-care professional.",
    owner="model-trainer",
    tags=service_tags(),
)
