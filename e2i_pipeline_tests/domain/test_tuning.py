"""A trial: its value is what the final model will reach on validation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import metrics, regression_metrics
from e2i_pipeline.domain.algorithms import ALGORITHMS, fit_model
from e2i_pipeline.domain.learners import STEP
from e2i_pipeline.domain.tuning import METRICS, Split, Tuning
from e2i_pipeline.errors import CohortTooSmall, ConfigurationError, SourceError
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

TRAIN = modelling_rows(800, seed=1)
VALIDATION = modelling_rows(400, seed=2)

JUDGES: dict[str, Callable[..., float]] = {
    "auc": metrics.auc,
    "log_loss": metrics.log_loss,
    "rmse": regression_metrics.rmse,
    "mae": regression_metrics.mae,
}


def _as(problem: str, split: Split) -> Split:
    """A split for a problem: for a regression the outcomes are amounts that rise with severity and outcome."""
    frame, outcomes = split
    if problem == "classification":
        return split
    amounts = 2 * frame["severity"].fillna(5).to_numpy() + 3 * outcomes
    return frame, amounts + np.random.default_rng(len(frame)).normal(size=len(frame))


def _tuning(metric: str = "auc", seed: int = 3, features: tuple[FeatureSpec, ...] = FEATURES) -> Tuning:
    return Tuning(TRAIN, VALIDATION, features, metric=metric, seed=seed, threads=1, early_stopping_rounds=10)


TRIED: dict[str, dict[str, float]] = {
    "xgboost": {"n_estimators": 300, "max_depth": 3},
    "lightgbm": {"n_estimators": 300, "num_leaves": 7, "min_child_samples": 5},
    "catboost": {"n_estimators": 300, "depth": 3, "learning_rate": 0.3},
    "random_forest": {"n_estimators": 20, "max_depth": 5},
    "logistic_regression": {"C": 0.5},
    "ridge": {"alpha": 1.0},
}
CASES = [
    (name, problem, metric)
    for name in TRIED
    for problem in ALGORITHMS[name].problem_types
    for metric in METRICS[problem]
]


@pytest.mark.parametrize(("name", "problem", "metric"), CASES)
def test_a_fit_with_the_trial_s_parameters_reaches_the_trial_s_value(name: str, problem: str, metric: str) -> None:
    parameters = TRIED[name]
    (rows, y), (held_out, held_out_y) = (_as(problem, split) for split in (TRAIN, VALIDATION))
    options: dict[str, Any] = {"metric": metric, "seed": 3, "threads": 1, "early_stopping_rounds": 10}
    tuning = Tuning((rows, y), (held_out, held_out_y), FEATURES, problem_type=problem, **options)
    other = tuning.fit(name, {**parameters, "n_estimators": 50} if "n_estimators" in parameters else parameters)
    tried = tuning.fit(name, parameters)

    named: dict[str, Any] = {"training_key": "k", "brand": "b", "horizon_days": 1, "seed": 3, "threads": 2}
    model = fit_model(name, tried.parameters, rows, y, FEATURES, problem_type=problem, **named)

    assert JUDGES[metric](held_out_y, model.predict(held_out)) == tried.value
    assert other.value > 0
    if ALGORITHMS[name].is_incremental:
        assert int(tried.parameters["n_estimators"] or 0) < 300


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost"])
def test_an_incremental_fit_reports_on_the_way_and_can_be_ended(name: str) -> None:
    seen: list[tuple[int, float]] = []

    _tuning("log_loss").fit(
        name, {"n_estimators": 3 * STEP, "learning_rate": 0.01}, lambda *report: seen.append(report)
    )

    assert [step for step, _ in seen] == [STEP, 2 * STEP, 3 * STEP]
    assert all(0.3 < value < 0.7 for _, value in seen)

    def refuse(step: int, value: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        _tuning().fit(name, {"n_estimators": 3 * STEP}, refuse)


def test_the_fingerprint_knows_data_and_rules() -> None:
    same = {_tuning().fingerprint, _tuning().fingerprint}
    assert len(same) == 1
    others = {
        _tuning(seed=4).fingerprint,
        _tuning("log_loss").fingerprint,
        _tuning(features=FEATURES[:4]).fingerprint,
        Tuning(VALIDATION, TRAIN, FEATURES, metric="auc", seed=3, threads=1, early_stopping_rounds=10).fingerprint,
    }
    assert len(others | same) == 5


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot optimize 'f1'"):
        _tuning("f1")


def test_a_split_with_one_class_is_refused() -> None:
    rows, y = VALIDATION
    with pytest.raises(CohortTooSmall, match="validation has 0 positives in 400 rows"):
        Tuning(TRAIN, (rows, y * 0), FEATURES, metric="auc", seed=1, threads=1, early_stopping_rounds=10)


def test_an_open_outcome_is_refused() -> None:
    rows, y = VALIDATION
    with pytest.raises(SourceError, match="400 of 400 outcomes"):
        Tuning(TRAIN, (rows, y * float("nan")), FEATURES, metric="auc", seed=1, threads=1, early_stopping_rounds=10)
