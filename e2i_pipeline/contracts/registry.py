"""References to what the model registry keeps: a version, and the decision which version serves."""

from e2i_pipeline.contracts.base import Reference


class ModelVersion(Reference):
    """A version in the MLflow registry.

    Attributes:
        key: The training key.
        brand: The brand (partition).
        name: Registered name, e.g. `e2i-Kisqali-conversion`.
        version: Version number as MLflow writes it.
        mlflow_run_id: The run that made it.
        model_uri: `models:/<name>/<version>`.
        stage: `development`, `staging`, `shadow`, `production` or `archived`.
    """

    brand: str
    name: str
    version: str
    mlflow_run_id: str
    model_uri: str
    stage: str


class PromotionRef(Reference):
    """A promotion decision.

    Attributes:
        brand: The brand (partition).
        name: Registered name that the decision is about; empty in what was stored before it was kept.
        is_promoted: Whether the candidate now serves.
        reason: Why, in words.
        champion: The version that serves after the decision; None where none does.
    """

    brand: str
    name: str = ""
    is_promoted: bool
    reason: str
    champion: ModelVersion | None
