"""What people see of an evaluation in the Dagster UI, from its contract alone."""

from typing import Any

import dagster as dg

from e2i_pipeline.contracts.evaluation import EvaluationRef, Finding, GroupDifference, Interval
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.storage.presentation import table_of

_OF_ONE_PROBLEM = {
    "classification": {"minimum_r2", "maximum_rmse"},
    "regression": {"minimum_auc", "minimum_precision_at_k", "maximum_fpr", "capacity"},
}
"""Problem type to what a scope of it holds and does not ask for."""


def scope_metadata(scope: ExperimentScope) -> dict[str, Any]:
    """The scope, with the criteria that apply to its problem type."""
    return scope.model_dump(mode="json", exclude={"key", *_OF_ONE_PROBLEM.get(scope.problem_type, set())})


def evaluation_metadata(evaluation: EvaluationRef) -> dict[str, Any]:
    """The gate's answer, metrics per split with intervals on test, fairness, comparison, and who read the test rows."""
    score = "rmse" if evaluation.problem_type == "regression" else "auc"
    readings, comparison = evaluation.readings, evaluation.comparison
    shown: dict[str, Any] = {
        score: evaluation.metrics["test"][score],
        "passes_the_gate": evaluation.is_passed,
        "unmet": list(evaluation.unmet),
        "warnings": list(evaluation.warnings),
        "metrics": table_of(_metric_rows(evaluation)),
        "findings": table_of(_finding_row(finding) for finding in evaluation.findings),
        "test_readings": f"{readings.readings} by {readings.candidates} candidates",
        "location": dg.MetadataValue.path(evaluation.location),
    }
    if evaluation.fairness:
        shown["groups"] = table_of(
            {
                "column": one.column,
                "measure": one.measure,
                "highest": _group(one, one.highest),
                "lowest": _group(one, one.lowest),
                "difference": _written(one.difference),
                "bound": one.bound,
            }
            for one in evaluation.fairness
        )
    if comparison:
        shown["comparison"] = (
            f"{comparison.metric} {comparison.candidate_value:.4f} against {comparison.champion_value:.4f} of version "
            f"{comparison.champion}, gain {_written(comparison.gain)}, {comparison.test}: p = {comparison.p_value:.3f}"
        )
    return shown


def finding_metadata(finding: Finding) -> dict[str, Any]:
    """What one check saw."""
    shown: dict[str, Any] = {"part": finding.part, "holds_back_promotion": finding.is_blocking}
    if finding.observed is not None:
        shown["observed"] = finding.observed
    return shown


def _metric_rows(evaluation: EvaluationRef) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in evaluation.metrics["test"]:
        splits = {split: round(values[name], 4) for split, values in evaluation.metrics.items()}
        interval = evaluation.intervals.get(name)
        reach = f"{interval.low:.4f} to {interval.high:.4f}" if interval and _is_known(interval) else ""
        rows.append({"metric": name, **splits, "test interval": reach})
    return rows


def _finding_row(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "part": finding.part,
        "passed": finding.is_passed,
        "holds back promotion": finding.is_blocking,
        "found": " ".join(finding.sentences),
    }


def _group(one: GroupDifference, group: str) -> str:
    rate = one.rates[group]
    return f"{group}, too few to tell" if rate is None else f"{group} {rate:.3f}"


def _written(interval: Interval) -> str:
    if interval.estimate is None:
        return "n/a"
    return f"{interval.estimate:.4f} ({interval.low:.4f} to {interval.high:.4f})" if _is_known(interval) else "n/a"


def _is_known(interval: Interval) -> bool:
    return interval.low is not None and interval.high is not None
