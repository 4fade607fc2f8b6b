"""A study begins with what the brand's previous one found, of another dataset."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest

from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.optuna_batches import attributes_of
from e2i_pipeline.resources.optuna_spaces import spaces_of
from e2i_pipeline.resources.optuna_storage import open_storage
from e2i_pipeline.resources.optuna_warm_start import given, mark_ended
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

SPACE: dict[str, dict[str, Any]] = {
    "xgboost": {"n_estimators": [20, 120], "max_depth": {"low": 2, "high": 6, "step": 2}},
    "logistic_regression": {"C": {"low": 1.0e-4, "high": 100.0, "log": True}, "class_weight": ["balanced", "none"]},
}
BEST = [
    {"algorithm": "xgboost", "parameters": {"n_estimators": 100, "max_depth": 4}},
    {"algorithm": "logistic_regression", "parameters": {"C": 2.0, "class_weight": "balanced"}},
]


def _study(folder: Path, name: str, dataset: str, values: dict[str, float], day: int, **about: str) -> None:
    """A study that ended on a day of January 2026, or has not yet: trials of one algorithm each, by their values."""
    with open_storage(_url(folder)) as storage:
        study = optuna.create_study(study_name=name, storage=storage.optuna, direction="maximize")
        attributes = {"brand": "Kisqali", "metric": "auc", "algorithms": sorted(SPACE), "dataset": dataset, **about}
        for key, value in attributes.items():
            study.set_user_attr(key, value)
        names = optuna.distributions.CategoricalDistribution(sorted(SPACE))
        for slot, (label, value) in enumerate(values.items()):
            algorithm, x = label.split()
            study.add_trial(
                optuna.trial.create_trial(
                    params={"algorithm": algorithm, f"{algorithm}.x": float(x)},
                    distributions={
                        "algorithm": names,
                        f"{algorithm}.x": optuna.distributions.FloatDistribution(0, 9),
                    },
                    value=value,
                    user_attrs=attributes_of(slot, 8, 0),
                )
            )
        if day:
            mark_ended(storage, name, datetime(2026, 1, day, tzinfo=UTC))


def _url(folder: Path) -> str:
    return f"journal://{folder}/journal.log"


VALUES = {"xgboost 1": 0.5, "xgboost 2": 0.9, "xgboost 3": 0.8, "logistic_regression 4": 0.6, "xgboost 5": 0.7}


def test_the_previous_study_is_the_last_one_that_ended_over_another_dataset(tmp_path: Path) -> None:
    optuna_resource = OptunaResource(storage=_url(tmp_path))
    assert optuna_resource.previous("Kisqali", "now", "auc").trials == ()

    _study(tmp_path, "older", "one", {"xgboost 9": 0.9}, day=1)
    _study(tmp_path, "last", "two", VALUES, day=2)
    _study(tmp_path, "of the same dataset", "now", {"xgboost 9": 0.9}, day=3)
    _study(tmp_path, "of another brand", "three", {"xgboost 9": 0.9}, day=4, brand="Fabhalta")
    _study(tmp_path, "of another metric", "four", {"xgboost 9": 0.9}, day=5, metric="log_loss")
    _study(tmp_path, "cut short", "five", {"xgboost 9": 0.9}, day=0)
    origin = optuna_resource.previous("Kisqali", "now", "auc")

    assert origin.dataset == "two"
    assert [(t["algorithm"], t["parameters"]["x"]) for t in origin.trials] == [
        ("xgboost", 2.0),
        ("logistic_regression", 4.0),  # the best of its kind
        ("xgboost", 3.0),
        ("xgboost", 5.0),
    ]


def test_what_the_space_does_not_allow_is_not_taken_over() -> None:
    spaces = spaces_of(list(SPACE), SPACE)
    wrong = [
        {"algorithm": "random_forest", "parameters": {}},
        *({"algorithm": "xgboost", "parameters": {"n_estimators": n, "max_depth": d}} for n, d in WRONG),
        {"algorithm": "xgboost", "parameters": {"n_estimators": 100}},
        {"algorithm": "logistic_regression", "parameters": {"C": 2.0, "class_weight": "other"}},
    ]

    assert given([*wrong, *BEST], spaces, 8) == (
        {"algorithm": "xgboost", "xgboost.max_depth": 4, "xgboost.n_estimators": 100},
        {
            "algorithm": "logistic_regression",
            "logistic_regression.C": 2.0,
            "logistic_regression.class_weight": "balanced",
        },
    )
    assert len(given(BEST, spaces, batch_size=2)) == 1
    assert given(BEST, {"xgboost": spaces["xgboost"]}, 8) == ({"xgboost.max_depth": 4, "xgboost.n_estimators": 100},)


WRONG = ((121, 4), (100, 3), (100, True), (100.5, 4), ("100", 4))


def test_a_study_tries_first_what_it_is_given(tmp_path: Path) -> None:
    resource = OptunaResource(storage=_url(tmp_path), n_trials=4, n_jobs=1)
    arguments: dict[str, Any] = {"metric": "auc", "direction": "maximize", "seed": 3, "early_stopping_rounds": 15}
    rows = modelling_rows(300, seed=1), modelling_rows(200, seed=2)

    space = {**SPACE, "logistic_regression": {"C": SPACE["logistic_regression"]["C"]}}
    best = [BEST[0], {"algorithm": "logistic_regression", "parameters": {"C": 2.0}}]
    outcome = resource.optimize("warm", list(space), space, *rows, FEATURES, given=best, **arguments)

    assert [{"algorithm": t.algorithm, "parameters": t.parameters} for t in outcome.history[:2]] == best
    with pytest.raises(ConfigurationError, match="was made over other data"):
        resource.optimize("warm", list(space), space, *rows, FEATURES, **arguments)
