"""The way from an MLflow model's files to its scores: MLflow calls `_load_pyfunc` by its name.

It knows nothing of MLflow and imports none of it, so that it runs wherever the model is loaded. What the files mean
stands in `domain.algorithms`; how they get into MLflow in `resources.mlflow_models`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from e2i_pipeline.domain.algorithms import ScoringModel
    from e2i_pipeline.serving.effect import PackagedEffect


class PackagedModel:
    """A scoring model as MLflow wants to call it.

    Attributes:
        model: The model that scores.
    """

    def __init__(self, model: "ScoringModel") -> None:
        self.model = model

    def predict(self, frame: "pd.DataFrame", params: dict[str, Any] | None = None) -> "np.ndarray":
        """The probability of the outcome for each row, 0..1, or its expected value: shape (n,), float64.

        Args:
            frame: The raw feature columns.
            params: MLflow passes inference parameters here; there are none.
        """
        return self.model.predict(frame).astype("float64")


def _load_pyfunc(path: str) -> "PackagedModel | PackagedEffect":
    """Loads the model from the folder of its files: the contract of MLflow's `python_function` flavour."""
    from e2i_pipeline.domain.algorithms import load_model
    from e2i_pipeline.serving.effect import EFFECT_FILE, PackagedEffect

    files = {file.name: file.read_bytes() for file in Path(path).iterdir()}
    if EFFECT_FILE in files:
        from e2i_pipeline.domain.causal.linear_effect import LinearEffect

        return PackagedEffect(LinearEffect.model_validate_json(files[EFFECT_FILE]))
    return PackagedModel(load_model(files))
