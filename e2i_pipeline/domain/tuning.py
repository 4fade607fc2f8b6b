"""What a trial of a hyperparameter study does: fit on train, judge on validation, on data encoded once per study.

Which parameters to try, how long and where the trials are kept belong to the study, in `resources/optuna.py`.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import metrics, regression_metrics
from e2i_pipeline.domain.algorithms import algorithm, encoder_for
from e2i_pipeline.domain.encoding import checked_outcomes, code_columns, encode, raw_features
from e2i_pipeline.domain.learners import CLASSIFICATION, REGRESSION, OnStep, Parameters, tree_depth
from e2i_pipeline.errors import CohortTooSmall, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DIRECTIONS = {"auc": "maximize", "log_loss": "minimize", "rmse": "minimize", "mae": "minimize"}
"""The metrics that a study may optimize, and which way each is better."""

METRICS = {CLASSIFICATION: ("auc", "log_loss"), REGRESSION: ("rmse", "mae")}
"""Those of each type of problem."""

Split = tuple["pd.DataFrame", "np.ndarray | pd.Series"]
"""Rows with the features' columns, and their outcomes (rows,): 0 or 1, or numbers in a regression."""


USUAL_LEARNING_RATE = 0.1
ROUNDS_TO_LEARN = 20
"""Boosting rounds times learning rate after which a fit has mostly stopped early: a guess."""


def cost(parameters: Parameters) -> float:
    """A guess at how long a fit takes beside other fits of the same study, on no scale; so that long ones begin first.

    Args:
        parameters: Hyperparameters.
    """
    rounds = parameters.get("n_estimators", parameters.get("iterations"))
    rate = parameters.get("learning_rate")
    enough = ROUNDS_TO_LEARN / _number(rate, USUAL_LEARNING_RATE)
    return min(_number(rounds, 1), enough) * tree_depth(parameters)


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else otherwise


class Tried(NamedTuple):
    """A trial's outcome.

    Attributes:
        value: The metric on validation.
        parameters: Parameters that fit the same estimator again on train alone: of an early-stopped fit,
            `n_estimators` is the number of rounds up to its best one.
    """

    value: float
    parameters: dict[str, bool | int | float | str | None]


class _Prepared(NamedTuple):
    train: Any
    validation: Any
    x: "np.ndarray"


