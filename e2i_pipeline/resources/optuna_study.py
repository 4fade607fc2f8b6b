"""One study's trials: asks for parameters, has them tried, keeps what came out, and reads the result off the storage.

A trial's random numbers are seeded by the study's seed and the count of trials that ended before it, so that a study
killed and continued equals one that ran through. When a study is opened and with what belongs in `optuna`.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.domain.algorithms import algorithm
from e2i_pipeline.domain.learners import STEP
from e2i_pipeline.domain.search_space import Space, suggest
from e2i_pipeline.domain.tuning import Tried, Tuning
from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable
from e2i_pipeline.resources.optuna_storage import shown

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

Value = bool | int | float | str | None

STARTUP_TRIALS = 10
"""Trials by chance before TPE models them (Optuna's default), and completed ones before the median pruner compares."""

WARMUP_ROUNDS = 2 * STEP
"""Boosting rounds before a trial may be pruned: earlier, a low learning rate looks bad whatever it leads to."""

HOPELESS_TRIALS = 10
"""Failed trials, with none that worked, after which a call gives up."""

KILLED = "the process that ran it was killed"
"""Reason of a trial found running by the next holder of the study."""

_ALGORITHM = "algorithm"
_IDENTITY, _FIT, _REASON = "e2i:identity", "e2i:fit", "e2i:reason"
_FINISHED = ("COMPLETE", "PRUNED")


class TrialRecord(NamedTuple):
    """One trial that ended.

    Attributes:
        number: Number in the study, from 0.
        state: `COMPLETE`, `PRUNED` or `FAIL`.
        value: The metric on validation; of a pruned trial its last report, of a failed one None.
        algorithm: Name in `ALGORITHMS`; empty for a trial killed before it chose one.
        parameters: Parameters tried.
        seconds: Wall-clock seconds; 0 for a killed trial.
    """

    number: int
    state: str
    value: float | None
    algorithm: str
    parameters: dict[str, Value]
    seconds: float


@dataclass(frozen=True)
class StudyOutcome:
    """What a study found.

    Attributes:
        algorithm: The best trial's algorithm.
        parameters: Its parameters; `n_estimators` is its number of rounds up to the best one, so that a fit on train
            alone gives the same model.
        best_value: Its metric on validation.
        trials: Trials per state: `COMPLETE`, `PRUNED`, `FAIL`.
        seconds: Wall-clock seconds of all its trials, those of earlier calls included.
        failures: Reason to number of failed trials.
        is_reproducible: False when the study ended before the trials it was asked for had finished: after a time-out,
            or after as many failures.
        history: The trials by number.
    """

    algorithm: str
    parameters: dict[str, Value]
    best_value: float
    trials: dict[str, int]
    seconds: float
    failures: dict[str, int] = field(default_factory=dict)
    is_reproducible: bool = True
    history: tuple[TrialRecord, ...] = ()


class Rules(NamedTuple):
    """How a study searches.

    Attributes:
        name: Name of the study.
        direction: `maximize` or `minimize`.
        sampler: Name of the sampler.
        pruner: Name of the pruner.
        n_trials: Trials to finish.
        timeout: Seconds of trials after which no other one starts.
        seed: Seed of the sampler.
    """

    name: str
    direction: str
    sampler: str
    pruner: str
    n_trials: int
    timeout: int
    seed: int


class StudyRun:
    """A study in the hands of the one process that may write it."""

    def __init__(
        self,
        storage: "BaseStorage",
        url: str,
        rules: Rules,
        tuning: Tuning,
        spaces: Mapping[str, Space],
        attributes: Mapping[str, Any],
    ) -> None:
        """Creates the study, or loads it.

        Args:
            storage: The open storage; the caller holds the study's lock.
            url: Its URL, for messages.
            rules: How to search.
            tuning: What a trial does.
            spaces: Search space per algorithm.
            attributes: JSON values to keep with the study.

        Raises:
            ConfigurationError: The storage holds a study of this name over other data or rules.
            ToolUnavailable: The storage does not answer.
        """
        import optuna

        self._url, self._rules, self._tuning, self._spaces = url, rules, tuning, spaces
        identity = content_key(
            tuning.fingerprint, {a: repr(sorted(s.items())) for a, s in spaces.items()}, rules.sampler, rules.pruner
        )
        with self._kept():
            pruner = _pruner(rules.pruner, spaces)
            if rules.name in optuna.get_all_study_names(storage):
                self._study = optuna.load_study(study_name=rules.name, storage=storage, pruner=pruner)
            else:
                direction = "maximize" if rules.direction == "maximize" else "minimize"
                self._study = optuna.create_study(
                    study_name=rules.name, storage=storage, pruner=pruner, direction=direction
                )
            found = self._study.user_attrs.get(_IDENTITY)
            if found != identity and (found is not None or self._study.get_trials(deepcopy=False)):
                raise ConfigurationError(
                    f"study {rules.name} in {shown(url)} was made over other data, features, search space or settings "
                    "than it is asked for now: its trials cannot be compared with new ones. Use another name."
                )
            for key, value in {_IDENTITY: identity, **attributes}.items():
                if self._study.user_attrs.get(key) != value:
                    self._study.set_user_attr(key, value)

    def finish(self, on_trial: Callable[[dict[str, Any]], None] | None) -> StudyOutcome:
        """Runs the trials that are missing.

        Args:
            on_trial: Called after each of them.

        Returns:
            The study's outcome.

        Raises:
            ToolUnavailable: The storage does not answer.
            ToolRejected: All trials failed.
        """
        failures = 0
        with self._kept():
            self._fail_leftovers()
            records = self._records()
        while self._is_open(records, failures):
            with self._kept():
                self._try_next(records)
                records = self._records()
            failures += records[-1].state == "FAIL"
            if on_trial is not None:
                on_trial(self._progress(records))
        with self._kept():
            return self._outcome()

    def _is_open(self, records: Sequence[TrialRecord], failures_now: int) -> bool:
        states = Counter(record.state for record in records)
        finished = sum(states[state] for state in _FINISHED)
        if not states["COMPLETE"]:
            return finished < self._rules.n_trials and failures_now < min(HOPELESS_TRIALS, self._rules.n_trials)
        if finished >= self._rules.n_trials or self._failed_by_themselves() >= self._rules.n_trials:
            return False
        return sum(record.seconds for record in records) < self._rules.timeout

    def _try_next(self, records: Sequence[TrialRecord]) -> None:
        """Runs one trial to its end, whichever it is."""
        import optuna
        from optuna.trial import TrialState

        ended = sum(r.state in _FINISHED for r in records) + self._failed_by_themselves()
        self._study.sampler = _sampler(self._rules.sampler, int(content_key(self._rules.seed, ended)[:8], 16))
        trial = self._study.ask()
        try:
            tried = self._try(trial)
            trial.set_user_attr(_FIT, tried.parameters)
            self._study.tell(trial, tried.value)
        except optuna.TrialPruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        except _storage_errors():
            raise
        except Exception as err:  # whatever a fit raises is that trial's failure, kept with its reason
            trial.set_user_attr(_REASON, _reason(err))
            self._study.tell(trial, state=TrialState.FAIL)

    def _try(self, trial: "optuna.Trial") -> Tried:
        import optuna

        names = list(self._spaces)
        name = trial.suggest_categorical(_ALGORITHM, names) if len(names) > 1 else names[0]
        parameters = suggest(trial, self._spaces[name], f"{name}.")

        def on_step(step: int, value: float) -> None:
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        tried = self._tuning.fit(name, parameters, on_step if algorithm(name).is_incremental else None)
        if not math.isfinite(tried.value):
            raise ArithmeticError(f"{self._tuning.metric} on validation is not a number")
        return tried

    def _fail_leftovers(self) -> None:
        """Fails what a killed process left running: this process alone may write the study."""
        import optuna
        from optuna.trial import TrialState

        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            optuna.trial.Trial(self._study, left._trial_id).set_user_attr(_REASON, KILLED)
            self._study.tell(left.number, state=TrialState.FAIL)

    def _failed_by_themselves(self) -> int:
        trials = self._study.get_trials(deepcopy=False)
        return sum(t.state.name == "FAIL" and t.user_attrs.get(_REASON) != KILLED for t in trials)

    def _records(self) -> list[TrialRecord]:
        only = next(iter(self._spaces)) if len(self._spaces) == 1 else ""
        return [_record(t, only) for t in self._study.get_trials(deepcopy=False) if t.state.is_finished()]

    def _progress(self, records: Sequence[TrialRecord]) -> dict[str, Any]:
        best = self._best(records)
        return {
            **records[-1]._asdict(),
            "best_value": best.value if best else math.nan,
            "finished": sum(record.state in _FINISHED for record in records),
            "n_trials": self._rules.n_trials,
        }

    def _best(self, records: Sequence[TrialRecord]) -> TrialRecord | None:
        """The best completed trial, of equals the earliest."""
        sign = -1 if self._rules.direction == "maximize" else 1
        complete = [r for r in records if r.state == "COMPLETE"]
        return min(complete, key=lambda r: (sign * (r.value or 0.0), r.number), default=None)

    def _outcome(self) -> StudyOutcome:
        records = _up_to_finished(self._records(), self._rules.n_trials)
        trials = self._study.get_trials(deepcopy=False)
        states = Counter(r.state for r in records)
        reasons = Counter(trials[r.number].user_attrs.get(_REASON, KILLED) for r in records if r.state == "FAIL")
        best = self._best(records)
        if best is None:
            listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
            raise ToolRejected(
                f"study {self._rules.name}: none of its {len(records)} trials worked: {listed}. Correct the search "
                "space (optuna.search_space) or the data that these reasons name, then start the study again."
            )
        return StudyOutcome(
            algorithm=best.algorithm,
            parameters=dict(trials[best.number].user_attrs[_FIT]),
            best_value=float(best.value or 0.0),
            trials={state: states[state] for state in (*_FINISHED, "FAIL")},
            seconds=sum(r.seconds for r in records),
            failures=dict(reasons.most_common()),
            is_reproducible=sum(states[state] for state in _FINISHED) >= self._rules.n_trials,
            history=tuple(records),
        )

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Translates a storage that stops answering."""
        try:
            yield
        except _storage_errors() as err:
            raise ToolUnavailable(
                f"study {self._rules.name}: the Optuna storage {shown(self._url)} stopped answering "
                f"({type(err).__name__}). Check it; the study continues where it stopped."
            ) from err


def _record(trial: "FrozenTrial", only_algorithm: str) -> TrialRecord:
    name = trial.params.get(_ALGORITHM, only_algorithm)
    was_killed = trial.user_attrs.get(_REASON) == KILLED
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        value=trial.value,
        algorithm=name,
        parameters={key.removeprefix(f"{name}."): v for key, v in trial.params.items() if key != _ALGORITHM},
        seconds=trial.duration.total_seconds() if trial.duration and not was_killed else 0.0,
    )


def _up_to_finished(records: Sequence[TrialRecord], n_trials: int) -> list[TrialRecord]:
    """The records up to the `n_trials`-th finished one: a study that was once asked for more gives the same answer."""
    kept: list[TrialRecord] = []
    finished = 0
    for record in records:
        kept.append(record)
        finished += record.state in _FINISHED
        if finished == n_trials:
            break
    return kept


def _reason(err: Exception) -> str:
    """The error's class and first line, without the clock and source line that XGBoost puts before it."""
    lines = [re.sub(r"^\[\d\d:\d\d:\d\d\] \S+: ", "", line).strip() for line in str(err).splitlines()]
    return f"{type(err).__name__}: {next(filter(None, lines), 'no message')}"[:300]


def _sampler(name: str, seed: int) -> "BaseSampler":
    import optuna

    if name == "RandomSampler":
        return optuna.samplers.RandomSampler(seed=seed)
    # Grouped, so that each algorithm's parameters are modelled together although no trial has those of two.
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, constant_liar=False
    )


def _pruner(name: str, spaces: Mapping[str, Space]) -> "BasePruner":
    import optuna

    if name == "HyperbandPruner":
        longest = max((int(getattr(space.get("n_estimators"), "high", 0)) for space in spaces.values()), default=0)
        return optuna.pruners.HyperbandPruner(min_resource=WARMUP_ROUNDS, max_resource=max(longest, WARMUP_ROUNDS))
    if name == "MedianPruner":
        return optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_ROUNDS)
    return optuna.pruners.NopPruner()


def _storage_errors() -> tuple[type[Exception], ...]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError, OSError
