"""Copied into the Bento as its service: one route, rows in, probabilities out."""

from pathlib import Path
from typing import Any

import bentoml  # noqa: TID253 - a Bento's service is made of BentoML's objects

from e2i_pipeline.domain.algorithms import load_model

TAG = Path(__file__).with_name("model_tag.txt").read_text(encoding="utf-8")


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Plain:
    """Scores journeys."""

    stored = bentoml.models.BentoModel(TAG)

    def __init__(self) -> None:
        folder = Path(self.stored.path_of("files"))
        self._model = load_model({path.name: path.read_bytes() for path in folder.iterdir()})

    @bentoml.api
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Probability of the outcome, per row."""
        import numpy as np
        import pandas as pd

        frame = pd.DataFrame(rows)
        for feature in self._model.manifest.features:
            if feature.kind != "categorical":
                frame[feature.name] = frame[feature.name].astype(np.float64)
        return [float(p) for p in self._model.predict(frame)]
