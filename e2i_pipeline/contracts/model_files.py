"""The manifest that stands beside a model's files, wherever they lie: MLflow, the Bento, a folder."""

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.references import FeatureSpec


class ModelManifest(Contract):
    """Everything needed to score with the files, and to trace them back.

    Attributes:
        training_key: The training's key.
        brand: The brand.
        algorithm: Name in `domain.algorithms`.
        parameters: Hyperparameters.
        features: The request's fields, in order.
        encoded_features: Columns after encoding, each with the feature it comes from.
        categories: Known values per categorical feature, as seen in the train split.
        files: Role (`booster`, `estimator`, `preprocessing`) to file name.
        threshold: Score at or above which a journey is flagged; None before the evaluation.
        horizon_days: Days after the prediction time in which the outcome counts.
    """

    training_key: str
    brand: str
    algorithm: str
    parameters: dict[str, bool | int | float | str | None]
    features: tuple[FeatureSpec, ...]
    encoded_features: tuple[tuple[str, str], ...]
    categories: dict[str, tuple[str, ...]]
    files: dict[str, str]
    threshold: float | None = None
    horizon_days: int
