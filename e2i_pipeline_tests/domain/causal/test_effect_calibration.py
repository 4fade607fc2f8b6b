"""Calibration of effects: against EconML's tester, and on effects whose answer is known."""

from typing import Any

import numpy as np
import pytest
from econml.validate.drtester import DRTester

from e2i_pipeline.domain.causal.effect_calibration import best_linear_predictor, calibrate_effects


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predicted effects, and scores around them."""
    rng = np.random.default_rng(seed)
    predicted = rng.normal(1, 0.5, rows)
    return predicted, predicted + rng.normal(0, 1, rows)


def econml_with(predicted: np.ndarray, scores: np.ndarray, reference: np.ndarray) -> Any:
    """EconML's tester with the nuisance part done."""
    made: Any = DRTester(model_regression=None, model_propensity=None, cate=None)
    made.dr_val_, made.dr_train_, made.ate_val = scores[:, None], scores[:, None], np.array([scores.mean()])
    made.cate_preds_val_, made.cate_preds_train_ = predicted[:, None], reference[:, None]
    made.n_treat, made.treatments, made.fit_on_train = 1, [0, 1], True
    return made


def test_groups_and_score_equal_econmls() -> None:
    predicted, scores = drawn(3_000)
    reference = np.append(drawn(3_000, seed=1)[0], [predicted.min() - 1, predicted.max() + 1])  # theirs drops outsiders
    theirs = econml_with(predicted, scores, reference).evaluate_cal(n_groups=4)
    ours = calibrate_effects(scores, predicted, reference)
    frame = theirs.plot_data_dict[1]
    assert [g.predicted for g in ours.groups] == pytest.approx(frame["g_cate"].tolist())
    assert [g.found.value for g in ours.groups] == pytest.approx(frame["gate"].tolist())
    assert [g.found.standard_error for g in ours.groups] == pytest.approx(frame["se_gate"].tolist(), rel=1e-3)
    assert ours.r_squared == pytest.approx(theirs.cal_r_squared[0])


def test_the_slope_equals_econmls() -> None:
    predicted, scores = drawn(3_000)
    theirs = econml_with(predicted, scores, predicted).evaluate_blp()
    ours = best_linear_predictor(scores, predicted)
    assert ours is not None
    assert ours.value == pytest.approx(theirs.params[0])
    assert ours.standard_error == pytest.approx(theirs.errs[0], rel=0.05)  # theirs takes variances to be equal


def test_effects_twice_too_spread_have_half_a_slope_and_a_poor_score() -> None:
    predicted, scores = drawn(20_000)
    spread = 1 + 2 * (predicted - 1)
    slope = best_linear_predictor(scores, spread)
    assert slope is not None
    assert slope.low < 0.5 < slope.high
    assert calibrate_effects(scores, predicted, predicted).r_squared > 0.9
    assert calibrate_effects(scores, spread, spread).r_squared < 0.5


def test_one_effect_for_everybody_has_no_slope_and_one_group() -> None:
    _, scores = drawn(200)
    same = np.full(200, 0.3)
    assert best_linear_predictor(scores, same) is None
    [group] = calibrate_effects(scores, same, same).groups
    assert (group.share, group.predicted) == (1.0, pytest.approx(0.3))
    assert np.isnan(calibrate_effects(scores, same, same).r_squared)
