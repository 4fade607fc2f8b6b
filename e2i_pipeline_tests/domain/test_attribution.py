"""Attributions are additive, belong to raw features, and equal the shap package's own numbers."""

from typing import Any

import numpy as np
import pytest
import shap

from e2i_pipeline.contracts.model_files import Recalibrator
from e2i_pipeline.domain import attribution
from e2i_pipeline.domain.attribution import Attribution
from e2i_pipeline.domain.learners.catboost import _rows
from e2i_pipeline_tests.serving.small_model import FEATURES, PARAMETERS, journeys, small_model

NAMES = tuple(feature.name for feature in FEATURES)
EVERY = pytest.mark.parametrize("algorithm", sorted(PARAMETERS))
TREES = pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm", "catboost", "random_forest"])


@EVERY
def test_a_rows_values_sum_to_its_margin_and_to_its_probability(algorithm: str) -> None:
    model, (frame, _) = small_model(algorithm), journeys(seed=9)
    found = attribution.attribute(model, frame)
    margin = found.values.sum(axis=1) + found.base_value
    if algorithm == "random_forest":
        assert found.unit == "probability"
        margin = np.log(margin / (1 - margin))
    else:
        assert found.unit == "log-odds"
    assert found.values.shape == (len(frame), len(FEATURES))
    assert found.feature_names == NAMES
    assert attribution.largest_gap(found, attribution.margins(model, frame)) < 1e-4
    np.testing.assert_allclose(1 / (1 + np.exp(-margin)), model.predict(frame), atol=1e-5)


@TREES
def test_the_values_of_trees_are_those_of_the_tree_explainer(algorithm: str) -> None:
    model, (frame, _) = small_model(algorithm), journeys(50, seed=9)
    encoded: Any = model.encode(frame).to_numpy()
    if algorithm == "catboost":
        encoded = _rows(model.estimator, encoded)
    theirs = shap.TreeExplainer(model.estimator).shap_values(encoded)
    if theirs.ndim == 3:  # of a forest, per class
        theirs = theirs[:, :, 1]
    origins = [origin for _, origin in model.manifest.encoded_features]
    ours = attribution.attribute(model, frame).values
    np.testing.assert_allclose(ours, attribution.sum_by_origin(theirs, origins, NAMES), atol=1e-5)


def test_a_linear_models_values_are_those_of_the_linear_explainer() -> None:
    model, (frame, _) = small_model("logistic_regression"), journeys(80, seed=9)
    encoded = model.encode(frame).to_numpy(np.float64)
    explainer = shap.LinearExplainer((model.estimator.coef_[0], model.estimator.intercept_[0]), encoded)
    origins = [origin for _, origin in model.manifest.encoded_features]
    found = attribution.attribute(model, frame)
    theirs = attribution.sum_by_origin(explainer.shap_values(encoded), origins, NAMES)
    np.testing.assert_allclose(found.values, theirs, atol=1e-9)
    assert found.base_value == pytest.approx(float(explainer.expected_value))


def test_one_row_of_a_linear_model_keeps_its_values_when_the_reference_is_given() -> None:
    model, (frame, _) = small_model("logistic_regression"), journeys(80, seed=9)
    reference = attribution.reference_point(model, frame)
    alone = attribution.attribute(model, frame.iloc[[5]], reference)
    np.testing.assert_allclose(alone.values[0], attribution.attribute(model, frame).values[5])


def test_columns_are_summed_to_the_feature_they_come_from() -> None:
    values = np.array([[1.0, 2.0, 4.0]])
    assert attribution.sum_by_origin(values, ["b", "a", "b"], ["a", "b", "c"]).tolist() == [[2.0, 5.0, 0.0]]


def test_a_column_of_an_unknown_feature_is_refused_rather_than_lost() -> None:
    with pytest.raises(ValueError, match="z"):
        attribution.sum_by_origin(np.ones((1, 2)), ["a", "z"], ["a"])