class Tuning:
    """The data and the rules of one study.

    Attributes:
        metric: `auc` or `log_loss`, or in a regression `rmse` or `mae`.
        seed: Seed of everything random in a fit.
        threads: Threads that a fit begins with.
        fingerprint: Hash of all that decides a trial's value, parameters apart.
    """

    def __init__(
        self,
        train: Split,
        validation: Split,
        features: Sequence[FeatureSpec],
        *,
        metric: str,
        seed: int,
        threads: int,
        early_stopping_rounds: int,
        problem_type: str = CLASSIFICATION,
    ) -> None:
        """Checks the data.

        Args:
            train: Rows and outcomes to learn from.
            validation: Rows and outcomes to judge by.
            features: The features, in order.
            metric: `auc` or `log_loss`, or in a regression `rmse` or `mae`.
            seed: Seed of everything random in a fit, >= 0.
            threads: Threads of a fit, >= 1; changes no result.
            early_stopping_rounds: Rounds without improvement after which a fit ends.
            problem_type: `classification` or `regression`.

        Raises:
            ConfigurationError: The metric is unknown, or of another type of problem.
            CohortTooSmall: A split lacks an outcome class, or in a regression has one outcome only.
            SourceError: A feature's column is missing or holds what its kind does not allow, or an outcome is not 0
                or 1, or not finite in a regression.
        """
        if metric not in METRICS[problem_type]:
            known = ", ".join(METRICS[problem_type])
            raise ConfigurationError(f"a study of a {problem_type} cannot optimize {metric!r}. Metrics: {known}.")
        for name, (_, y) in (("train", train), ("validation", validation)):
            _check_outcomes(name, y, problem_type)
        self.metric = metric
        self._problem_type = problem_type
        self._train, self._validation, self._features = train, validation, features
        self.seed, self.threads, self._early_stopping_rounds = seed, threads, early_stopping_rounds
        self._prepared: dict[str, _Prepared] = {}
        self.fingerprint = content_key(
            [(f.name, f.kind) for f in features],
            [_content(split, features, problem_type) for split in (train, validation)],
            metric,
            seed,
            early_stopping_rounds,
            *([] if problem_type == CLASSIFICATION else [problem_type]),
        )

    def fit(self, name: str, parameters: Parameters, on_step: OnStep | None = None) -> Tried:
        """Fits an algorithm and judges it.

        Args:
            name: Name in `ALGORITHMS`.
            parameters: Hyperparameters.
            on_step: Given the metric on the way, of an incremental algorithm; what it raises ends the fit.
        """
        learner, data = algorithm(name), self._data(name)
        fit = learner.fit(
            parameters,
            data.train,
            data.validation,
            seed=self.seed,
            threads=self.threads,
            metric=self.metric,
            early_stopping_rounds=self._early_stopping_rounds,
            on_step=on_step,
            problem_type=self._problem_type,
        )
        return Tried(self._judged(self._validation[1], learner.score(fit.estimator, data.x)), fit.parameters)

    @property
    def outcomes(self) -> "np.ndarray":
        """Outcomes of train, then of validation (rows,)."""
        import numpy as np

        return np.concatenate([checked_outcomes(y, self._problem_type) for _, y in (self._train, self._validation)])

    def held_out(self, name: str, parameters: Parameters, is_out: "np.ndarray", threads: int) -> float:
        """Fits on train and validation but some rows, encoder and all, and judges on those rows.

        Args:
            name: Name in `ALGORITHMS`.
            parameters: Hyperparameters that fit without a validation set, as `Tried` has them.
            is_out: The rows to judge on (rows of train, then of validation), true or false.
            threads: Threads of the fit, >= 1; changes no result.

        Returns:
            The metric on the rows left out.
        """
        import pandas as pd

        y = self.outcomes
        rows = pd.concat([raw_features(frame, self._features) for frame, _ in (self._train, self._validation)])
        learner = algorithm(name)
        data = self._prepare(name, (rows[~is_out], y[~is_out]), (rows[is_out], y[is_out]), threads)
        fit = learner.fit(
            parameters,
            data.train,
            seed=self.seed,
            threads=threads,
            metric=self.metric,
            problem_type=self._problem_type,
        )
        return self._judged(y[is_out], learner.score(fit.estimator, data.x))

    def _judged(self, outcomes: Any, predicted: "np.ndarray") -> float:
        return _JUDGES[self.metric](outcomes, predicted)

    def _data(self, name: str) -> _Prepared:
        if name not in self._prepared:
            self._prepared[name] = self._prepare(name, self._train, self._validation, self.threads)
        return self._prepared[name]

    def _prepare(self, name: str, train: Split, validation: Split, threads: int) -> _Prepared:
        learner, (rows, y), (held_out, held_out_y) = algorithm(name), train, validation
        encoder = encoder_for(learner, rows, self._features)
        codes = code_columns(encoder)
        x = encode(encoder, held_out, self._features)
        outcomes = checked_outcomes(y, self._problem_type)
        held_out_outcomes = checked_outcomes(held_out_y, self._problem_type)
        return _Prepared(
            learner.matrix(encode(encoder, rows, self._features), outcomes, threads, categories=codes),
            learner.matrix(x, held_out_outcomes, threads, is_train=False, categories=codes),
            x,
        )


_JUDGES = {
    "auc": metrics.auc,
    "log_loss": metrics.log_loss,
    "rmse": regression_metrics.rmse,
    "mae": regression_metrics.mae,
}


def _check_outcomes(split: str, y: "np.ndarray | pd.Series", problem_type: str) -> None:
    outcomes = checked_outcomes(y, problem_type)
    rows = len(outcomes)
    if problem_type == REGRESSION:
        if not rows or outcomes.min() == outcomes.max():
            raise CohortTooSmall(
                f"{split} has no two different outcomes in {rows} rows: there is nothing to learn. Widen the cohort or "
                "the splits, or name another outcome (target)."
            )
        return
    positives = int(outcomes.sum())
    if not 0 < positives < rows:
        raise CohortTooSmall(
            f"{split} has {positives} positives in {rows} rows: a study needs both outcomes in train and in "
            "validation. Widen the cohort or the splits."
        )


def _content(split: Split, features: Sequence[FeatureSpec], problem_type: str) -> str:
    """Hash of a split's features and outcomes, rows in order, the index apart."""
    import pandas as pd

    rows, y = split
    hashes = pd.util.hash_pandas_object(raw_features(rows, features), index=False).to_numpy()
    return hashlib.sha256(hashes.tobytes() + checked_outcomes(y, problem_type).tobytes()).hexdigest()
