"""Calibration: against a fit by another program, and on data whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from e2i_pipeline.domain.calibration import calibration_bins, expected_calibration_error, highest_error, recalibrate


def _world(rows: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes whose true log-odds are intercept + slope * logit(p)."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.02, 0.98, rows)
    truth = 1 / (1 + np.exp(-(intercept + slope * np.log(p / (1 - p)))))
    return (rng.random(rows) < truth).astype(float), p


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7), (-0.5, 0.0)])
def test_recalibration_finds_the_line(slope: float, intercept: float) -> None:
    y, p = _world(40_000, slope, intercept)
    found = recalibrate(y, p)
    assert found.slope == pytest.approx(slope, abs=0.05)
    assert found.intercept == pytest.approx(intercept, abs=0.05)


def test_recalibration_agrees_with_an_unregularized_logistic_regression() -> None:
    y, p = _world(500, 0.8, 0.3, seed=4)
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(np.log(p / (1 - p))[:, None], y)
    found = recalibrate(y, p)
    assert found.slope == pytest.approx(other.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(other.intercept_[0], rel=1e-3)


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([1, 1, 1], [0.1, 0.5, 0.9]),
        ([0, 0, 0], [0.1, 0.5, 0.9]),
        ([0, 1, 0], [0.5, 0.5, 0.5]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),
        ([0, 1, 1], [0.2, 0.2, 0.7]),
    ],
)
def test_what_is_not_determined_is_nan(y: list[int], p: list[float]) -> None:
    assert all(map(math.isnan, recalibrate(np.array(y, float), np.array(p))))


def test_certain_predictions_have_log_odds_too() -> None:
    found = recalibrate(np.array([0, 1, 1, 0, 1.0]), np.array([0.0, 1.0, 0.3, 0.6, 0.9]))
    assert math.isfinite(found.slope)


def test_bins_are_of_equal_mass_and_in_order() -> None:
    y, p = _world(1000, 1, 0)
    bins = calibration_bins(y, p)
    assert len(bins.rows) == 10
    assert bins.rows.sum() == 1000
    assert np.abs(bins.rows - 100).max() <= 2
    assert (np.diff(bins.predicted) > 0).all()


def test_equal_predictions_share_a_bin() -> None:
    p = np.array([0.2] * 50 + [0.6] * 50)
    y = np.array([1] * 20 + [0] * 30 + [1] * 30 + [0] * 20, float)
    bins = calibration_bins(y, p)
    np.testing.assert_allclose(bins.predicted, [0.2, 0.6])
    np.testing.assert_allclose(bins.observed, [0.4, 0.6])
    assert expected_calibration_error(y, p) == pytest.approx(0.1)


def test_a_calibrated_model_has_a_small_error_and_a_shifted_one_its_shift() -> None:
    y, p = _world(50_000, 1, 0)
    assert expected_calibration_error(y, p) < 0.01
    assert expected_calibration_error(y, np.clip(p + 0.2, 0, 1)) == pytest.approx(0.19, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.2000001, 0.5, 1.0])), min_size=1, max_size=60))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[bool, float]]) -> None:
    y, p = (np.array(column, float) for column in zip(*rows, strict=True))
    error = expected_calibration_error(y, p)
    assert 0 <= error <= 1
    assert expected_calibration_error(y[::-1], p[::-1]) == pytest.approx(error, abs=1e-12)


def test_chance_adds_to_the_calibration_error_of_few_rows() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(2, 5, 500)
    shown = [expected_calibration_error((rng.random(500) < p).astype(float), p) for _ in range(300)]
    assert np.mean(np.array(shown) > highest_error(p, 0.0, seed=1)) == pytest.approx(0.05, abs=0.03)
    shifted = np.clip(p + 0.05, 0, 1)
    shown = [expected_calibration_error((rng.random(500) < shifted).astype(float), p) for _ in range(300)]
    assert np.mean(np.array(shown) > highest_error(p, 0.05, seed=1)) == pytest.approx(0.05, abs=0.03)
