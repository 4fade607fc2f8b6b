"""A model judged on its test rows: every figure, curve and finding that needs nothing but rows, scores and rules.

What each figure is stands in its own module; reading the rows and storing what is found belong to the resources.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.evaluation import Finding, GroupDifference, Interval, SliceFloor
from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain import bootstrap, evaluation_gate, fairness, metrics, slices
from e2i_pipeline.domain.behaviour import Behaviour, behave
from e2i_pipeline.domain.calibration import calibration_bins, highest_error
from e2i_pipeline.domain.decision_curve import decision_curve

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Predict = Callable[[pd.DataFrame], np.ndarray]


class TestRows(NamedTuple):
    """The sealed rows, as one reading gives them.

    Attributes:
        features: Raw features, in order of the journey's key.
        outcome: Outcomes (rows,).
        beside: Further columns that slices and groups are made of.
        patients: Which patient each row is of (rows,), as numbers without a meaning; None where all differ.
    """

    __test__ = False

    features: "pd.DataFrame"
    outcome: "np.ndarray"
    beside: "pd.DataFrame"
    patients: "np.ndarray | None" = None


class Terms(NamedTuple):
    """What a judgement is made under.

    Attributes:
        scope: Success criteria and capacity.
        rules: All other rules.
        slice_floor: How far a slice's AUC may lie below the overall one; a regression's RMSE above it, as a share.
        seed: Seed of everything random.
    """

    scope: ExperimentScope
    rules: EvaluationRules
    slice_floor: float
    seed: int


class Judgement(NamedTuple):
    """What was found on the test rows.

    Attributes:
        metrics: As `metrics.evaluate` or `regression_metrics.evaluate_regression`.
        intervals: Metric to interval.
        curves: Curves for plotting, by name.
        slices: Column to metrics per value, as `metrics.Slices`.
        floors: Slices against their floors.
        fairness: Differences between groups.
        behaviour: Behavioural tests.
        findings: The gate's findings that rest on these rows alone.
        left_out: Parts that do not apply to the problem type, and columns that the rows do not have, in words.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    curves: dict[str, dict[str, list[float]]]
    slices: dict[str, dict[str, Any]]
    floors: tuple[SliceFloor, ...]
    fairness: tuple[GroupDifference, ...]
    behaviour: tuple[Behaviour, ...]
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...] = ()


def judge_classification(
    predict: "Predict",
    rows: TestRows,
    scores: "np.ndarray",
    uncalibrated: "np.ndarray",
    threshold: float,
    terms: Terms,
) -> Judgement:
    """Judges a classification.

    Args:
        predict: Raw features to probabilities (rows,), for the behavioural tests.
        rows: The test rows.
        scores: Their probabilities (rows,), 0..1.
        uncalibrated: The same before recalibration; equal where there is none.
        threshold: Score at or above which a row is flagged.
        terms: What it is held against.

    Raises:
        ValueError: As for `metrics.evaluate`, or one class is missing.
    """
    import numpy as np

    scope, rules, outcome = terms.scope, terms.rules, rows.outcome
    found = metrics.evaluate(outcome, scores, scope.capacity, threshold)
    resampling, confidence = rules.bootstrap, rules.bootstrap.confidence
    intervals = bootstrap.classification_intervals(
        outcome,
        scores,
        scope.capacity,
        threshold,
        seed=terms.seed,
        clusters=rows.patients,
        resamples=resampling.resamples,
        confidence=confidence,
    )
    curves = {**metrics.curves(outcome, scores), "decision": decision_curve(outcome, scores)}
    if not np.array_equal(scores, uncalibrated):
        curves["calibration_before"] = _calibration(outcome, uncalibrated)
    sliced = slices.groups(rows.beside, rules.slices.columns, rules.slices)
    tables = {
        name: metrics.evaluate_slices(
            outcome, scores, values, scope.capacity, threshold, rules.slices.minimum_rows
        )._asdict()
        for name, values in sliced.items()
    }
    floor = found["auc"] - terms.slice_floor
    floors = slices.auc_floors(outcome, scores, sliced, rules.slices, floor, confidence, rows.patients)
    protected = slices.groups(rows.beside, rules.fairness.columns, rules.slices)
    apart = fairness.differences(
        outcome, scores, protected, threshold, rules.fairness, rules.slices.minimum_rows, confidence
    )
    behaved = behave(predict, rows.features, rules.behaviour, terms.seed)
    worst = highest_error(scores, rules.calibration.maximum_ece, terms.seed)
    findings = (
        *evaluation_gate.criteria_findings(found, scope, rules),
        evaluation_gate.calibration_finding(intervals, found["ece"], worst, rules),
        evaluation_gate.slices_finding(floors, "AUC", rules),
        evaluation_gate.fairness_finding(apart, rules),
        evaluation_gate.behaviour_finding(behaved, rules),
    )
    absent = slices.absent((*rules.slices.columns, *rules.fairness.columns), {**sliced, **protected})
    return Judgement(found, intervals, curves, tables, floors, apart, behaved, findings, absent)


def _calibration(outcome: "np.ndarray", scores: "np.ndarray") -> dict[str, list[float]]:
    bins = calibration_bins(outcome, scores)
    return {"predicted": bins.predicted.tolist(), "observed": bins.observed.tolist()}
