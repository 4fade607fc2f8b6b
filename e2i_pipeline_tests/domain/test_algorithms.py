"""Models: fit, score, dump and load, the same every time."""

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.algorithms import ALGORITHMS, ScoringModel, algorithm, dump_model, fit_model, load_model
from e2i_pipeline.domain.attribution import attribute
from e2i_pipeline.domain.learners import ROWS_PER_THREAD, Watch
from e2i_pipeline.domain.metrics import auc
from e2i_pipeline.domain.regression_metrics import rmse
from e2i_pipeline.errors import ConfigurationError, SourceError, ToolRejected
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

PARAMETERS: dict[str, dict[str, float]] = {
    "xgboost": {"n_estimators": 30, "max_depth": 4, "subsample": 0.8, "colsample_bytree": 0.8},
    "lightgbm": {"n_estimators": 30, "num_leaves": 8, "subsample": 0.8, "colsample_bytree": 0.8},
    "catboost": {"n_estimators": 30, "depth": 4, "subsample": 0.8, "bootstrap_type": "Bernoulli"},
    "random_forest": {"n_estimators": 20, "max_depth": 6, "max_features": 0.8},
    "logistic_regression": {"C": 1.0},
    "linear_regression": {},
    "ridge": {"alpha": 1.0},
    "lasso": {"alpha": 0.001},
}
OTHER: dict[str, dict[str, float]] = {
    "xgboost": {"max_depth": 3},
    "lightgbm": {"num_leaves": 5},
    "catboost": {"depth": 3},
    "random_forest": {"max_depth": 3},
    "logistic_regression": {"C": 0.01},
    "linear_regression": {"fit_intercept": False},
    "ridge": {"alpha": 100.0},
    "lasso": {"alpha": 0.1},
}
BOOSTED = sorted(name for name, algorithm in ALGORITHMS.items() if algorithm.is_incremental)
TRAIN, OUTCOMES = modelling_rows(1500, seed=1)
NEW, NEW_OUTCOMES = modelling_rows(1000, seed=2)

CASES = [(name, problem) for name in sorted(ALGORITHMS) for problem in ALGORITHMS[name].problem_types]
every_case = pytest.mark.parametrize(("name", "problem"), CASES)
every_booster = pytest.mark.parametrize("name", BOOSTED)


def _amounts(frame: pd.DataFrame, outcomes: np.ndarray) -> np.ndarray:
    """Outcomes of a regression: they rise with severity, and for who has the other outcome."""
    noise = np.random.default_rng(len(frame)).normal(size=len(frame))
    return 2 * frame["severity"].fillna(5).to_numpy() + 3 * outcomes + noise


def _fit(name: str, problem: str = "", threads: int = 1, seed: int = 5, **parameters: float) -> ScoringModel:
    problem = problem or ALGORITHMS[name].problem_types[0]
    return fit_model(
        name,
        {**PARAMETERS[name], **parameters},
        TRAIN,
        OUTCOMES if problem == "classification" else _amounts(TRAIN, OUTCOMES),
        FEATURES,
        training_key="key",
        brand="Kisqali",
        horizon_days=180,
        seed=seed,
        threads=threads,
        problem_type=problem,
    )


@every_case
def test_a_model_learns_what_is_there(name: str, problem: str) -> None:
    model = _fit(name, problem)

    scores = model.predict(NEW)

    assert scores.shape == (1000,)
    assert model.manifest.problem_type == problem
    if problem == "classification":
        assert ((scores > 0) & (scores < 1)).all()
        assert auc(NEW_OUTCOMES, scores) > (0.70 if name == "logistic_regression" else 0.75)
        assert abs(scores.mean() - NEW_OUTCOMES.mean()) < 0.05
    else:
        amounts = _amounts(NEW, NEW_OUTCOMES)
        assert rmse(amounts, scores) < 0.35 * amounts.std()
        assert abs(scores.mean() - amounts.mean()) < 0.3


@every_case
def test_a_loaded_model_predicts_and_is_explained_the_same_to_the_last_bit(name: str, problem: str) -> None:
    model = _fit(name, problem).with_threshold(0.25)

    loaded = load_model(dump_model(model))

    assert loaded.manifest == model.manifest
    assert loaded.manifest.threshold == 0.25
    np.testing.assert_array_equal(loaded.predict(NEW), model.predict(NEW))
    pd.testing.assert_frame_equal(loaded.encode(NEW), model.encode(NEW))
    few = NEW.iloc[:20]
    np.testing.assert_array_equal(attribute(loaded, few).values, attribute(model, few).values)


