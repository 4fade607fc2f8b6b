"""A model that a study trained on the confounded world ranks almost as well as its process, and means what it says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.evaluation_rules import RecalibrationRules
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.algorithms import fit_model
from e2i_pipeline.domain.operating_point import set_operating_point
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.domain.synthetic_truth import brand_truth
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline_tests.domain.judged import SCOPE
from e2i_pipeline_tests.domain.synthetic_fits import COVARIATES, closed_journeys

BRAND, JOURNEYS = "Fabhalta", 45_000
LEVELS = ("insurance_type", "geographic_region")
FEATURES = (
    FeatureSpec(name="engagement_score", kind="numeric", view="patient_features"),
    *(FeatureSpec(name=name, kind="numeric", view="patient_features") for name in COVARIATES),
    *(FeatureSpec(name=name, kind="categorical", view="patient_features") for name in LEVELS),
)
SHIPPED = load_settings({}).optuna
TRIALS = 12
"""Enough to show what the shipped search space finds: the claim is about the model, not about a long search."""


def true_probability(rows: pd.DataFrame) -> np.ndarray:
    """The probability by which the generator drew each outcome, from its own coefficients."""
    told = brand_truth(BRAND, "confounded", 0.0)
    weights: Mapping[str, Any] = told["coefficients"]
    z = told["intercept"] + told["effect_log_odds"] * rows["engagement_score"]
    z = (
        z
        + weights["disease_severity"] * (rows["disease_severity"] - 5)
        + weights["academic_hcp"] * rows["academic_hcp"]
    )
    z = (
        z
        + weights["risk_score"] * (rows["risk_score"] - 0.4)
        + weights["age_at_diagnosis"] * (rows["age_at_diagnosis"] - 50)
    )
    z = z + weights["prior_treatments"] * rows["prior_treatments"].clip(upper=4)
    for name in LEVELS:
        z = z + rows[name].map(weights[name]).astype(float)
    return (1 / (1 + np.exp(-z))).to_numpy()


@pytest.fixture(scope="module")
def splits() -> dict[str, pd.DataFrame]:
    """Journeys in order of time: 60 % to learn from, 20 % to calibrate on, 20 % to judge."""
    rows = closed_journeys(generate([BRAND], seed=5, journeys_per_brand=JOURNEYS, process="confounded"))
    rows = rows.sort_values(["journey_start_date", "patient_journey_id"], ignore_index=True)
    cuts = [int(len(rows) * share) for share in (0.6, 0.8)]
    return dict(zip(("train", "validation", "test"), np.split(rows, cuts), strict=True))


@pytest.mark.parametrize("algorithms", [("xgboost", "logistic_regression"), ("xgboost",)], ids=["shipped", "xgboost"])
def test_discrimination_of_what_a_study_trains_is_within_a_hundredth_of_the_best_achievable_and_calibrated(
    algorithms: tuple[str, ...], splits: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))
    learned, held_out, outcome = (split["treatment_initiated"].to_numpy(float) for split in (train, validation, test))
    study = OptunaResource(storage=f"journal://{tmp_path}/journal.log", n_trials=TRIALS, n_jobs=1).optimize(
        "confounded",
        algorithms,
        SHIPPED.model_dump()["search_space"],
        (train, learned),
        (validation, held_out),
        FEATURES,
        metric="auc",
        direction="maximize",
        seed=1,
        early_stopping_rounds=SHIPPED.early_stopping_rounds,
        patients=(train["patient_id"], validation["patient_id"]),
        folds=SHIPPED.selection_folds,
    )
    fitted = fit_model(
        study.algorithm,
        study.parameters,
        train,
        learned,
        FEATURES,
        training_key="k",
        brand=BRAND,
        horizon_days=180,
        seed=1,
        threads=1,
    )
    model, _ = set_operating_point(
        fitted, validation, held_out, SCOPE, RecalibrationRules(), seed=1, patients=validation["patient_id"]
    )
    found = metrics.evaluate(outcome, model.predict(test), SCOPE.capacity)

    best = metrics.auc(outcome, true_probability(test))
    assert best - 0.01 <= found["auc"] <= best + 0.01
    assert 0.9 <= found["calibration_slope"] <= 1.1


def test_the_true_probabilities_are_those_that_drew_the_outcomes(splits: dict[str, pd.DataFrame]) -> None:
    rows = pd.concat(splits.values())
    p = true_probability(rows)
    assert p.mean() == pytest.approx(rows["treatment_initiated"].mean(), abs=0.01)
    assert metrics.auc(rows["treatment_initiated"], p) == pytest.approx(
        brand_truth(BRAND, "confounded", 0.0)["best_auc"], abs=0.01
    )
