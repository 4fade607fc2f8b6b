"""Intervals by resampling: they are those of a plain loop over resampled rows, and hold patients together."""

import numpy as np
import pytest

from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.bootstrap import classification_intervals, mean_interval

CAPACITY = 0.1


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 4, n).round(3)
    return (rng.random(n) < p).astype(float), p


def test_the_intervals_are_those_of_a_plain_loop_over_resampled_rows() -> None:
    y, p = rows(400, 1)
    found = classification_intervals(y, p, CAPACITY, 0.4, seed=5, resamples=1000)
    rng = np.random.default_rng(6)
    up, down = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    drawn = []
    for _ in range(400):
        chosen = np.concatenate([rng.choice(up, len(up)), rng.choice(down, len(down))])
        drawn.append(metrics.evaluate(y[chosen], p[chosen], CAPACITY, 0.4))
    whole = metrics.evaluate(y, p, CAPACITY, 0.4)
    for name, interval in found.items():
        values = np.array([one[name] for one in drawn])
        assert interval.estimate == pytest.approx(whole[name], rel=1e-6), name
        assert interval.low is not None
        assert interval.high is not None
        spread = values.std()
        assert abs(interval.low - np.quantile(values, 0.025)) < 0.5 * spread, name
        assert abs(interval.high - np.quantile(values, 0.975)) < 0.5 * spread, name


def test_the_same_seed_gives_the_same_interval_and_another_seed_almost() -> None:
    y, p = rows(300, 2)
    first = classification_intervals(y, p, CAPACITY, 0.4, seed=1)
    assert first == classification_intervals(y, p, CAPACITY, 0.4, seed=1)
    assert first != classification_intervals(y, p, CAPACITY, 0.4, seed=2)


def test_rows_that_stand_twice_for_one_patient_do_not_narrow_the_interval() -> None:
    y, p = rows(200, 3)
    once = classification_intervals(y, p, CAPACITY, 0.4, seed=1, resamples=600)["auc"]
    y4, p4, patient = np.tile(y, 4), np.tile(p, 4), np.tile(np.arange(200), 4)
    clustered = classification_intervals(y4, p4, CAPACITY, 0.4, seed=1, resamples=600, clusters=patient)["auc"]
    careless = classification_intervals(y4, p4, CAPACITY, 0.4, seed=1, resamples=600)["auc"]
    width = [i.high - i.low for i in (once, clustered, careless) if i.high is not None and i.low is not None]
    assert width[1] == pytest.approx(width[0], rel=0.15)
    assert width[2] < 0.6 * width[0]


def test_one_class_has_no_intervals_and_a_mean_has_one_around_it() -> None:
    assert classification_intervals(np.ones(20), np.full(20, 0.5), CAPACITY, 0.4, seed=1) == {}
    values = np.random.default_rng(4).normal(3, 1, 500)
    found = mean_interval(values, seed=1, clusters=None, resamples=500, confidence=0.95)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(500), rel=0.15)
    assert found.low < values.mean() < found.high
