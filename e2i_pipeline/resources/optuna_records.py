"""What a study found, read off its trials.

How trials come about stands in `optuna_study`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.training import AlgorithmScore
from e2i_pipeline.domain.search_space import Value
from e2i_pipeline.errors import E2IError, ToolRejected
from e2i_pipeline.resources.optuna_batches import FINISHED, KILLED, is_settling, reason_of, result_of, slot_of
from e2i_pipeline.resources.optuna_past import ALGORITHM

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


BOOSTERS, OF_PARAMETERS = ("xgboost", "lightgbm", "catboost"), "InvalidParameterError"
"""Libraries that see encoded numbers alone, and the name of scikit-learn's error on parameters."""


class TrialRecord(NamedTuple):
    """One trial that ended.

    Attributes:
        number: Number in the storage, from 0.
        state: `COMPLETE`, `PRUNED` or `FAIL`.
        value: The metric on validation; of a pruned trial its last report, of a failed one None.
        algorithm: Name in `ALGORITHMS`; empty for a foreign trial.
        parameters: Parameters tried.
        seconds: Wall-clock seconds; 0 for a killed trial.
        slot: Its place in the study, from 0, which no kill and no number of workers changes; -1 for a foreign trial.
    """

    number: int
    state: str
    value: float | None
    algorithm: str
    parameters: dict[str, Value]
    seconds: float
    slot: int