@every_case
def test_the_same_arguments_give_the_same_files_whatever_the_threads(name: str, problem: str) -> None:
    files = dump_model(_fit(name, problem, threads=1))

    assert files == dump_model(_fit(name, problem, threads=2))
    estimator = ALGORITHMS[name].file_name
    assert files[estimator] != dump_model(_fit(name, problem, **OTHER[name]))[estimator]


@pytest.mark.parametrize("problem", ["classification", "regression"])
@every_booster
def test_boosting_on_several_threads_gives_the_same_trees(name: str, problem: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2 * ROWS_PER_THREAD, 5)).astype(np.float32)
    x[:, 4] = rng.integers(0, 6, len(x))
    y = (x[:, 0] + (x[:, 4] == 2) + rng.normal(size=len(x))).astype(np.float32)
    if problem == "classification":
        y = (y > 0).astype(np.float32)
    learner = ALGORITHMS[name]
    codes = (4,) if learner.takes_categories else ()

    def dumped(threads: int) -> bytes:
        train = learner.matrix(x, y, threads, categories=codes)
        parameters = {"n_estimators": 5, "subsample": 0.7}
        return learner.dump(learner.fit(parameters, train, seed=1, threads=threads, problem_type=problem).estimator)

    assert dumped(1) == dumped(2)


_HASHES = """
import hashlib
from e2i_pipeline_tests.domain.test_algorithms import PARAMETERS, hash_of
print(*map(hash_of, sorted(PARAMETERS)))
"""


def hash_of(name: str) -> str:
    """SHA-256 of a fitted model's files."""
    return hashlib.sha256(repr(sorted(dump_model(_fit(name)).items())).encode()).hexdigest()


def test_another_process_gives_the_same_files() -> None:
    other = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _HASHES],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.split() == [hash_of(name) for name in sorted(PARAMETERS)]


@every_case
def test_one_row_scores_as_it_does_among_many(name: str, problem: str) -> None:
    model = _fit(name, problem)
    together = model.predict(NEW)

    for row in (0, 17, 999):
        np.testing.assert_allclose(model.predict(NEW.iloc[[row]]), together[[row]], rtol=1e-12)
    assert model.predict(NEW.iloc[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["xgboost", "logistic_regression"])
def test_the_encoded_frame_is_what_the_estimator_sees(name: str) -> None:
    model = _fit(name)

    encoded = model.encode(NEW)

    assert list(encoded.columns) == [column for column, _ in model.manifest.encoded_features]
    assert set(encoded.dtypes) == {np.dtype("float32")}
    if isinstance(model.estimator, xgboost.Booster):
        np.testing.assert_array_equal(model.estimator.predict(xgboost.DMatrix(encoded.to_numpy())), model.predict(NEW))
    else:
        assert isinstance(model.estimator, LogisticRegression)
        scores = model.estimator.predict_proba(encoded.to_numpy(dtype=float))[:, 1]
        np.testing.assert_array_equal(scores, model.predict(NEW))


def test_the_manifest_says_what_the_model_needs() -> None:
    manifest = _fit("xgboost").manifest

    assert manifest.features == FEATURES
    assert manifest.categories == {"region": ("<east>", "south", "west")}
    assert manifest.files == {"booster": "booster.ubj", "preprocessing": "preprocessing.skops"}
    assert manifest.parameters == PARAMETERS["xgboost"]
    assert manifest.threshold is None
    assert _fit("logistic_regression").manifest.files["estimator"] == "estimator.skops"


@every_booster
def test_early_stopping_keeps_the_best_rounds_and_says_how_many(name: str) -> None:
    given = {"training_key": "k", "brand": "b", "horizon_days": 180, "seed": 1, "threads": 1}
    parameters = {"n_estimators": 400, "learning_rate": 0.3}
    stopped = fit_model(
        name,
        parameters,
        TRAIN,
        OUTCOMES,
        FEATURES,
        **given,
        validation=(NEW, NEW_OUTCOMES),
        early_stopping_rounds=5,
    )

    rounds = stopped.manifest.parameters["n_estimators"]
    assert 0 < int(rounds or 0) < 100
    again = fit_model(name, stopped.manifest.parameters, TRAIN, OUTCOMES, FEATURES, **given)
    np.testing.assert_array_equal(again.predict(NEW), stopped.predict(NEW))


@every_booster
def test_threads_that_change_on_the_way_change_no_tree(name: str) -> None:
    learner, rng = ALGORITHMS[name], np.random.default_rng(3)
    x = rng.normal(size=(2 * ROWS_PER_THREAD, 3))
    y = (rng.random(len(x)) < 1 / (1 + np.exp(-x[:, 0]))).astype(np.int64)
    train, validation = learner.matrix(x, y, 1), learner.matrix(x[:500], y[:500], 1, is_train=False)

    def fitted(threads: list[int]) -> bytes:
        asked = iter(threads)
        settings: dict[str, Any] = {"seed": 3, "threads": 1, "on_step": lambda *_: next(asked, None)}
        return learner.dump(learner.fit({"n_estimators": 40}, train, validation, **settings).estimator)

    assert fitted([2, 1, 2]) == fitted([])


def test_a_fit_that_gains_less_than_chance_is_not_waited_for() -> None:
    crawling = Watch(is_maximized=True, patience=30)
    assert [crawling.is_enough(rounds, 0.7 + rounds * 1e-6) for rounds in (5, 20, 35)] == [False, False, True]
    assert crawling.best_rounds == 35  # what it did gain is kept

    gaining = Watch(is_maximized=False, patience=30)
    assert not any(gaining.is_enough(rounds, 10 - rounds * 1e-3) for rounds in range(5, 200, 5))
    assert gaining.is_enough(225, 9.9)
    assert gaining.best_rounds == 195


def test_an_elastic_net_is_possible() -> None:
    model = fit_model(
        "logistic_regression",
        {"C": 0.05, "l1_ratio": 1.0},
        TRAIN,
        OUTCOMES,
        FEATURES,
        training_key="k",
        brand="b",
        horizon_days=1,
        seed=2**40,
        threads=1,
    )
    assert (model.estimator.coef_ == 0).any()


def test_an_unknown_algorithm_and_parameter_name_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"no algorithm 'xgbost'\. Did you mean xgboost"):
        algorithm("xgbost")
    with pytest.raises(ConfigurationError, match=r"no parameter 'max_dept' to set\. Did you mean max_depth"):
        _fit("xgboost", max_dept=3)
    with pytest.raises(ConfigurationError, match="no parameter 'nthread'"):
        _fit("xgboost", nthread=3)


