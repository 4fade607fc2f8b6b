"""Metrics: against scikit-learn, by hand where capacity is concerned, and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from e2i_pipeline.domain import metrics

outcomes_and_scores = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=2, max_size=80
)


def _world(rows: int = 2000, seed: int = 0, digits: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 5, rows).round(digits)
    return (rng.random(rows) < p).astype(int), p


@settings(max_examples=150, deadline=None)
@given(outcomes_and_scores)
def test_auc_average_precision_and_losses_agree_with_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    y, p = (np.array(column, float) for column in zip(*rows, strict=True))
    assume(0 < y.sum() < len(y))
    assert metrics.auc(y, p) == pytest.approx(sklearn_metrics.roc_auc_score(y, p), abs=1e-12)
    assert metrics.average_precision(y, p) == pytest.approx(sklearn_metrics.average_precision_score(y, p), abs=1e-12)
    found = metrics.evaluate(y, p, 0.1)
    assert found["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(y, p), abs=1e-12)
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(y, clipped), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(outcomes_and_scores, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[bool, float]], random: st.DataObject) -> None:
    y, p = (np.array(column, float) for column in zip(*rows, strict=True))
    order = list(range(len(y)))
    random.shuffle(order)
    first, second = metrics.evaluate(y, p, 0.3), metrics.evaluate(y[order], p[order], 0.3)
    for name in set(first) - {"calibration_slope", "calibration_intercept"}:
        assert second[name] == pytest.approx(first[name], abs=1e-9, nan_ok=True), name


def test_the_top_share_by_hand() -> None:
    y = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0])
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])

    found = metrics.evaluate(y, p, capacity=0.3)

    assert found["threshold"] == 0.7
    assert found["precision_at_k"] == pytest.approx(2 / 3)
    assert found["lift_at_k"] == pytest.approx(2 / 3 / 0.3)
    assert found["recall_at_k"] == pytest.approx(2 / 3)
    assert found["fpr"] == pytest.approx(1 / 7)
    assert found["flagged"] == pytest.approx(0.3)
    assert (found["rows"], found["positives"], found["base_rate"]) == (10, 3, 0.3)


def test_ties_at_the_cut_count_by_their_share() -> None:
    y = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    p = np.full(10, 0.4)

    found = metrics.evaluate(y, p, capacity=0.2)

    assert found["precision_at_k"] == pytest.approx(0.1)
    assert found["lift_at_k"] == pytest.approx(1.0)
    assert found["fpr"] == 1.0
    assert found["auc"] == 0.5


def test_the_share_is_rounded_down_but_one_row_is_always_on_top() -> None:
    p = np.linspace(0, 1, 29)
    assert metrics.threshold_for(p, 0.1) == p[-2]
    assert metrics.threshold_for(p[:5], 0.1) == p[4]
    assert metrics.threshold_for(np.linspace(0, 1, 30), 0.1) == np.linspace(0, 1, 30)[-3]


def test_a_given_threshold_decides_who_is_flagged() -> None:
    y, p = _world()
    found = metrics.evaluate(y, p, 0.1, threshold=0.5)
    assert found["threshold"] == 0.5
    assert found["flagged"] == pytest.approx(np.mean(p >= 0.5))
    assert found["fpr"] == pytest.approx(np.mean(p[y == 0] >= 0.5))


@pytest.mark.parametrize(("outcome", "undefined"), [(0, {"pr_auc", "lift_at_k", "recall_at_k"}), (1, {"fpr"})])
def test_with_one_class_only_what_is_undefined_is_nan(outcome: int, undefined: set[str]) -> None:
    found = metrics.evaluate(np.full(20, outcome), np.linspace(0.1, 0.9, 20), 0.1)
    nan = {name for name, value in found.items() if math.isnan(value)}
    assert nan == undefined | {"auc", "calibration_slope", "calibration_intercept"}


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([], [], "two arrays"),
        ([0, 1], [0.5], "two arrays"),
        ([0, 2], [0.5, 0.5], "1 of 2 outcomes are neither 0 nor 1"),
        ([0, math.nan], [0.5, 0.5], "1 of 2 outcomes"),
        ([0, 1], [0.5, 1.5], "1 of 2 scores are no probabilities"),
        ([0, 1], [math.nan, -1], "2 of 2 scores"),
    ],
)
def test_what_are_no_outcomes_or_probabilities_is_refused(y: list[float], p: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(y, p, 0.1)


@pytest.mark.parametrize("capacity", [0, 1, -0.1, 2])
def test_a_capacity_is_a_share(capacity: float) -> None:
    with pytest.raises(ValueError, match="capacity must lie between 0 and 1"):
        metrics.threshold_for([0.1, 0.2], capacity)


def test_slices_are_measured_and_small_ones_suppressed() -> None:
    y, p = _world(1000)
    sizes = {"south": 450, "west": 300, "north": 235, "guam": 10, None: 5}
    values = np.array([name for name, rows in sizes.items() for _ in range(rows)], dtype=object)

    found = metrics.evaluate_slices(y, p, values, capacity=0.1, threshold=0.4)

    assert list(found.metrics) == ["south", "west", "north"]
    assert found.metrics["west"] == metrics.evaluate(y[450:750], p[450:750], 0.1, 0.4)
    assert (found.suppressed, found.suppressed_rows) == (2, 15)


@pytest.mark.parametrize("is_turned", [False, True])
def test_what_would_count_fewer_outcomes_or_fewer_without_one_than_the_cell_is_left_out(is_turned: bool) -> None:
    y = np.concatenate([np.arange(rows) < hits for rows, hits in ((400, 200), (300, 120), (100, 10))]).astype(float)
    y = 1 - y if is_turned else y
    p = np.random.default_rng(1).random(800)
    values = np.repeat(["large", "middle", "small"], [400, 300, 100])

    found = metrics.evaluate_slices(y, p, values, 0.1, 0.9)

    whole = metrics.evaluate(y[700:], p[700:], 0.1, 0.9)
    assert {name for name, value in found.metrics["small"].items() if math.isnan(value)} == set(metrics.COUNTED)
    assert {n: v for n, v in found.metrics["small"].items() if n not in metrics.COUNTED} == {
        name: value for name, value in whole.items() if name not in metrics.COUNTED
    }
    assert math.isnan(found.metrics["middle"]["positives"]), "else the small one's were the total less the others"
    assert found.metrics["large"] == metrics.evaluate(y[:400], p[:400], 0.1, 0.9)


def test_the_rows_of_a_single_small_slice_are_not_told() -> None:
    y, p = _world(60)
    found = metrics.evaluate_slices(y, p, ["a"] * 55 + ["b"] * 5, 0.1, 0.4)
    assert (found.suppressed, found.suppressed_rows) == (1, None)
    assert metrics.evaluate_slices(y, p, [None] * 60, 0.1, 0.4).metrics.keys() == {"missing"}
    assert metrics.evaluate_slices(y, p, [1] * 60, 0.1, 0.4).suppressed_rows == 0
    with pytest.raises(ValueError, match="59 slice values for 60 rows"):
        metrics.evaluate_slices(y, p, ["a"] * 59, 0.1, 0.4)


def test_curves_are_short_and_those_of_scikit_learn() -> None:
    y, p = _world(5000, digits=9)

    found = metrics.curves(y, p)

    for curve in found.values():
        assert len({len(values) for values in curve.values()}) == 1
        assert len(next(iter(curve.values()))) <= metrics.CURVE_POINTS
    roc = found["roc"]
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)
    assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(metrics.auc(y, p), abs=2e-3)
    fpr, tpr, _ = sklearn_metrics.roc_curve(y, p, drop_intermediate=False)
    points = set(zip(fpr.round(9), tpr.round(9), strict=True))
    assert set(zip(np.round(roc["fpr"], 9), np.round(roc["tpr"], 9), strict=True)) <= points
    assert found["pr"]["precision"][-1] == pytest.approx(y.mean())
    assert found["lift"]["lift"][-1] == pytest.approx(1)
    assert sum(found["calibration"]["rows"]) == 5000


def test_curves_need_both_classes() -> None:
    with pytest.raises(ValueError, match="0 positives in 3 rows"):
        metrics.curves([0, 0, 0], [0.1, 0.2, 0.3])