def test_importance_is_shares_that_sum_to_one_largest_first() -> None:
    frame, _ = journeys(seed=9)
    shares = attribution.importance(attribution.attribute(small_model(), frame))
    assert sum(shares.values()) == pytest.approx(1.0)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert next(iter(shares)) == "disease_severity"


def test_a_constant_model_shares_out_nothing() -> None:
    constant = Attribution(np.zeros((3, 2)), 0.4, ("a", "b"), "none")
    assert attribution.importance(constant) == {"a": 0.0, "b": 0.0}


@pytest.mark.parametrize("algorithm", ["xgboost", "catboost", "random_forest"])
def test_the_interactions_of_a_row_sum_to_its_values(algorithm: str) -> None:
    model, (frame, _) = small_model(algorithm), journeys(20, seed=9)
    encoded = model.encode(frame).to_numpy()
    found = model.algorithm.interactions(model.estimator, encoded)
    values, _ = model.algorithm.contributions(model.estimator, encoded, encoded.mean(axis=0))
    np.testing.assert_allclose(found.sum(axis=2), values, atol=1e-5)


def test_a_library_without_interactions_says_so() -> None:
    with pytest.raises(ValueError, match="lightgbm does not tell how features interact"):
        attribution.interactions(small_model("lightgbm"), journeys(5)[0])


def test_interactions_name_each_pair_once_and_add_both_directions() -> None:
    model, (frame, _) = small_model(), journeys(40, seed=9)
    pairs = attribution.interactions(model, frame)
    assert len(pairs) == len(FEATURES) * (len(FEATURES) - 1) // 2
    assert [p.strength for p in pairs] == sorted((p.strength for p in pairs), reverse=True)
    numbers = [i for i, (_, o) in enumerate(model.manifest.encoded_features) if o != "geographic_region"]
    assert len(numbers) == 3
    raw = shap.TreeExplainer(model.estimator).shap_interaction_values(model.encode(frame).to_numpy())
    first, second = numbers[0], numbers[2]
    expected = np.abs(raw[:, first, second] + raw[:, second, first]).mean()
    strength = {frozenset(p[:2]): p.strength for p in pairs}
    assert strength[frozenset({"disease_severity", "days_since_diagnosis"})] == pytest.approx(expected, abs=1e-5)


def test_a_linear_model_has_no_interactions() -> None:
    with pytest.raises(ValueError, match="linear"):
        attribution.interactions(small_model("logistic_regression"), journeys(5)[0])


def test_an_instance_is_explained_by_its_largest_contributions_first() -> None:
    found = Attribution(np.array([[0.1, -2.0], [1.0, 0.5]]), -1.0, ("a", "b"), "made up")
    told = attribution.explanation_of(found, 0, 0.05)
    assert list(told.contributions) == ["b", "a"]
    assert told.margin == pytest.approx(-2.9)
    assert (told.base_value, told.score) == (-1.0, 0.05)


def test_parts_of_one_attribution_are_put_together() -> None:
    model, (frame, _) = small_model(), journeys(30, seed=9)
    whole = attribution.attribute(model, frame)
    parts = [attribution.attribute(model, frame.iloc[a:b]) for a, b in ((0, 13), (13, 30))]
    np.testing.assert_array_equal(attribution.stacked(parts).values, whole.values)


@EVERY
def test_values_of_a_recalibrated_model_are_of_its_margin_before_and_say_so(algorithm: str) -> None:
    own, (frame, _) = small_model(algorithm), journeys(seed=9)
    model = own.with_recalibration(Recalibrator(method="platt", slope=0.5, intercept=-1.0))
    plain, recalibrated = attribution.attribute(own, frame), attribution.attribute(model, frame)
    np.testing.assert_array_equal(recalibrated.values, plain.values)
    assert recalibrated.method == f"{plain.method}; of the margin before platt recalibration"
    assert np.abs(model.predict(frame) - own.predict(frame)).max() > 0.1
