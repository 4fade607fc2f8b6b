"""Nuisance models: never on the row they judge, right on average, chance where chance assigned."""

import numpy as np
import pytest

from e2i_pipeline.domain.causal.design import EVALUATION, FIT, effect_data
from e2i_pipeline.domain.causal.nuisance import cross_fitted, nuisance_on, residual, splits_of
from e2i_pipeline_tests.domain.causal.journeys import SPEC, drawn, protocol, randomized, randomized_protocol


def test_no_group_is_on_both_sides_of_a_fold() -> None:
    data = effect_data(drawn("confounded", 900), protocol())
    judged = np.concatenate([judge for _, judge in splits_of(data, SPEC)])
    assert sorted(judged.tolist()) == list(range(len(data.outcome)))
    for learn, judge in splits_of(data, SPEC):
        assert not set(data.groups[learn]) & set(data.groups[judge])


def test_a_model_that_could_learn_its_rows_by_heart_explains_nothing_of_noise() -> None:
    data = effect_data(drawn("confounded", 900), protocol())
    noise = np.random.default_rng(1).normal(size=len(data.outcome))
    keen = SPEC._replace(parameters={"n_estimators": 200, "max_depth": 8, "min_child_weight": 1})
    assert np.corrcoef(residual(data, noise, keen, "continuous"), noise)[0, 1] > 0.6
    model = keen.model("continuous").fit(data.confounders, noise)
    assert np.corrcoef(noise - model.predict(data.confounders), noise)[0, 1] < 0.6


def test_what_is_expected_of_treatment_and_its_variance_is_right() -> None:
    frame = drawn("confounded", 6_000)
    data = effect_data(frame, protocol())
    found = cross_fitted(data, SPEC, "continuous", "binary", chance=False)
    truth = 1.2 + 0.35 * data.frame["disease_severity"] + 1.5 * data.frame["academic_hcp"]
    assert np.abs(found.treatment - truth).mean() < 0.2
    assert found.variance.mean() == pytest.approx(0.6**2 + 1.4**2, rel=0.1)
    assert found.untreated is None
    assert np.mean(data.outcome - found.outcome) == pytest.approx(0, abs=0.02)


def test_a_binary_treatment_has_arms_and_a_propensity() -> None:
    data = effect_data(randomized(3_000), randomized_protocol())
    learn, judged = data.in_fold(FIT), data.in_fold(EVALUATION)
    by_model = nuisance_on(learn, judged, SPEC, "binary", "binary", chance=False)
    by_chance = nuisance_on(learn, judged, SPEC, "binary", "binary", chance=True)
    assert by_chance.treatment == pytest.approx(np.full(len(judged.outcome), learn.treatment.mean()))
    assert by_model.treatment.std() > 0
    assert by_model.untreated is not None
    assert by_model.treated is not None
    assert np.mean(by_model.treated - by_model.untreated) == pytest.approx(0.15, abs=0.06)
