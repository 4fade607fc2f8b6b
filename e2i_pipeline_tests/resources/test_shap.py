"""The resource refuses what cannot be explained, samples the same rows, and draws without a screen."""

from typing import Any

import numpy as np
import pytest

from e2i_pipeline.domain.algorithms import ScoringModel
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.shap import INTERACTION_ROWS, ShapResource
from e2i_pipeline_tests.serving.small_model import FEATURES, journeys, small_model

PNG = b"\x89PNG\r\n\x1a\n"


class Shifted:
    """A booster whose margins are not what its contributions say."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def predict(self, matrix: Any, **options: Any) -> np.ndarray:
        shift = 0.01 if options.get("output_margin") else 0.0
        return self._booster.predict(matrix, **options) + shift


def shifted() -> ScoringModel:
    model = small_model()
    return ScoringModel(model.manifest, model.encoder, Shifted(model.estimator))


@pytest.mark.parametrize("algorithm", ["xgboost", "logistic_regression"])
def test_rows_in_parts_get_the_same_values_as_together(algorithm: str) -> None:
    model, (frame, _) = small_model(algorithm), journeys(90, seed=4)
    whole = ShapResource().compute_shap_values(model, frame)
    parts = ShapResource(max_samples=20).compute_shap_values(model, frame)
    np.testing.assert_allclose(parts.values, whole.values)
    assert parts.base_value == pytest.approx(whole.base_value)


def test_values_that_do_not_sum_to_the_margin_are_refused_with_the_gap() -> None:
    frame, _ = journeys(20)
    with pytest.raises(ToolRejected, match=r"misses the margin \(log-odds\) by up to 0\.01"):
        ShapResource().compute_shap_values(shifted(), frame)
    assert len(ShapResource(check_additivity=False).compute_shap_values(shifted(), frame).values) == 20


def test_a_wrong_explainer_is_refused_with_the_right_one() -> None:
    frame, _ = journeys(20)
    with pytest.raises(ToolRejected, match="auto or linear"):
        ShapResource(explainer_type="tree").compute_shap_values(small_model("logistic_regression"), frame)
    with pytest.raises(ToolRejected, match="auto or tree"):
        ShapResource().compute_shap_values(small_model(), frame, algorithm="linear")
    with pytest.raises(ToolRejected, match="linear"):
        ShapResource().compute_interactions(small_model("logistic_regression"), frame)


def test_no_rows_are_refused() -> None:
    frame = journeys(5)[0].iloc[:0]
    with pytest.raises(ToolRejected, match="no rows"):
        ShapResource().compute_shap_values(small_model(), frame)
    with pytest.raises(ToolRejected, match="no rows"):
        ShapResource().compute_interactions(small_model(), frame)


def test_importance_sums_to_one() -> None:
    resource, (frame, _) = ShapResource(), journeys(60)
    shares = resource.compute_feature_importance(resource.compute_shap_values(small_model(), frame))
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == {feature.name for feature in FEATURES}


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order() -> None:
    resource, (frame, _) = ShapResource(max_samples=30), journeys(100)
    sample = resource.sample(frame, seed=5)
    assert len(sample) == 30
    assert sample.index.is_monotonic_increasing
    assert sample.equals(resource.sample(frame, seed=5))
    assert resource.sample(sample, seed=5) is sample


def test_interactions_take_a_small_sample_of_many_rows() -> None:
    frame, _ = journeys(INTERACTION_ROWS * 2)
    pairs = ShapResource().compute_interactions(small_model(), frame)
    assert pairs == ShapResource().compute_interactions(small_model(), frame)
    assert pairs[0].strength > 0


@pytest.mark.parametrize("algorithm", ["xgboost", "logistic_regression"])
def test_an_instance_sums_to_the_models_own_probability(algorithm: str) -> None:
    model, (frame, _) = small_model(algorithm), journeys(40, seed=4)
    told = ShapResource().explain_instance(model, frame, row=7)
    assert told.margin == pytest.approx(told.base_value + sum(told.contributions.values()))
    assert told.score == pytest.approx(float(model.predict(frame)[7]))
    assert 1 / (1 + np.exp(-told.margin)) == pytest.approx(told.score, abs=1e-5)
    together = ShapResource().compute_shap_values(model, frame)
    assert told.contributions == pytest.approx(dict(zip(together.feature_names, together.values[7], strict=True)))


def test_plots_are_small_pictures_the_same_each_time_and_leave_nothing_behind() -> None:
    from matplotlib import pyplot

    resource, (frame, _) = ShapResource(max_display=3), journeys(120, seed=4)
    found = resource.compute_shap_values(small_model(), frame)
    before = np.random.get_state()[1].copy()
    summary, bars = resource.summary_plot(found, frame), resource.bar_plot(found, frame)
    for picture in (summary, bars):
        assert picture.startswith(PNG)
        assert 5_000 < len(picture) < 250_000
    assert summary == resource.summary_plot(found, frame)
    assert pyplot.get_fignums() == []
    np.testing.assert_array_equal(np.random.get_state()[1], before)
