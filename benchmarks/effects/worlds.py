# ruff: noqa: TID253 - it runs in a process of its own, which needs them
"""Journeys of the generated source as an effect analysis reads them, and what the bars of effects share."""

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.causal import Segment, TargetTrialProtocol
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.causal.nuisance import NuisanceSpec
from e2i_pipeline.domain.synthetic import generate

BRAND = "Kisqali"
SPEC = NuisanceSpec(
    "xgboost",
    {"n_estimators": 120, "max_depth": 3, "learning_rate": 0.08, "subsample": 0.8, "min_child_weight": 20},
    folds=3,
    seed=7,
    threads=1,
)
"""The nuisance models, fixed: those of the configuration."""

_KINDS = {
    "disease_severity": "numeric",
    "academic_hcp": "boolean",
    "age_at_diagnosis": "numeric",
    "risk_score": "numeric",
    "insurance_type": "categorical",
    "geographic_region": "categorical",
}
FEATURES = tuple(FeatureSpec(name=name, kind=kind, view="patient_features") for name, kind in _KINDS.items())


def journeys(process: str, rows: int, seed: int) -> pd.DataFrame:
    """The closed journeys of a generated world of so many."""
    table = generate([BRAND], seed, rows, process=process).tables["patient_journeys"]
    columns = ["patient_journey_id", "patient_id", "hcp_id", "engagement_score", "treatment_initiated", *_KINDS]
    frame = table.select(columns).to_pandas().rename(columns={"treatment_initiated": "target"})
    frame = frame[frame["target"].notna()].reset_index(drop=True)
    numbers = [name for name, kind in _KINDS.items() if kind != "categorical"]
    return frame.astype(dict.fromkeys((*numbers, "target", "engagement_score"), np.float64))


def protocol(seed: int) -> TargetTrialProtocol:
    """The protocol of such journeys."""
    return TargetTrialProtocol(
        key="benchmark",
        brand=BRAND,
        dataset_version="benchmark",
        eligibility=("The outcome window has passed.",),
        time_zero="The index date.",
        treatment="engagement_score",
        treatment_kind="continuous",
        treatment_definition="Engagement, 0 to 10.",
        confounders=FEATURES,
        left_out={},
        modifiers=("disease_severity",),
        segments=(Segment(name="severe", feature="disease_severity", low=7.0),),
        outcome="treatment_initiated",
        outcome_kind="binary",
        window_days=180,
        estimand="The average derivative, weighted by the variance of the treatment.",
        is_randomized=False,
        negative_controls=(),
        folds={"fit": 0.5, "validation": 0.2, "evaluation": 0.3},
        split_by="patient_and_hcp",
        capacity=0.1,
        cost=0.0,
        seed=seed,
    )