@dataclass(frozen=True)
class StudyOutcome:
    """What a study found.

    Attributes:
        algorithm: The chosen algorithm.
        parameters: The parameters of its best trial; `n_estimators` is its number of rounds up to the best one, so
            that a fit on train alone gives the same model.
        best_value: That trial's metric on validation.
        trials: Trials per state: `COMPLETE`, `PRUNED`, `FAIL`.
        seconds: Wall-clock seconds during which its trials ran, those of earlier calls included.
        failures: Reason to number of failed trials.
        is_reproducible: False when the study ended before the trials it was asked for had finished: after a time-out,
            or after as many failures.
        history: The trials by slot; before the one that settled it, those that were killed.
        comparison: The algorithms by what cross-validation says of their best trials; empty for one algorithm.
        importances: Per algorithm: parameter to its share of what explains a good value (PED-ANOVA); sums to 1.
    """

    algorithm: str
    parameters: dict[str, Value | None]
    best_value: float
    trials: dict[str, int]
    seconds: float
    failures: dict[str, int] = field(default_factory=dict)
    is_reproducible: bool = True
    history: tuple[TrialRecord, ...] = ()
    comparison: tuple[AlgorithmScore, ...] = ()
    importances: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The ended trials of a study.

    Attributes:
        study: Its name.
        is_maximized: Whether larger values are better.
        wanted: Finished trials that were asked for.
        trials: The ended trials, up to the slot with the last finished one that was asked for; a study that was once
            asked for more gives the same answer.
        only: The algorithm, where there is only one.
    """

    study: str
    is_maximized: bool
    wanted: int
    trials: tuple["FrozenTrial", ...]
    only: str

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """Them as records."""
        return tuple(record(trial, self.only) for trial in self.trials)

    def best(self, algorithm: str | None = None) -> "FrozenTrial | None":
        """The best completed trial, of one algorithm or of all; of equals that of the first slot."""
        sign = -1 if self.is_maximized else 1
        complete = [t for t in self.trials if t.state.name == "COMPLETE"]
        chosen = [t for t in complete if algorithm is None or record(t, self.only).algorithm == algorithm]
        return min(chosen, key=lambda t: (sign * (t.value or 0.0), slot_of(t) or 0), default=None)

    def outcome(
        self,
        best: "FrozenTrial",
        comparison: Sequence[AlgorithmScore] = (),
        importances: dict[str, dict[str, float]] | None = None,
    ) -> StudyOutcome:
        """The outcome with one trial as the best."""
        states = Counter(trial.state.name for trial in self.trials)
        return StudyOutcome(
            algorithm=record(best, self.only).algorithm,
            parameters=dict(result_of(best)["fit"]),
            best_value=float(best.value or 0.0),
            trials={state: states[state] for state in (*FINISHED, "FAIL")},
            seconds=seconds_of(self.trials),
            failures=dict(self._reasons().most_common()),
            is_reproducible=sum(states[state] for state in FINISHED) >= self.wanted,
            history=self.records,
            comparison=tuple(comparison),
            importances=importances or {},
        )

    def hopeless(self) -> ToolRejected:
        """The error of a study without a completed trial."""
        listed = "; ".join(f"{count} x {reason}" for reason, count in self._reasons().most_common())
        return ToolRejected(
            f"study {self.study}: none of its {len(self.trials)} trials worked: {listed}. Correct the search space "
            "(optuna.search_space) or the data that these reasons name, then start the study again."
        )

    def _reasons(self) -> "Counter[str]":
        return Counter(reason_of(trial) for trial in self.trials if trial.state.name == "FAIL")


def found(study: str, direction: str, wanted: int, trials: Sequence["FrozenTrial"], only: str) -> Found:
    """Orders a study's ended trials by slot and cuts them.

    Args:
        study: Name of the study.
        direction: `maximize` or `minimize`.
        wanted: Finished trials that were asked for.
        trials: All trials of the study.
        only: The algorithm, where there is only one.
    """
    ended = [t for t in trials if t.state.is_finished() and (slot_of(t) is not None or not is_settling(t))]
    ordered = sorted(ended, key=lambda t: (_place(t), is_settling(t), t.number))
    kept: list[FrozenTrial] = []
    finished, settled = 0, set[int]()
    for trial in ordered:
        if finished == wanted:
            break
        if is_settling(trial):
            if _place(trial) in settled:
                continue
            settled.add(_place(trial))
        kept.append(trial)
        finished += trial.state.name in FINISHED
    return Found(study, direction == "maximize", wanted, tuple(kept), only)


def record(trial: "FrozenTrial", only: str) -> TrialRecord:
    """A trial as a record; `only` is the algorithm, where there is only one."""
    name = trial.params.get(ALGORITHM, only)
    is_killed = trial.state.name == "FAIL" and reason_of(trial) == KILLED
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        value=trial.value,
        algorithm=name,
        parameters={key.removeprefix(f"{name}."): v for key, v in trial.params.items() if key != ALGORITHM},
        seconds=trial.duration.total_seconds() if trial.duration and not is_killed else 0.0,
        slot=_place(trial),
    )


def seconds_of(trials: Sequence["FrozenTrial"]) -> float:
    """Seconds during which at least one of these trials ran, up to its end; killed ones do not count."""
    spans = sorted(
        (t.datetime_start, t.datetime_complete)
        for t in trials
        if t.datetime_start and t.datetime_complete and is_settling(t)
    )
    total, until = 0.0, datetime.min  # noqa: DTZ901 - Optuna's times have no zone
    for start, end in spans:
        total += max((end - max(start, until)).total_seconds(), 0.0)
        until = max(until, end)
    return total


def _place(trial: "FrozenTrial") -> int:
    slot = slot_of(trial)
    return -1 if slot is None else slot


def reason_for(err: Exception) -> str:
    """The error's class and first line, without the clock and source line that XGBoost puts before it.

    Of libraries that are given anything but numbers the class alone: what they say may hold a patient's value.
    """
    is_ours, library = isinstance(err, E2IError), type(err).__module__.partition(".")[0]
    if not (is_ours or library in BOOSTERS or type(err).__name__ == OF_PARAMETERS):
        return f"{type(err).__name__} (what it says is not kept: it may hold a patient's value)"
    lines = [re.sub(r"^\[\d\d:\d\d:\d\d\] \S+: ", "", line).strip() for line in str(err).splitlines()]
    return f"{type(err).__name__}: {next(filter(None, lines), 'no message')}"[:300]
