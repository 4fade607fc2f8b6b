"""The success criteria of a scope, held against the metrics of the test split. What follows is decided elsewhere."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from e2i_pipeline.contracts.training import ExperimentScope


class Criterion(NamedTuple):
    """One success criterion and what was found.

    Attributes:
        check: Name of its check.
        name: What is measured, in words.
        value: What the split gave; NaN where it could not be computed.
        bound: What was set before training.
        is_minimum: Whether the value must reach the bound, or stay within it.
    """

    check: str
    name: str
    value: float
    bound: float
    is_minimum: bool

    @property
    def is_met(self) -> bool:
        """Whether it is met; a value that could not be computed meets nothing."""
        return self.value >= self.bound if self.is_minimum else self.value <= self.bound

    @property
    def sentence(self) -> str:
        """Why it is not met, with figures."""
        kind = "minimum" if self.is_minimum else "maximum"
        if math.isnan(self.value):
            return f"{self.name} could not be computed ({kind} {self.bound:.3f}): an outcome class is missing."
        return (
            f"{self.name} is {self.value:.3f}, {'below' if self.is_minimum else 'above'} the {kind} {self.bound:.3f}."
        )


def criteria(metrics: Mapping[str, float], scope: ExperimentScope) -> tuple[Criterion, ...]:
    """The criteria that apply to the scope's problem type.

    Args:
        metrics: What `metrics.evaluate` or `regression_metrics.evaluate_regression` returned for the test split.
        scope: The criteria.
    """
    if scope.problem_type == "regression":
        bounds = (
            ("r2_reaches_the_minimum", "R2", metrics["r2"], scope.minimum_r2, True),
            ("rmse_is_within_the_maximum", "RMSE", metrics["rmse"], scope.maximum_rmse, False),
        )
        return tuple(Criterion(c, n, v, bound, m) for c, n, v, bound, m in bounds if bound is not None)
    share = f"the top {scope.capacity:.0%}"
    lift, rate = f"precision among {share} over the base rate", f"false positive rate at the threshold for {share}"
    return (
        Criterion("test_auc_reaches_the_minimum", "AUC", metrics["auc"], scope.minimum_auc, True),
        Criterion(
            "precision_at_capacity_reaches_the_minimum", lift, metrics["lift_at_k"], scope.minimum_precision_at_k, True
        ),
        Criterion("false_positive_rate_is_within_the_maximum", rate, metrics["fpr"], scope.maximum_fpr, False),
    )


def criteria_unmet(metrics: Mapping[str, float], scope: ExperimentScope) -> tuple[str, ...]:
    """The success criteria that are not met: one sentence each, with its figures; empty where all are met."""
    return tuple(criterion.sentence for criterion in criteria(metrics, scope) if not criterion.is_met)
