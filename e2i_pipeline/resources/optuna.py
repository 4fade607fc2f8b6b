"""Hyperparameter studies by Optuna.

A study is persistent and resumable: asked for again it runs only what is missing. What a trial does belongs in
`domain/tuning.py`, the study's own life in `optuna_study.py`, where it is kept in `optuna_storage.py`, and logging to
MLflow to whoever passes `on_trial`.
"""

import difflib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from e2i_pipeline.domain.search_space import Choice, Range
    from e2i_pipeline.domain.tuning import Split
    from e2i_pipeline.resources.optuna_study import StudyOutcome

SAMPLERS = ("TPESampler", "RandomSampler")
PRUNERS = ("MedianPruner", "HyperbandPruner", "NopPruner")

_LOCK_MARGIN_SECONDS = 60


class OptunaResource(dg.ConfigurableResource):
    """Optuna, essential: a study that cannot be stored is not begun.

    Trials run one after another, each fit on up to `n_jobs` threads: a trial then knows all that came before it, so
    that the same data, space, seed and number of trials give the same result, whatever the number of threads.

    Attributes:
        storage: `journal:///path/to/journal.log` (absolute), or an SQLAlchemy URL of SQLite or PostgreSQL.
        sampler: `TPESampler` or `RandomSampler`.
        pruner: `MedianPruner`, `HyperbandPruner` or `NopPruner`; prunes algorithms that learn step by step.
        n_trials: Trials to finish (completed or pruned; failed ones do not count), >= 1.
        timeout: Seconds of trials after which a study starts no other one, those of earlier calls included, >= 1.
        n_jobs: Threads of a fit, >= 1; at most the cores present.
    """

    storage: str
    sampler: str = "TPESampler"
    pruner: str = "MedianPruner"
    n_trials: int = 100
    timeout: int = 3600
    n_jobs: int = 4

    def optimize(
        self,
        study_name: str,
        algorithms: Sequence[str],
        search_space: Mapping[str, Mapping[str, Any]],
        train: "Split",
        validation: "Split",
        features: Sequence[FeatureSpec],
        *,
        metric: str,
        direction: str,
        seed: int,
        early_stopping_rounds: int,
        attributes: Mapping[str, Any] | None = None,
        on_trial: Callable[[dict[str, Any]], None] | None = None,
    ) -> "StudyOutcome":
        """Runs what is missing of a study, and returns what it found.

        Args:
            study_name: Name in the storage; equal names mean the same study.
            algorithms: Names in `ALGORITHMS`; of several, each trial chooses one.
            search_space: Per algorithm: parameter to its form in the search-space language.
            train: Rows with the features' columns, and outcomes (rows,), 0 or 1.
            validation: Likewise; judges each trial.
            features: The features, in order.
            metric: `auc` or `log_loss`, on validation.
            direction: `maximize` for `auc`, `minimize` for `log_loss`.
            seed: Seed of everything random, >= 0.
            early_stopping_rounds: Rounds without improvement after which a fit ends.
            attributes: JSON values to keep with the study.
            on_trial: Called after each trial that this call ran, with `number`, `state`, `value`, `best_value` (NaN
                before one completed), `algorithm`, `parameters`, `seconds`, `finished` and `n_trials`.

        Returns:
            The outcome over the study's first `n_trials` finished trials; where it has them already, without running
            anything.

        Raises:
            ConfigurationError: An algorithm, a parameter, the metric, the sampler or the storage is wrong, or the
                storage holds a study of this name over other data or rules.
            SourceError: A feature's column is missing or holds what its kind does not allow.
            CohortTooSmall: A split lacks an outcome class.
            ToolUnavailable: The storage does not answer, or another process holds the study.
            ToolRejected: All trials failed.
        """
        from e2i_pipeline.domain.tuning import Tuning
        from e2i_pipeline.resources.optuna_storage import open_study
        from e2i_pipeline.resources.optuna_study import Rules, StudyRun

        self._check(metric, direction)
        spaces = _spaces(algorithms, search_space)
        tuning = Tuning(
            train,
            validation,
            features,
            metric=metric,
            seed=seed,
            threads=min(self.n_jobs, _cores()),
            early_stopping_rounds=early_stopping_rounds,
        )
        rules = Rules(study_name, direction, self.sampler, self.pruner, self.n_trials, self.timeout, seed)
        patience = self.timeout + _LOCK_MARGIN_SECONDS
        with _quiet(), open_study(self.storage, study_name, patience) as kept:
            return StudyRun(kept, self.storage, rules, tuning, spaces, attributes or {}).finish(on_trial)

    def has_study(self, study_name: str) -> bool:
        """Whether the storage holds a study of this name; Optuna is not imported.

        Raises:
            ConfigurationError: The storage is wrong.
            ToolUnavailable: The storage does not answer.
        """
        from e2i_pipeline.resources.optuna_storage import has_study

        return has_study(self.storage, study_name)

    def _check(self, metric: str, direction: str) -> None:
        from e2i_pipeline.domain.tuning import DIRECTIONS

        _among("sampler", self.sampler, SAMPLERS)
        _among("pruner", self.pruner, PRUNERS)
        _among("metric", metric, tuple(DIRECTIONS))
        if direction != DIRECTIONS[metric]:
            raise ConfigurationError(f"optuna.study_defaults.direction: {metric} is to {DIRECTIONS[metric]}")
        for name, value in {"n_trials": self.n_trials, "timeout": self.timeout, "n_jobs": self.n_jobs}.items():
            if value < 1:
                raise ConfigurationError(f"optuna.search.{name} must be at least 1; got {value}")


def _among(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        raise ConfigurationError(
            f"optuna.study_defaults.{key}: there is no {value!r}.{f' Did you mean {near[0]}?' if near else ''} Known: "
            f"{', '.join(known)}."
        )


def _spaces(
    algorithms: Sequence[str], search_space: Mapping[str, Mapping[str, Any]]
) -> "dict[str, dict[str, Choice | Range]]":
    """The parsed search space per algorithm; both in order of name, so that the order of writing decides nothing."""
    from e2i_pipeline.domain.algorithms import algorithm, check_parameters
    from e2i_pipeline.domain.search_space import parse_space

    if not algorithms:
        raise ConfigurationError("optuna.algorithms is empty: a study needs at least one algorithm")
    spaces: dict[str, dict[str, Choice | Range]] = {}
    for name in sorted(set(algorithms)):
        learner = algorithm(name)
        if name not in search_space:
            raise ConfigurationError(f"optuna.search_space has no entry for {name}, which optuna.algorithms names")
        check_parameters(learner, search_space[name])
        spaces[name] = dict(sorted(parse_space(search_space[name], f"optuna.search_space.{name}").items()))
    return spaces


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Optuna's log and what its experimental options and a solver's last steps warn of, for a study."""
    import optuna
    from sklearn.exceptions import ConvergenceWarning

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
