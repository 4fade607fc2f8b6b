"""Metrics of predicted numbers against scikit-learn's and against what they mean."""

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from e2i_pipeline.domain.regression_metrics import evaluate_regression, r2


def test_metrics_are_those_of_scikit_learn_and_do_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(50, 12, 500)
    p = 0.6 * y + rng.normal(15, 4, 500)
    found = evaluate_regression(y, p)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(y, p))
    assert found["mae"] == pytest.approx(mean_absolute_error(y, p))
    assert found["r2"] == pytest.approx(r2_score(y, p))
    slope, intercept = np.polyfit(p, y, 1)
    assert (found["calibration_slope"], found["calibration_intercept"]) == pytest.approx((slope, intercept))
    order = rng.permutation(500)
    assert evaluate_regression(y[order], p[order]) == pytest.approx(found)


def test_what_is_not_defined_is_nan() -> None:
    assert math.isnan(r2(np.ones(4), np.arange(4.0)))
    assert math.isnan(evaluate_regression(np.arange(4.0), np.ones(4))["calibration_slope"])


@pytest.mark.parametrize(("y", "p"), [([], []), ([1.0], [1.0, 2.0]), ([1.0, math.nan], [1.0, 1.0])])
def test_rows_that_cannot_be_judged_are_refused(y: list[float], p: list[float]) -> None:
    with pytest.raises(ValueError, match="rows"):
        evaluate_regression(y, p)
