"""A trial: its value is what the final model will reach on validation."""

import pytest

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.algorithms import fit_model
from e2i_pipeline.domain.learners import STEP
from e2i_pipeline.domain.tuning import Tuning
from e2i_pipeline.errors import CohortTooSmall, ConfigurationError, SourceError
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

TRAIN = modelling_rows(800, seed=1)
VALIDATION = modelling_rows(400, seed=2)


def _tuning(metric: str = "auc", seed: int = 3, features: tuple[FeatureSpec, ...] = FEATURES) -> Tuning:
    return Tuning(TRAIN, VALIDATION, features, metric=metric, seed=seed, threads=1, early_stopping_rounds=10)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("xgboost", {"n_estimators": 300, "max_depth": 3}), ("logistic_regression", {"C": 0.5})],
)
@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_a_fit_with_the_trial_s_parameters_reaches_the_trial_s_value(
    name: str, parameters: dict[str, float], metric: str
) -> None:
    tried = _tuning(metric).fit(name, parameters)

    model = fit_model(
        name, tried.parameters, *TRAIN, FEATURES, training_key="k", brand="b", horizon_days=1, seed=3, threads=2
    )

    judge = metrics.auc if metric == "auc" else metrics.log_loss
    assert judge(VALIDATION[1], model.predict(VALIDATION[0])) == tried.value
    if name == "xgboost":
        assert int(tried.parameters["n_estimators"] or 0) < 300


def test_an_incremental_fit_reports_on_the_way_and_can_be_ended() -> None:
    seen: list[tuple[int, float]] = []

    _tuning().fit("xgboost", {"n_estimators": 3 * STEP, "max_depth": 2}, lambda *report: seen.append(report))

    assert [step for step, _ in seen] == [STEP, 2 * STEP, 3 * STEP]
    assert all(0.5 < value < 1 for _, value in seen)

    def refuse(step: int, value: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        _tuning().fit("xgboost", {"n_estimators": 3 * STEP}, refuse)


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
