"""The manifest that stands beside a model's files, wherever they lie: MLflow, the Bento, a folder."""

from typing import Literal

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.references import FeatureSpec

DEFAULT_THRESHOLD = 0.5
"""Label threshold of a classification without one of its own: the platform's default."""


class Recalibrator(Contract):
    """How a model's own probabilities become those that it gives out: a rising function, as plain numbers.

    Attributes:
        method: `platt`: log-odds out = intercept + slope * log-odds in. `isotonic`: linear between the knots.
        slope: Of `platt`, > 0.
        intercept: Of `platt`, log-odds.
        inputs: Of `isotonic`: the knots' probabilities in, strictly rising from 0 to 1.
        outputs: The same knots' probabilities out, strictly rising from 0 to 1.
    """

    method: Literal["platt", "isotonic"]
    slope: float = 1.0
    intercept: float = 0.0
    inputs: tuple[float, ...] = ()
    outputs: tuple[float, ...] = ()


class ModelManifest(Contract):
    """Everything needed to score with the files, and to trace them back.

    Attributes:
        training_key: The training's key.
        brand: The brand.
        algorithm: Name in `domain.algorithms`.
        problem_type: `classification` or `regression`.
        parameters: Hyperparameters.
        features: The request's fields, in order.
        encoded_features: Columns after encoding, each with the feature it comes from.
        categories: Known values per categorical feature, as seen in the train split.
        files: Role (`booster`, `estimator`, `preprocessing`) to file name.
        threshold: Score at or above which a journey is flagged; None before the evaluation.
        recalibration: What is done to the estimator's probabilities before they are given out; None for nothing.
        horizon_days: Days after the prediction time in which the outcome counts.
    """

    training_key: str
    brand: str
    algorithm: str
    problem_type: str = "classification"
    parameters: dict[str, bool | int | float | str | None]
    features: tuple[FeatureSpec, ...]
    encoded_features: tuple[tuple[str, str], ...]
    categories: dict[str, tuple[str, ...]]
    files: dict[str, str]
    threshold: float | None = None
    recalibration: Recalibrator | None = None
    horizon_days: int

    @property
    def label_threshold(self) -> float:
        """Score at or above which a row is labelled; a threshold of 0 labels every row, and is not none."""
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold
