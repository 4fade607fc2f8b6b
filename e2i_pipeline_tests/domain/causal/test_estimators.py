"""The estimators: right on processes whose truth is known, and exported as they are."""

import numpy as np
import pytest

from e2i_pipeline.domain.causal.design import FIT, VALIDATION, EffectData, effect_data
from e2i_pipeline.domain.causal.estimators import ForestSpec, average_effect, fit_effects, r_scores
from e2i_pipeline.domain.causal.linear_effect import LinearEffect
from e2i_pipeline.domain.synthetic_truth import brand_truth
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline_tests.domain.causal.journeys import SPEC, drawn, protocol, randomized, randomized_protocol

FOREST = ForestSpec(trees=40, maximum_rows=1_500, threads=1)


@pytest.fixture(scope="module")
def heterogeneous() -> EffectData:
    return effect_data(drawn("heterogeneous", 6_000), protocol())


def test_the_average_effect_is_the_processes(heterogeneous: EffectData) -> None:
    found = average_effect(heterogeneous, protocol(), SPEC)
    truth = brand_truth("Kisqali", "heterogeneous", 0.0)["partially_linear"]
    error = (found.high - found.low) / 3.92
    assert abs(found.value - truth) < 4 * error
    assert error < 0.004
    assert found.rows == 6_000


def test_the_exported_line_gives_econmls_effects_and_intervals(heterogeneous: EffectData) -> None:
    [fitted] = fit_effects(heterogeneous.in_fold(FIT), protocol(), ["linear_dml"], SPEC, FOREST)
    held_out = heterogeneous.in_fold(VALIDATION)
    theirs = fitted.estimator.effect_inference(held_out.modifiers)
    ours = fitted.effects(held_out)
    assert ours.value == pytest.approx(theirs.point_estimate.ravel())
    low, high = theirs.conf_int(alpha=0.05)
    assert ours.low == pytest.approx(low.ravel())
    assert ours.high == pytest.approx(high.ravel())
    assert fitted.linear is not None
    assert LinearEffect.model_validate_json(fitted.linear.model_dump_json()) == fitted.linear


def test_the_line_fits_held_out_rows_better_than_one_effect_for_all(heterogeneous: EffectData) -> None:
    fitted = fit_effects(heterogeneous.in_fold(FIT), protocol(), ["linear_dml", "causal_forest"], SPEC, FOREST)
    scores = r_scores(fitted, heterogeneous.in_fold(VALIDATION), protocol(), SPEC)
    assert set(scores) == {"linear_dml", "causal_forest"}
    assert scores["linear_dml"] > 0
    forest = fitted[1].effects(heterogeneous.in_fold(VALIDATION))
    assert fitted[1].linear is None
    assert (forest.low <= forest.value).all()
    assert (forest.value <= forest.high).all()


def test_without_modifiers_there_is_one_number_and_no_forest() -> None:
    plain = protocol(modifiers=(), segments=())
    data = effect_data(drawn("confounded", 2_000), plain)
    fitted = fit_effects(data, plain, ["linear_dml", "causal_forest"], SPEC, FOREST)
    assert [one.name for one in fitted] == ["linear_dml"]
    assert np.ptp(fitted[0].effects(data).value) == 0
    assert r_scores(fitted, data, plain, SPEC) == {"linear_dml": 0.0}


def test_on_randomized_data_the_effect_is_the_difference_in_means() -> None:
    trial = randomized_protocol()
    data = effect_data(randomized(4_000), trial)
    fitted = fit_effects(data, trial, ["linear_dml", "dr_learner"], SPEC, FOREST)
    difference = data.outcome[data.treatment == 1].mean() - data.outcome[data.treatment == 0].mean()
    average = average_effect(data, trial, SPEC)
    assert average.low < difference < average.high
    for one in fitted:
        assert one.effects(data).value.mean() == pytest.approx(difference, abs=0.02)


def test_a_dr_learner_of_a_dose_is_refused() -> None:
    data = effect_data(drawn("confounded", 900), protocol())
    with pytest.raises(ConfigurationError, match="dr_learner needs a binary treatment"):
        fit_effects(data, protocol(), ["dr_learner"], SPEC, FOREST)


def test_a_line_says_where_it_has_support() -> None:
    line = LinearEffect(names=("x",), coefficients=(1.0, 2.0), covariance=((0.04, 0), (0, 0.01)), low=(0,), high=(3,))
    value, low, high = line.effect(np.array([[0.0], [2.0]]))
    assert value.tolist() == [1.0, 5.0]
    assert high - value == pytest.approx(1.959964 * np.sqrt([0.04, 0.04 + 4 * 0.01]))
    assert value - low == pytest.approx(high - value)
    assert line.is_supported(np.array([[0.0], [3.1]])).tolist() == [True, False]
