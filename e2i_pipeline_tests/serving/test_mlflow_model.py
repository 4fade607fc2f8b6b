"""The folder of a model's files becomes something that answers with probabilities."""

from pathlib import Path

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.algorithms import dump_model, fit_model
from e2i_pipeline.serving.mlflow_model import _load_pyfunc


def test_folder_of_files_answers_with_probabilities(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [30.0, 40.0, 50.0, 60.0] * 5})
    model = fit_model(
        "logistic_regression",
        {"C": 1.0},
        frame,
        np.array([0, 0, 1, 1] * 5),
        [FeatureSpec(name="age", kind="numeric", view="v")],
        training_key="k1",
        brand="Kisqali",
        horizon_days=180,
        seed=1,
        threads=1,
    )
    for name, content in dump_model(model).items():
        (tmp_path / name).write_bytes(content)
    answered = _load_pyfunc(str(tmp_path)).predict(frame, params={})
    np.testing.assert_array_equal(answered, model.predict(frame))
    assert answered.dtype == np.float64
