"""Turns validated rows into answers: rows -> frame -> the model -> answers. No HTTP, no BentoML, nothing is logged."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.attribution import InstanceExplanation, attribute, explanation_of
from e2i_pipeline.domain.learners import REGRESSION
from e2i_pipeline.serving.schema import (
    Answer,
    Estimate,
    EstimateExplanation,
    Explanation,
    Prediction,
    WireAnswer,
    WireEstimates,
)
from e2i_pipeline.serving.settings import ServingSettings

if TYPE_CHECKING:
    import pandas as pd

    from e2i_pipeline.domain.algorithms import ScoringModel


class Scorer:
    """One loaded model that answers rows."""

    def __init__(self, model: "ScoringModel", settings: ServingSettings) -> None:
        self._model = model
        self._settings = settings
        self._threshold = settings.manifest.threshold

    def predict(self, rows: Sequence[BaseModel]) -> list[Answer]:
        """Scores rows.

        Args:
            rows: At least one row of the schema that `row_model` makes from the same manifest.
        """
        return [self._answer(row, score) for row, score in zip(rows, self._scores(rows), strict=True)]

    def predict_wire(self, rows: Sequence[BaseModel]) -> WireAnswer | WireEstimates:
        """Scores rows into the platform's wire format."""
        scores = self._scores(rows)
        if self._is_regression:
            return WireEstimates(predictions=scores)
        threshold = self._settings.manifest.label_threshold
        return WireAnswer(predictions=[int(p >= threshold) for p in scores], probabilities=scores)

    def explain(self, rows: Sequence[BaseModel]) -> list[Explanation | EstimateExplanation]:
        """Takes the score of each row apart, by the model's native contributions."""
        frame = self._frame(rows)
        attribution = attribute(self._model, frame, self._settings.reference)
        scores = self._model.predict(frame)
        return [self._explained(explanation_of(attribution, row, float(s))) for row, s in enumerate(scores)]

    @property
    def _is_regression(self) -> bool:
        return self._settings.manifest.problem_type == REGRESSION

    @property
    def _named(self) -> dict[str, str]:
        return {"model_name": self._settings.model_name, "model_version": self._settings.model_version}

    def _answer(self, row: BaseModel, score: float) -> Answer:
        if self._is_regression:
            return Estimate(value=score, notes=self._notes(row), **self._named)
        is_flagged = None if self._threshold is None else score >= self._threshold
        return Prediction(probability=score, is_flagged=is_flagged, notes=self._notes(row), **self._named)

    def _explained(self, part: InstanceExplanation) -> Explanation | EstimateExplanation:
        taken_apart: dict[str, Any] = {**part._asdict(), **self._named}
        score = taken_apart.pop("score")
        if self._is_regression:
            return EstimateExplanation(**taken_apart, value=score)
        return Explanation(**taken_apart, probability=score)

    def _scores(self, rows: Sequence[BaseModel]) -> list[float]:
        return [float(score) for score in self._model.predict(self._frame(rows))]

    def _frame(self, rows: Sequence[BaseModel]) -> "pd.DataFrame":
        return frame_of([row.model_dump() for row in rows], self._settings.manifest.features)

    def _notes(self, row: BaseModel) -> list[str]:
        return [
            f"{name}: not a category seen in training; scored like an unseen one"
            for name, known in self._settings.manifest.categories.items()
            if (value := getattr(row, name, None)) is not None and value not in known
        ]


def frame_of(rows: Sequence[dict[str, object]], features: Sequence[FeatureSpec]) -> "pd.DataFrame":
    """Rows as the frame that a model takes: float64 with NaN for numbers and booleans, text or None for categories."""
    import numpy as np
    import pandas as pd

    columns: dict[str, object] = {}
    for feature in features:
        values = [row.get(feature.name) for row in rows]
        if feature.kind == "categorical":
            columns[feature.name] = np.array(values, dtype=object)
        else:
            columns[feature.name] = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return pd.DataFrame(columns)


def rows_of(frame: "pd.DataFrame", features: Sequence[FeatureSpec]) -> list[dict[str, Any]]:
    """A frame of raw features as rows that can be sent: null for a missing value, true or false for a boolean."""
    rows: list[dict[str, Any]] = []
    for values in zip(*(frame[feature.name] for feature in features), strict=True):
        pairs = zip(features, values, strict=True)
        rows.append({feature.name: _plain(value, feature.kind) for feature, value in pairs})
    return rows


def _plain(value: Any, kind: str) -> bool | float | str | None:
    if value is None or value != value:  # NaN alone differs from itself
        return None
    if kind == "categorical":
        return str(value)
    return bool(value) if kind == "boolean" and value in (0, 1) else float(value)
