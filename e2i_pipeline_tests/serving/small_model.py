"""A small model of each algorithm, on made-up journeys with every kind of feature, and odd category names."""

from functools import cache

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.domain.algorithms import ScoringModel, fit_model

KEY = "ab" * 16

FEATURES = (
    FeatureSpec(
        name="disease_severity", kind="numeric", view="patient_features", description="0 to 10", low=0, high=10
    ),
    FeatureSpec(name="geographic_region", kind="categorical", view="patient_features", description="Region."),
    FeatureSpec(name="academic_hcp", kind="boolean", view="patient_features", description="Academic site."),
    FeatureSpec(name="days_since_diagnosis", kind="numeric", view="patient_features", description="Days.", low=0),
)

VERSION = ModelVersion(
    key=KEY,
    brand="Kisqali",
    name="e2i-Kisqali-conversion",
    version="1",
    mlflow_run_id="0" * 32,
    model_uri="models:/e2i-Kisqali-conversion/1",
    stage="development",
)

PARAMETERS: dict[str, dict[str, float]] = {
    "xgboost": {"n_estimators": 25, "max_depth": 3},
    "lightgbm": {"n_estimators": 25, "num_leaves": 7},
    "catboost": {"n_estimators": 25, "depth": 3},
    "random_forest": {"n_estimators": 25, "max_depth": 6, "min_samples_leaf": 5},
    "logistic_regression": {"C": 1.0},
}

ROW = {"disease_severity": 3.5, "geographic_region": "south", "academic_hcp": True, "days_since_diagnosis": 100}


def journeys(rows: int = 600, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Raw features, some of them missing, and outcomes that severity and region drive."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "disease_severity": random.uniform(0, 10, rows),
            "geographic_region": random.choice(["south", "west", "other <[1, 2)>"], rows).astype(object),
            "academic_hcp": random.integers(0, 2, rows).astype(float),
            "days_since_diagnosis": random.integers(0, 900, rows).astype(float),
        }
    )
    margin = 0.5 * (frame["disease_severity"] - 5) + 1.2 * (frame["geographic_region"] == "south") - 1
    outcome = (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(int).to_numpy()
    frame.loc[::7, "disease_severity"] = np.nan
    frame.loc[::11, "geographic_region"] = None
    frame.loc[::13, "academic_hcp"] = np.nan
    return frame, outcome


@cache
def small_model(algorithm: str = "xgboost", seed: int = 1) -> ScoringModel:
    """A fitted model that flags from a probability of 0.5 on."""
    frame, outcome = journeys(seed=seed)
    model = fit_model(
        algorithm,
        PARAMETERS[algorithm],
        frame,
        outcome,
        FEATURES,
        training_key=KEY,
        brand="Kisqali",
        horizon_days=180,
        seed=seed,
        threads=1,
    )
    return model.with_threshold(0.5)
