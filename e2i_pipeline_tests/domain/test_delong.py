"""The variance of an AUC and of a difference of two: against a published example, by simulation, and with clusters."""

import numpy as np
import pytest

from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.delong import auc_interval, compare_aucs


def pair(seed: int, n: int = 300, gap: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes and two scores that share most of their noise; the first is better by `gap` standard deviations."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(float)
    shared = rng.normal(size=n)
    scores = [y * (1 + more) + shared + 0.5 * rng.normal(size=n) for more in (gap, 0.0)]
    return y, *(1 / (1 + np.exp(-s)) for s in scores)


def test_the_error_by_hand() -> None:
    # positives 0.8, 0.6, 0.35; negatives 0.5, 0.3: shares 1, 1, 0.5 and 2/3, 1, so variance (1/12)/3 + (1/18)/2
    interval = auc_interval([1, 1, 1, 0, 0], [0.8, 0.6, 0.35, 0.5, 0.3])
    auc = 5 / 6
    assert interval.estimate == pytest.approx(auc)
    width = 1.959964 * np.sqrt(1 / 36 + 1 / 36) / (auc * (1 - auc))
    middle = np.log(auc / (1 - auc))
    assert interval.low == pytest.approx(1 / (1 + np.exp(-(middle - width))), rel=1e-5)
    assert interval.high == pytest.approx(1 / (1 + np.exp(-(middle + width))), rel=1e-5)


def test_equal_models_differ_at_the_stated_rate_and_the_interval_covers_the_difference() -> None:
    tests = [compare_aucs(*pair(seed)) for seed in range(300)]
    significant = np.mean([t.p_value < 0.05 for t in tests if t])
    covered = np.mean([t.gain.low <= 0 <= t.gain.high for t in tests if t and t.gain.low is not None and t.gain.high])
    assert 0.02 < significant < 0.085
    assert covered == pytest.approx(1 - significant, abs=0.01)


def test_a_better_model_is_seen() -> None:
    y, better, worse = pair(1, n=2000, gap=0.4)
    found = compare_aucs(y, better, worse)
    assert found is not None
    assert found.p_value < 1e-6
    assert found.gain.estimate == pytest.approx(metrics.auc(y, better) - metrics.auc(y, worse))


def test_scores_that_rank_alike_do_not_differ() -> None:
    y, score, _ = pair(2)
    found = compare_aucs(y, score, score**3)
    assert found is not None
    assert (found.gain.estimate, found.p_value) == (0.0, 1.0)
    assert compare_aucs(np.ones(5), score[:5], score[:5]) is None


def test_rows_of_one_patient_count_together() -> None:
    y, score, _ = pair(3)
    alone = auc_interval(y, score)
    as_clusters = auc_interval(y, score, clusters=np.arange(len(y)))
    assert as_clusters.low == pytest.approx(alone.low)
    repeated = auc_interval(np.tile(y, 3), np.tile(score, 3), clusters=np.tile(np.arange(len(y)), 3))
    assert repeated.low == pytest.approx(alone.low, abs=2e-3)


def test_a_perfect_ranking_of_few_rows_is_no_certainty() -> None:
    few, many = (
        auc_interval([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1]),
        auc_interval([1] * 40 + [0] * 40, [0.9] * 40 + [0.1] * 40),
    )
    assert few.low is not None
    assert many.low is not None
    assert few.low < 0.3 < 0.9 < many.low < 1.0
    assert auc_interval([1, 1], [0.9, 0.8]).estimate is None
