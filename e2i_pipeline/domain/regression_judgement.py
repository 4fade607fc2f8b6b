"""A regression judged on its test rows. What only a probability has (threshold, lift, fairness) is left out and said.

Classification's counterpart is `judgement`.
"""

from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.evaluation import Interval
from e2i_pipeline.domain import bootstrap, evaluation_gate, slices
from e2i_pipeline.domain.behaviour import behave
from e2i_pipeline.domain.judgement import Judgement, Terms, TestRows
from e2i_pipeline.domain.regression_metrics import evaluate_regression

if TYPE_CHECKING:
    import numpy as np

    from e2i_pipeline.domain.judgement import Predict

LEFT_OUT = (
    "A regression has no ROC, precision-recall, lift and decision curve, no threshold and no flagged share.",
    "Probabilities are not recalibrated, and there is no expected calibration error: there are none.",
    "Fairness differences compare who is flagged, and nobody is; slices compare the error instead.",
)
"""What does not apply, in words."""

CURVE_BINS = 10
"""Groups of equal size in which predictions and residuals are shown: no row is shown by itself."""


def judge_regression(predict: "Predict", rows: TestRows, predicted: "np.ndarray", terms: Terms) -> Judgement:
    """Judges a regression.

    Args:
        predict: Raw features to predictions (rows,), for the behavioural tests.
        rows: The test rows.
        predicted: Their predictions (rows,), in the target's unit.
        terms: What it is held against.

    Raises:
        ValueError: As for `regression_metrics.evaluate_regression`.
    """
    rules, outcome = terms.rules, rows.outcome
    found = evaluate_regression(outcome, predicted)
    intervals = _intervals(rows, predicted, found, terms)
    sliced = slices.groups(rows.beside, rules.slices.columns, rules.slices)
    ceiling = found["rmse"] * (1 + terms.slice_floor)
    floors = slices.rmse_floors(
        outcome,
        predicted,
        sliced,
        rules.slices,
        ceiling,
        rules.bootstrap.confidence,
        rules.bootstrap.resamples,
        terms.seed,
        rows.patients,
    )
    behaved = behave(predict, rows.features, rules.behaviour, terms.seed)
    findings = (
        *evaluation_gate.criteria_findings(found, terms.scope, rules),
        evaluation_gate.calibration_finding(intervals, None, 0.0, rules, is_probability=False),
        evaluation_gate.slices_finding(floors, "RMSE", rules),
        evaluation_gate.behaviour_finding(behaved, rules),
    )
    tables = {name: _table(outcome, predicted, values, rules.slices.minimum_rows) for name, values in sliced.items()}
    curves = {"residuals": _residuals(outcome, predicted)}
    left_out = (*LEFT_OUT, *slices.absent(rules.slices.columns, sliced))
    return Judgement(found, intervals, curves, tables, floors, (), behaved, findings, left_out)


def _intervals(rows: TestRows, predicted: "np.ndarray", found: dict[str, float], terms: Terms) -> dict[str, Interval]:
    """RMSE and MAE by resampling patients; the calibration slope by least squares with patients as clusters."""
    import numpy as np

    options: dict[str, Any] = {
        "seed": terms.seed,
        "clusters": rows.patients,
        "resamples": terms.rules.bootstrap.resamples,
        "confidence": terms.rules.bootstrap.confidence,
    }
    squared = bootstrap.mean_interval((predicted - rows.outcome) ** 2, **options)
    mae = bootstrap.mean_interval(np.abs(predicted - rows.outcome), **options)
    rmse = Interval(estimate=found["rmse"], low=_root(squared.low), high=_root(squared.high))
    slope = bootstrap.slope_interval(rows.outcome, predicted, **options)
    return {"rmse": rmse, "mae": mae, "calibration_slope": slope}


def _table(outcome: "np.ndarray", predicted: "np.ndarray", values: "np.ndarray", minimum_rows: int) -> dict[str, Any]:
    """Metrics per slice, as `metrics.Slices`."""
    import numpy as np

    names, rows = np.unique(values, return_counts=True)
    largest_first = sorted(zip(names, rows, strict=True), key=lambda s: (-s[1], s[0]))
    large = [name for name, n in largest_first if n >= minimum_rows]
    small = [int(n) for n in rows if n < minimum_rows]
    hidden = sum(small)
    return {
        "metrics": {str(n): evaluate_regression(outcome[values == n], predicted[values == n]) for n in large},
        "suppressed": len(small),
        "suppressed_rows": hidden if not small or hidden >= minimum_rows else None,
    }


def _residuals(outcome: "np.ndarray", predicted: "np.ndarray") -> dict[str, list[float]]:
    """Per group of about equal size by rising prediction: its mean, the mean outcome, and the spread of residuals."""
    import numpy as np

    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, min(CURVE_BINS, len(order))) if len(part)]
    return {
        "predicted": [float(predicted[part].mean()) for part in parts],
        "observed": [float(outcome[part].mean()) for part in parts],
        "low": [float(np.quantile(outcome[part] - predicted[part], 0.1)) for part in parts],
        "high": [float(np.quantile(outcome[part] - predicted[part], 0.9)) for part in parts],
        "rows": [float(len(part)) for part in parts],
    }


def _root(value: float | None) -> float | None:
    return None if value is None else max(value, 0.0) ** 0.5
