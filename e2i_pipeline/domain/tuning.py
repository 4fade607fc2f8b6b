"""What a trial of a hyperparameter study does: fit on train, judge on validation, on data encoded once per study.

Which parameters to try, how long and where the trials are kept belong to the study, in `resources/optuna.py`.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.algorithms import algorithm
from e2i_pipeline.domain.encoding import checked_outcomes, encode, fit_encoder, raw_features
from e2i_pipeline.domain.learners import OnStep, Parameters
from e2i_pipeline.errors import CohortTooSmall, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DIRECTIONS = {"auc": "maximize", "log_loss": "minimize"}
"""The metrics that a study may optimize, and which way each is better."""

Split = tuple["pd.DataFrame", "np.ndarray | pd.Series"]
"""Rows with the features' columns, and their outcomes (rows,), 0 or 1."""


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
        metric: `auc` or `log_loss`.
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
    ) -> None:
        """Checks the data.

        Args:
            train: Rows and outcomes to learn from.
            validation: Rows and outcomes to judge by.
            features: The features, in order.
            metric: `auc` or `log_loss`.
            seed: Seed of everything random in a fit, >= 0.
            threads: Threads of a fit, >= 1; changes no result.
            early_stopping_rounds: Rounds without improvement after which a fit ends.

        Raises:
            ConfigurationError: The metric is unknown.
            CohortTooSmall: A split lacks an outcome class.
            SourceError: A feature's column is missing or holds what its kind does not allow, or an outcome is not 0
                or 1.
        """
        if metric not in DIRECTIONS:
            raise ConfigurationError(f"a study cannot optimize {metric!r}. Metrics: {', '.join(DIRECTIONS)}.")
        for name, (_, y) in (("train", train), ("validation", validation)):
            rows, positives = len(y), int(checked_outcomes(y).sum())
            if not 0 < positives < rows:
                raise CohortTooSmall(
                    f"{name} has {positives} positives in {rows} rows: a study needs both outcomes in train and in "
                    "validation. Widen the cohort or the splits."
                )
        self.metric = metric
        self._train, self._validation, self._features = train, validation, features
        self._seed, self._threads, self._early_stopping_rounds = seed, threads, early_stopping_rounds
        self._prepared: dict[str, _Prepared] = {}
        self.fingerprint = content_key(
            [(f.name, f.kind) for f in features],
            [_content(split, features) for split in (train, validation)],
            metric,
            seed,
            early_stopping_rounds,
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
            seed=self._seed,
            threads=self._threads,
            metric=self.metric,
            early_stopping_rounds=self._early_stopping_rounds,
            on_step=on_step,
        )
        judge = metrics.auc if self.metric == "auc" else metrics.log_loss
        return Tried(judge(self._validation[1], learner.score(fit.estimator, data.x)), fit.parameters)

    def _data(self, name: str) -> _Prepared:
        if name not in self._prepared:
            learner = algorithm(name)
            (rows, y), (held_out, held_out_y) = self._train, self._validation
            encoder = fit_encoder(rows, self._features, takes_nulls=learner.takes_nulls)
            x = encode(encoder, held_out, self._features)
            self._prepared[name] = _Prepared(
                learner.matrix(encode(encoder, rows, self._features), checked_outcomes(y), self._threads),
                learner.matrix(x, checked_outcomes(held_out_y), self._threads, is_train=False),
                x,
            )
        return self._prepared[name]


def _content(split: Split, features: Sequence[FeatureSpec]) -> str:
    """Hash of a split's features and outcomes, rows in order, the index apart."""
    import pandas as pd

    rows, y = split
    hashes = pd.util.hash_pandas_object(raw_features(rows, features), index=False).to_numpy()
    return hashlib.sha256(hashes.tobytes() + checked_outcomes(y).tobytes()).hexdigest()
