"""One worker's part in a study: takes trials, fits them, says what came out, and lays out the next ones.

Any number of workers do the same at once, in processes or across machines, with nothing in common but the storage.
What is tried where stands in `optuna_batches` and `optuna_past`, who may do what in `optuna_leases`, what it all comes
to in `optuna_records`.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.domain.algorithms import algorithm
from e2i_pipeline.domain.search_space import Space, Value
from e2i_pipeline.domain.tuning import Tuning, cost
from e2i_pipeline.errors import ConfigurationError, ToolUnavailable
from e2i_pipeline.resources.optuna_batches import (
    FINISHED,
    KILLED,
    RESULT,
    SLOT,
    Board,
    attributes_of,
    first_slot,
    slot_of,
)
from e2i_pipeline.resources.optuna_cores import SpareCores
from e2i_pipeline.resources.optuna_past import Past
from e2i_pipeline.resources.optuna_records import Found, found, reason_for, record, seconds_of
from e2i_pipeline.resources.optuna_storage import StudyStorage

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

HOPELESS_TRIALS = 10
"""Failed trials, with none that worked, after which a call gives up at the end of a batch."""

_IDENTITY = "e2i:identity"
_POLL_SECONDS = 0.05  # for a batch that others work on
_LOOK_SECONDS = 1.0  # for a worker among them that was killed
_SAY_SECONDS = 300.0

_logger = logging.getLogger(__name__)


class Rules(NamedTuple):
    """How a study searches.

    Attributes:
        name: Name of the study.
        direction: `maximize` or `minimize`.
        sampler: Name of the sampler.
        pruner: Name of the pruner.
        n_trials: Trials to finish.
        batch_size: Trials that do not know of each other, >= 1.
        timeout: Seconds of trials after which no other one starts.
        seed: Seed of the sampler.
        given: Parameters of the first trials, at most a batch of them, as names of the study.
        forgiven: Trials that had failed before this call, and do not count as a reason to give up; None: those that the
            storage has when the first worker of the call comes.
    """

    name: str
    direction: str
    sampler: str
    pruner: str
    n_trials: int
    batch_size: int
    timeout: int
    seed: int
    given: tuple[dict[str, Value], ...] = ()
    forgiven: int | None = None


class Ended(NamedTuple):
    """A trial that ended, and where its study stood then.

    Attributes:
        trial: The trial.
        best: The best value so far; NaN before a trial completed.
        finished: Finished trials so far.
    """

    trial: "FrozenTrial"
    best: float
    finished: int


class StudyRun:
    """A study in the hands of one worker.

    Attributes:
        rules: How it searches; for further workers of this call.
        missing: Trials to finish when this worker came.
        only: The algorithm, where there is only one.
    """

    def __init__(
        self,
        storage: StudyStorage,
        rules: Rules,
        tuning: Tuning,
        spaces: Mapping[str, Space],
        attributes: Mapping[str, Any] | None = None,
        cores: int = 1,
    ) -> None:
        """Creates the study, or joins it.

        Args:
            storage: The open storage.
            rules: How to search.
            tuning: What a trial does.
            spaces: Search space per algorithm, in order of name.
            attributes: JSON values to keep with the study.
            cores: Cores of all workers of this machine, >= 1: for the last trials of a batch, when others have ended.

        Raises:
            ConfigurationError: The storage holds a study of this name over other data or rules.
            ToolUnavailable: The storage does not answer.
        """
        self._storage, self._rules, self._tuning, self._spaces = storage, rules, tuning, spaces
        self.only = next(iter(spaces)) if len(spaces) == 1 else ""
        self._past: dict[int, Past] = {}
        self._cores = cores
        self._looked = self._ended = time.monotonic()
        identity = content_key(
            tuning.fingerprint,
            {a: repr(sorted(s.items())) for a, s in spaces.items()},
            (rules.sampler, rules.pruner, rules.batch_size, rules.seed),
            rules.given,
        )
        with self._kept(), storage.alone(rules.name):
            self._study = self._joined(identity)
            for key, value in {_IDENTITY: identity, **(attributes or {})}.items():
                if self._study.user_attrs.get(key) != value:
                    with storage.writing():
                        self._study.set_user_attr(key, value)
            trials = self._trials()
        self._told = {trial.number for trial in trials if trial.state.is_finished()}
        board = Board(trials, rules.batch_size)
        self.missing = rules.n_trials - board.finished
        self.rules = self._rules = rules if rules.forgiven is not None else rules._replace(forgiven=board.failed)

    def work(self, on_end: Callable[[Ended], None] | None = None) -> None:
        """Works until the study has what was asked for, or must stop.

        Args:
            on_end: Called for each trial that ended meanwhile, whichever worker tried it.

        Raises:
            ToolUnavailable: The storage does not answer.
        """
        while True:
            with self._kept():
                trials = self._trials()
            board = Board(trials, self._rules.batch_size)
            self._tell(trials, board, on_end)
            if self._is_over(board):
                return
            with self._kept():
                self._do_something(board)

    def found(self, on_end: Callable[[Ended], None] | None = None) -> Found:
        """What the study found, as soon as no worker is at a trial any more.

        Args:
            on_end: As for `work`.

        Raises:
            ToolUnavailable: The storage does not answer.
        """
        with self._kept():
            while any(t.state.name == "RUNNING" for t in self._trials()):
                if not self._fail_killed(self._trials()):
                    self._wait()
            self._storage.locks.tidy()
            trials = self._trials()
        self._tell(trials, Board(trials, self._rules.batch_size), on_end)
        return found(self._rules.name, self._rules.direction, self._rules.n_trials, trials, self.only)

    def _joined(self, identity: str) -> Any:
        import optuna

        name, storage = self._rules.name, self._storage.optuna
        if name not in optuna.get_all_study_names(storage):
            direction = "maximize" if self._rules.direction == "maximize" else "minimize"
            with self._storage.writing():
                return optuna.create_study(study_name=name, storage=storage, direction=direction)
        study = optuna.load_study(study_name=name, storage=storage)
        known = study.user_attrs.get(_IDENTITY)
        if known != identity and (known is not None or study.get_trials(deepcopy=False)):
            raise ConfigurationError(
                f"study {name} in {self._storage.url} was made over other data, features, search space or settings "
                "than it is asked for now: its trials cannot be compared with new ones. Use another name."
            )
        return study

    def _is_over(self, board: Board) -> bool:
        rules, best = self._rules, any(t.state.name == "COMPLETE" for t in board.settled.values())
        if board.finished >= rules.n_trials:
            return True
        if best and seconds_of(list(board.settled.values())) >= rules.timeout:
            return True
        if not board.is_between_batches:
            return False
        if best:
            return board.failed >= rules.n_trials
        return board.failed - (rules.forgiven or 0) >= min(HOPELESS_TRIALS, rules.n_trials)

    def _do_something(self, board: Board) -> None:
        """Tries a trial; where none waits, lays out what is to be tried; where others are at it, waits for them."""
        waiting = [t for t in board.open.values() if t.state.name == "WAITING"]
        for trial in sorted(waiting, key=lambda t: (-self._cost(t), slot_of(t))):
            if self._claimed(trial):
                self._try(trial, board)
                return
        is_time_to_look = time.monotonic() - self._looked > _LOOK_SECONDS
        if waiting or (board.open and not is_time_to_look) or not self._lay_out():
            self._wait()

    def _wait(self) -> None:
        """Waits for other workers, and says so now and then: one that hangs is not dead, and keeps its trial."""
        if time.monotonic() - self._ended > _SAY_SECONDS:
            self._ended = time.monotonic()
            held = [t.number for t in self._trials() if t.state.name == "RUNNING"]
            _logger.warning(
                "study %s: no trial has ended for %d minutes, and the next batch waits for %d (%s) with other workers. "
                "Where one of these hangs, end its process: its trial is tried again.",
                *(self._rules.name, _SAY_SECONDS / 60, len(held), ", ".join(f"trial {number}" for number in held)),
            )
        time.sleep(_POLL_SECONDS)

    def _cost(self, trial: "FrozenTrial") -> float:
        tried = record(trial, self.only)
        return cost(tried.parameters)

    def _claimed(self, trial: "FrozenTrial") -> bool:
        """Makes the trial this worker's. The lease comes first: a running trial without one is a killed worker's."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        if not self._storage.locks.take(self._rules.name, trial.number):
            return False
        is_ours = False
        try:
            with self._storage.writing():
                is_ours = self._storage.optuna.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            pass  # another worker was faster by a whole trial
        finally:
            if not is_ours:
                self._storage.locks.release(self._rules.name, trial.number)
        return is_ours

    def _try(self, trial: "FrozenTrial", board: Board) -> None:
        """Fits the trial and writes down what came out; gives the lease back whatever happens, so that others go on."""
        try:
            self._end(trial, *self._fitted(trial, board))
        finally:
            self._storage.locks.release(self._rules.name, trial.number)

    def _fitted(self, trial: "FrozenTrial", board: Board) -> tuple[Any, list[float] | None, dict[str, Any]]:
        """State, values and result of a trial."""
        from optuna import TrialPruned
        from optuna.trial import TrialState

        judge = self._before(board).judge(slot_of(trial) or 0)
        tried = record(trial, self.only)

        spare = SpareCores(self._trials, self._cores, self._tuning.threads, _storage_errors())

        def on_step(step: int, value: float) -> int | None:
            if judge.is_hopeless(step, value):
                raise TrialPruned
            return spare.threads()

        values: list[float] | None = None
        try:
            is_incremental = algorithm(tried.algorithm).is_incremental
            fit = self._tuning.fit(tried.algorithm, tried.parameters, on_step if is_incremental else None)
            state, values, result = TrialState.COMPLETE, [fit.value], {"fit": fit.parameters}
            if not math.isfinite(fit.value):
                reason = f"{self._tuning.metric} on validation is not a number"
                state, values, result = TrialState.FAIL, None, {"reason": reason}
        except TrialPruned:
            state, values, result = TrialState.PRUNED, [judge.reports[-1][1]], {}
        except Exception as err:  # whatever a fit raises is that trial's failure, kept with its reason
            state, result = TrialState.FAIL, {"reason": reason_for(err)}
        return state, values, {**result, "reports": judge.reports, "rungs": judge.rungs}

    def _end(self, trial: "FrozenTrial", state: Any, values: list[float] | None, result: Mapping[str, Any]) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            with self._storage.writing():
                self._storage.optuna.set_trial_user_attr(trial._trial_id, RESULT, result)
                self._storage.optuna.set_trial_state_values(trial._trial_id, state, values)
        except UpdateFinishedTrialError:
            pass  # its lease was lost with a connection: somebody took this worker for killed, and tries it again

    def _lay_out(self) -> bool:
        """Fails what killed workers left, and begins the slots that are missing; true where anything was to be done."""
        with self._storage.alone(self._rules.name):
            self._looked = time.monotonic()
            changed = self._fail_killed(self._trials())
            board = Board(self._trials(), self._rules.batch_size)
            if self._is_over(board):
                return True
            for slot, attempt, before in board.lost:
                self._begin(slot, attempt, before)
            missing = board.missing(self._rules.n_trials)
            if missing:
                first = first_slot(board.batch, self._rules.batch_size)
                given = self._rules.given[first:]
                asked = self._before(board).ask(missing[-1] - first + 1, self._rules.seed, given)
                for slot in missing:
                    self._begin(slot, 0, asked[slot - first])
        return bool(changed or board.lost or missing)

    def _begin(self, slot: int, attempt: int, chosen: "FrozenTrial") -> None:
        """Makes a slot's trial, which waits for a worker: whole in one write."""
        import optuna

        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=chosen.params,
            distributions=chosen.distributions,
            user_attrs=attributes_of(slot, self._rules.batch_size, attempt),
        )
        with self._storage.writing():
            self._storage.optuna.create_new_trial(self._study._study_id, trial)

    def _fail_killed(self, trials: Sequence["FrozenTrial"]) -> bool:
        """Fails running trials without a lease. The state is read after the lease was looked for, not before.

        A worker ends its trial before it gives the lease back, so a trial that runs without one has lost its worker.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        name, has_failed = self._rules.name, False
        running = [t for t in trials if t.state == TrialState.RUNNING]
        left = [t for t in running if not self._storage.locks.is_held(name, t.number)]
        for trial in left:
            try:
                if self._storage.optuna.get_trial(trial._trial_id).state == TrialState.RUNNING:
                    with self._storage.writing():
                        self._storage.optuna.set_trial_user_attr(trial._trial_id, RESULT, {"reason": KILLED})
                        self._storage.optuna.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    has_failed = True
            except UpdateFinishedTrialError:
                pass  # another worker failed it first
        return has_failed

    def _before(self, board: Board) -> Past:
        """The batches before the one at work; read once, since they do not change."""
        if board.batch not in self._past:
            rules = self._rules
            trials = board.before(board.batch)
            self._past = {board.batch: Past(trials, self._spaces, rules.direction, rules.sampler, rules.pruner)}
        return self._past[board.batch]

    def _tell(self, trials: Sequence["FrozenTrial"], board: Board, on_end: Callable[[Ended], None] | None) -> None:
        fresh = [t for t in trials if t.state.is_finished() and t.number not in self._told]
        if not fresh:
            return
        self._told |= {trial.number for trial in fresh}
        self._ended = time.monotonic()
        values = [t.value or 0.0 for t in board.settled.values() if t.state.name == "COMPLETE"]
        best = (max if self._rules.direction == "maximize" else min)(values, default=math.nan)
        finished = board.finished - sum(trial.state.name in FINISHED for trial in fresh)
        for trial in sorted(fresh, key=lambda t: t.number):
            finished += trial.state.name in FINISHED
            if on_end is not None and SLOT in trial.user_attrs:
                on_end(Ended(trial, best, finished))

    def _trials(self) -> list["FrozenTrial"]:
        return self._storage.optuna.get_all_trials(self._study._study_id, deepcopy=False)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Translates a storage that stops answering."""
        try:
            yield
        except _storage_errors() as err:
            raise ToolUnavailable(
                f"study {self._rules.name}: the Optuna storage {self._storage.url} stopped answering "
                f"({type(err).__name__}). Check it; the study continues where it stopped."
            ) from err


def _storage_errors() -> tuple[type[Exception], ...]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError, OSError
