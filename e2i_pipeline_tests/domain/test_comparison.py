"""Candidate against champion: AUC by DeLong's test, a regression by its squared errors, patients counted once."""

import numpy as np
import pytest

from e2i_pipeline.domain.comparison import compare
from e2i_pipeline.domain.regression_metrics import r2


def regression(seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(10, 2, 400)
    y = truth + rng.normal(size=400)
    return y, truth + 0.5 * noise * rng.normal(size=400), truth + 0.5 * rng.normal(size=400)


def test_a_classification_is_compared_by_auc() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(1000) < 0.3).astype(float)
    better, worse = np.clip(0.3 * y + 0.5 * rng.random(1000), 0, 1), np.clip(0.1 * y + 0.6 * rng.random(1000), 0, 1)
    found = compare("classification", "7", y, better, worse, 0.95)
    assert found is not None
    assert (found.metric, found.champion, found.rows) == ("auc", "7", 1000)
    assert found.gain.low is not None
    assert found.gain.low > 0
    assert found.p_value < 0.001
    assert compare("classification", "7", np.ones(5), better[:5], worse[:5], 0.95) is None


def test_a_regression_is_compared_by_squared_errors() -> None:
    y, ours, theirs = regression(1, noise=0.2)
    found = compare("regression", "7", y, ours, theirs, 0.95)
    assert found is not None
    assert found.metric == "r2"
    assert found.gain.estimate == pytest.approx(r2(y, ours) - r2(y, theirs))
    assert found.p_value < 0.05
    significant = [compare("regression", "7", *regression(seed), 0.95) for seed in range(200)]
    assert np.mean([one.p_value < 0.05 for one in significant if one]) < 0.09
    assert compare("regression", "7", np.ones(4), np.arange(4.0), np.arange(4.0), 0.95) is None


def test_repeated_rows_of_a_patient_are_no_further_evidence() -> None:
    y, ours, theirs = regression(2, noise=0.9)
    once = compare("regression", "7", y, ours, theirs, 0.95)
    patients = np.tile(np.arange(400), 5)
    again = compare("regression", "7", np.tile(y, 5), np.tile(ours, 5), np.tile(theirs, 5), 0.95, patients)
    assert once is not None
    assert again is not None
    assert again.p_value == pytest.approx(once.p_value, rel=1e-6)