def test_an_algorithm_for_another_problem_and_a_parameter_of_one_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"ridge does not solve a classification .* lightgbm, logistic"):
        _fit("ridge", "classification")
    with pytest.raises(ConfigurationError, match=r"xgboost has no parameter 'scale_pos_weight' to set"):
        _fit("xgboost", "regression", scale_pos_weight=2.0)
    assert _fit("xgboost", scale_pos_weight=2.0).predict(NEW).mean() > _fit("xgboost").predict(NEW).mean()


def test_an_algorithm_without_its_library_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(ALGORITHMS["lightgbm"]), "module", "a_library_that_is_not_there")

    with pytest.raises(ConfigurationError, match=r'pip install "e2i-pipeline\[lightgbm\]"'):
        algorithm("lightgbm")


def test_rows_without_a_feature_are_refused() -> None:
    with pytest.raises(SourceError, match="severity, noise"):
        _fit("xgboost").predict(NEW.drop(columns=["severity", "noise"]))


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_incomplete_or_strange_files_are_refused(name: str) -> None:
    files = dump_model(_fit(name))
    estimator = ALGORITHMS[name].file_name

    for missing in files:
        with pytest.raises(ToolRejected, match=f"no file {missing}"):
            load_model({key: data for key, data in files.items() if key != missing})
    with pytest.raises(ToolRejected, match=f"{estimator} was not loaded"):
        load_model({**files, estimator: b"something else"})
    with pytest.raises(
        ToolRejected, match=r"model\.json was not understood: \d+ of its fields are wrong, the first at "
    ):
        load_model({**files, "model.json": b"{}"})


@pytest.mark.parametrize("name", BOOSTED)
def test_a_column_of_any_name_and_category_can_be_learned(name: str) -> None:
    feature = (FeatureSpec(name="odd", kind="categorical", view="v"),)
    frame = pd.DataFrame({"odd": ["[a]", "<b", "c]", "d"] * 50})

    model = fit_model(
        name,
        {"n_estimators": 3},
        frame,
        [1, 0, 0, 0] * 50,
        feature,
        training_key="k",
        brand="b",
        horizon_days=1,
        seed=0,
        threads=1,
    )

    loaded = load_model(dump_model(model))
    known, other, unseen, none = loaded.predict(pd.DataFrame({"odd": ["[a]", "d", "unseen", None]}))
    assert known > 0.3
    assert known > other
    assert unseen == none
