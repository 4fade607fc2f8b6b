"""Journeys drawn by the generator's own processes, as the causal stage reads them, and their protocol."""

from typing import Any

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.causal import Segment, TargetTrialProtocol
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import synthetic_population as population
from e2i_pipeline.domain import synthetic_process as causes
from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.causal.nuisance import NuisanceSpec
from e2i_pipeline.domain.synthetic_process import PROCESSES

SPEC = NuisanceSpec(
    "xgboost",
    {"n_estimators": 60, "max_depth": 3, "learning_rate": 0.15, "subsample": 0.8, "min_child_weight": 20},
    folds=2,
    seed=7,
    threads=1,
)

FEATURES = (
    FeatureSpec(name="disease_severity", kind="numeric", view="patient_features"),
    FeatureSpec(name="academic_hcp", kind="boolean", view="patient_features"),
    FeatureSpec(name="age_at_diagnosis", kind="numeric", view="patient_features"),
    FeatureSpec(name="insurance_type", kind="categorical", view="patient_features"),
)


def drawn(process: str, rows: int, seed: int = 0) -> pd.DataFrame:
    """Journeys of a process, each patient one; about fifteen share a physician."""
    rng, how = np.random.default_rng(seed), PROCESSES[process]
    panel = population.draw_panel(rng, vocabulary.BRAND_PROFILES["Kisqali"], max(50, rows // 15))
    hcp = rng.integers(0, len(panel.region), rows)
    drivers = population.draw_drivers(
        rng, vocabulary.BRAND_PROFILES["Kisqali"], panel.region[hcp], panel.is_academic[hcp], how, 0.0
    )
    treatment = causes.engagement(how, drivers, rng.normal(size=len(panel.region))[hcp], rng.normal(size=rows))
    score = how.effect(drivers) * treatment + causes.background(how, drivers, 0.0)
    control = rng.random(rows) < causes.expit(causes.negative_control_log_odds(drivers))
    return pd.DataFrame(
        {
            "patient_journey_id": [f"j{row:06}" for row in range(rows)],
            "patient_id": [f"p{row:06}" for row in range(rows)],
            "hcp_id": [f"h{number:05}" for number in hcp],
            "target": (rng.random(rows) < causes.expit(score - score.mean() - 1)).astype(float),
            "engagement_score": treatment,
            "disease_severity": drivers.severity,
            "academic_hcp": drivers.is_academic.astype(float),
            "age_at_diagnosis": drivers.age.astype(float),
            "insurance_type": np.array(vocabulary.INSURANCE, dtype=object)[drivers.insurance],
            "hidden": drivers.hidden,
            "negative_control_outcome": control.astype(float),
        }
    )


def protocol(**changed: Any) -> TargetTrialProtocol:
    """The protocol of such journeys."""
    cuts = ((None, 4.0), (4.0, 7.0), (7.0, None))
    fields: dict[str, Any] = {
        "key": "k",
        "brand": "Kisqali",
        "dataset_version": "v",
        "eligibility": ("Everybody.",),
        "time_zero": "The index date.",
        "treatment": "engagement_score",
        "treatment_kind": "continuous",
        "treatment_definition": "Engagement, 0 to 10.",
        "confounders": FEATURES,
        "left_out": {},
        "modifiers": ("disease_severity",),
        "segments": tuple(
            Segment(name=f"severity {low} to {high}", feature="disease_severity", low=low, high=high)
            for low, high in cuts
        ),
        "outcome": "treatment_initiated",
        "outcome_kind": "binary",
        "window_days": 180,
        "estimand": "The average derivative.",
        "is_randomized": False,
        "negative_controls": (),
        "folds": {"fit": 0.5, "validation": 0.2, "evaluation": 0.3},
        "split_by": "patient_and_hcp",
        "capacity": 0.1,
        "cost": 0.0,
        "seed": 7,
    }
    return TargetTrialProtocol(**(fields | changed))


def randomized(rows: int, effect: float = 0.15, seed: int = 0) -> pd.DataFrame:
    """Journeys of whom half were treated by the toss of a coin: treatment raises the risk by `effect`."""
    frame = drawn("simple_linear", rows, seed)
    rng = np.random.default_rng(seed + 1)
    frame["treated"] = rng.integers(0, 2, rows).astype(float)
    risk = 0.1 + 0.04 * frame["disease_severity"] + effect * frame["treated"]
    frame["target"] = (rng.random(rows) < risk).astype(float)
    return frame


def randomized_protocol(**changed: Any) -> TargetTrialProtocol:
    """The protocol of such a trial."""
    trial = {"treatment": "treated", "treatment_kind": "binary", "is_randomized": True, "estimand": "The mean effect."}
    return protocol(**(trial | changed))
