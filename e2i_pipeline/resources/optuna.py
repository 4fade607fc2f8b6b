"""Hyperparameter studies by Optuna.

A study is persistent and resumable: asked for again it runs only what is missing. What a trial does belongs in
`domain/tuning.py`, a worker's part in `optuna_study.py`, the other workers in `optuna_workers.py`, where it is kept in
`optuna_storage.py`, and logging to MLflow to whoever passes `on_trial`.
"""

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from e2i_pipeline.domain.search_space import Space, Value
    from e2i_pipeline.domain.tuning import Split, Tuning
    from e2i_pipeline.resources.optuna_records import Found, StudyOutcome
    from e2i_pipeline.resources.optuna_study import Ended, Rules
    from e2i_pipeline.resources.optuna_warm_start import Origin

SAMPLERS = ("TPESampler", "RandomSampler")
PRUNERS = ("MedianPruner", "HyperbandPruner", "NopPruner")


class OptunaResource(dg.ConfigurableResource):
    """Optuna, essential: a study that cannot be stored is not begun.

    Trials come in batches. What is tried in a batch is chosen from the batches before it, and its trials are compared
    with those of the batches before it: the same data, space, seed and number of trials give the same result, whatever
    the number of workers, in one process or on several machines, and however often one is killed.

    Attributes:
        storage: `journal:///path/to/journal.log` (absolute), or an SQLAlchemy URL of SQLite or PostgreSQL.
        sampler: `TPESampler` or `RandomSampler`.
        pruner: `MedianPruner`, `HyperbandPruner` or `NopPruner`; prunes algorithms that learn step by step.
        n_trials: Trials to finish (completed or pruned; failed ones do not count), >= 1.
        batch_size: Trials that do not know of each other, >= 1; it decides what is found.
        timeout: Seconds of trials after which a study starts no other one, those of earlier calls included, >= 1.
        n_jobs: Workers, this process included, >= 1; at most the cores present, which they share for their fits.
        workers_after_seconds: Seconds of a study after which the other workers are started, where what is left is worth
            it; 0 starts them at once.
    """

    storage: str
    sampler: str = "TPESampler"
    pruner: str = "MedianPruner"
    n_trials: int = 100
    batch_size: int = 8
    timeout: int = 3600
    n_jobs: int = 4
    workers_after_seconds: float = 2.0

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
        problem_type: str = "classification",
        attributes: Mapping[str, Any] | None = None,
        given: Sequence[Mapping[str, Any]] = (),
        patients: "tuple[ArrayLike, ArrayLike] | None" = None,
        folds: int = 5,
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
            metric: `auc` or `log_loss`, or in a regression `rmse` or `mae`, on validation.
            direction: `maximize` for `auc`, `minimize` for the others.
            seed: Seed of everything random, >= 0.
            early_stopping_rounds: Rounds without improvement after which a fit ends.
            problem_type: `classification` or `regression`.
            attributes: JSON values to keep with the study.
            given: Trials of an earlier study to begin with (`previous`); what the search space does not allow is left
                out.
            patients: Patient of each row of train and of validation, so that the rows of one are in one fold; by
                default each row is one.
            folds: Folds of the comparison of several algorithms, >= 2.
            on_trial: Called after each trial that ended during this call, whichever worker tried it, with `number`,
                `slot`, `state`, `value`, `best_value` (NaN before one completed), `algorithm`, `parameters`, `seconds`,
                `finished` and `n_trials`.

        Returns:
            The outcome over the study's first `n_trials` finished trials; where it has them already, without running
            anything but the comparison of algorithms.

        Raises:
            ConfigurationError: An algorithm, a parameter, the metric, the sampler or the storage is wrong, or the
                storage holds a study of this name over other data or rules.
            SourceError: A feature's column is missing or holds what its kind does not allow.
            CohortTooSmall: A split lacks an outcome class.
            ToolUnavailable: The storage does not answer.
            ToolRejected: All trials failed.
        """
        from e2i_pipeline.domain.tuning import Tuning
        from e2i_pipeline.resources.optuna_quiet import quiet
        from e2i_pipeline.resources.optuna_spaces import spaces_of
        from e2i_pipeline.resources.optuna_storage import open_storage
        from e2i_pipeline.resources.optuna_study import StudyRun
        from e2i_pipeline.resources.optuna_warm_start import ALGORITHMS, METRIC, mark_ended
        from e2i_pipeline.resources.optuna_warm_start import given as given_to_study
        from e2i_pipeline.resources.optuna_worker import write_order
        from e2i_pipeline.resources.optuna_workers import Workers, workers_for

        self._check(metric, direction)
        spaces = spaces_of(algorithms, search_space, problem_type)
        workers, threads = workers_for(self.n_jobs, _cores())
        settings = {
            "metric": metric,
            "seed": seed,
            "threads": threads,
            "early_stopping_rounds": early_stopping_rounds,
            "problem_type": problem_type,
        }
        tuning = Tuning(train, validation, features, **settings)
        rules = self._rules(study_name, direction, seed, given_to_study(given, spaces, self.batch_size))
        with quiet(), open_storage(self.storage) as storage:
            about = {METRIC: metric, ALGORITHMS: list(spaces), **(attributes or {})}
            run = StudyRun(storage, rules, tuning, spaces, about, workers * threads)
            order = partial(
                write_order,
                rules=run.rules,
                search_space={name: search_space[name] for name in spaces},
                features=features,
                tuning=settings,
                cores=workers * threads,
                train=train,
                validation=validation,
            )
            with Workers(workers - 1, self.workers_after_seconds, self.storage, order, run.missing) as others:
                on_end = _teller(self.n_trials, run.only, others.trial_ended, on_trial)
                run.work(on_end)
                found = run.found(on_end)
            outcome = _chosen(found, tuning, spaces, patients, folds, workers * threads)
            if outcome.is_reproducible:
                mark_ended(storage, study_name)
            return outcome

    def previous(self, brand: str, dataset: str, metric: str) -> "Origin":
        """What the brand's previous study, of another dataset, found: to begin the next one with.

        Args:
            brand: The brand, as in the studies' attribute `brand`.
            dataset: Version of the present dataset; of others, as in the studies' attribute `dataset`.
            metric: What is optimized.

        Raises:
            ConfigurationError: The storage is wrong.
            ToolUnavailable: The storage does not answer.
        """
        from e2i_pipeline.resources.optuna_quiet import quiet
        from e2i_pipeline.resources.optuna_storage import open_storage
        from e2i_pipeline.resources.optuna_warm_start import previous

        with quiet(), open_storage(self.storage) as storage:
            return previous(storage, brand, dataset, metric)

    def has_study(self, study_name: str) -> bool:
        """Whether the storage holds a study of this name; Optuna is not imported.

        Raises:
            ConfigurationError: The storage is wrong.
            ToolUnavailable: The storage does not answer.
        """
        from e2i_pipeline.resources.optuna_storage import has_study

        return has_study(self.storage, study_name)

    def _rules(self, name: str, direction: str, seed: int, given: "tuple[dict[str, Value], ...]") -> "Rules":
        from e2i_pipeline.resources.optuna_study import Rules

        return Rules(
            name=name,
            direction=direction,
            sampler=self.sampler,
            pruner=self.pruner,
            n_trials=self.n_trials,
            batch_size=self.batch_size,
            timeout=self.timeout,
            seed=seed,
            given=given,
        )

    def _check(self, metric: str, direction: str) -> None:
        from e2i_pipeline.domain.tuning import DIRECTIONS

        _among("sampler", self.sampler, SAMPLERS)
        _among("pruner", self.pruner, PRUNERS)
        _among("metric", metric, tuple(DIRECTIONS))
        if direction != DIRECTIONS[metric]:
            raise ConfigurationError(f"optuna.study_defaults.direction: {metric} is to {DIRECTIONS[metric]}")
        numbers = {
            "n_trials": self.n_trials,
            "batch_size": self.batch_size,
            "timeout": self.timeout,
            "n_jobs": self.n_jobs,
        }
        for name, value in numbers.items():
            if value < 1:
                raise ConfigurationError(f"optuna.search.{name} must be at least 1; got {value}")


def _among(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        raise ConfigurationError(
            f"optuna.study_defaults.{key}: there is no {value!r}.{f' Did you mean {near[0]}?' if near else ''} Known: "
            f"{', '.join(known)}."
        )


def _teller(
    n_trials: int,
    only: str,
    count: Callable[[], None],
    on_trial: Callable[[dict[str, Any]], None] | None,
) -> "Callable[[Ended], None]":
    """Hands on each trial that ended."""
    from e2i_pipeline.resources.optuna_records import record

    def tell(ended: "Ended") -> None:
        count()
        if on_trial is not None:
            counts = {"best_value": ended.best, "finished": ended.finished, "n_trials": n_trials}
            on_trial({**record(ended.trial, only)._asdict(), **counts})

    return tell


def _chosen(
    found: "Found",
    tuning: "Tuning",
    spaces: "Mapping[str, Space]",
    patients: "tuple[ArrayLike, ArrayLike] | None",
    folds: int,
    threads: int,
) -> "StudyOutcome":
    """The outcome with the best trial; of several algorithms, with that of the one that cross-validation prefers."""
    from e2i_pipeline.resources.optuna_importances import importances
    from e2i_pipeline.resources.optuna_selection import compared

    best = found.best()
    if best is None:
        raise found.hopeless()
    comparison = compared(found, tuning, list(spaces), patients, folds, threads)
    if comparison:
        best = found.best(comparison[0].algorithm) or best
    return found.outcome(best, comparison, importances(found, spaces))


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
