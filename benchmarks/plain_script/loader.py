"""Copied beside a logged model: how MLflow loads it. MLflow calls `_load_pyfunc` by its name."""

from pathlib import Path
from typing import Any

from e2i_pipeline.domain.algorithms import ScoringModel, load_model


class Probabilities:
    """A scoring model as MLflow wants to call it."""

    def __init__(self, model: ScoringModel) -> None:
        self.model = model

    def predict(self, frame: Any, params: Any = None) -> Any:
        """The probability of the outcome for each row."""
        return self.model.predict(frame)


def _load_pyfunc(path: str) -> Probabilities:
    return Probabilities(load_model({file.name: file.read_bytes() for file in Path(path).iterdir()}))
