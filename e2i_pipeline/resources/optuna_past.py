"""What is tried next and what is pruned, from completed batches alone, by Optuna's own samplers and pruners.

Both look at a study in memory that holds the trials of completed batches, numbered by slot; nothing that runs at the
same time is in it. How slots follow each other stands in `optuna_batches`.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.domain.learners import STEP
from e2i_pipeline.domain.search_space import Space, Value, suggest
from e2i_pipeline.resources.optuna_batches import FIRST_BATCH, result_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

STARTUP_TRIALS = 10
"""Trials by chance before TPE models them (Optuna's default)."""

STARTUP_COMPLETED = FIRST_BATCH
"""Completed trials before the median pruner compares: those of the first batch (Optuna's default is 5)."""

WARMUP = STEP
"""Work of a trial before it may be pruned: its first report. Optuna's default compares from the first round on, where a
low learning rate looks bad whatever it leads to."""

ALGORITHM = "algorithm"
"""Name of the parameter that chooses among several algorithms."""

_RUNG = "completed_rung"  # what Optuna's successive halving, of which Hyperband is made, writes at a trial


class Past:
    """The completed batches of a study.

    Args:
        trials: Their settled trials, by slot.
        spaces: Search space per algorithm, in order of name.
        direction: `maximize` or `minimize`.
        sampler: Name of the sampler.
        pruner: Name of the pruner.
    """

    def __init__(
        self, trials: Sequence["FrozenTrial"], spaces: Mapping[str, Space], direction: str, sampler: str, pruner: str
    ) -> None:
        self._trials = [_remembered(trial) for trial in trials]
        self._spaces, self._direction, self._sampler, self._pruner = spaces, direction, sampler, pruner
        self._compared: Study | None = None

    def ask(self, count: int, seed: int, given: Sequence[Mapping[str, Value]] = ()) -> list["FrozenTrial"]:
        """The first `count` trials of the next batch; those of a smaller count are the first of a larger one.

        Trials of the same batch know of each other's parameters, so that they differ (`constant_liar`).

        Args:
            count: How many, >= 1.
            seed: Seed of the study, >= 0.
            given: Parameters of the first ones, where they are not to be chosen.

        Returns:
            Running trials of a study in memory: their parameters and distributions count.
        """
        study = self._study(sampler_of(self._sampler, int(content_key(seed, len(self._trials))[:8], 16)))
        for parameters in given:
            study.enqueue_trial(dict(parameters))
        names = list(self._spaces)
        for _ in range(count):
            trial = study.ask()
            name = trial.suggest_categorical(ALGORITHM, names) if len(names) > 1 else names[0]
            suggest(trial, self._spaces[name], f"{name}.")
        return study.get_trials(deepcopy=False)[len(self._trials) :]

    def judge(self, slot: int) -> "Judge":
        """Says of a trial of the next batch whether it is to be pruned."""
        if self._compared is None or self._pruner == "HyperbandPruner":  # which counts trials that it has pruned
            self._compared = self._study(None)
        return Judge(self._compared, pruner_of(self._pruner, self._spaces), slot)

    def _study(self, sampler: "BaseSampler | None") -> "Study":
        import optuna

        study = optuna.create_study(
            study_name="study",  # Hyperband draws a trial's bracket from it, which the real name must not decide
            direction="maximize" if self._direction == "maximize" else "minimize",
            sampler=sampler,
            pruner=pruner_of(self._pruner, self._spaces),
        )
        for trial in self._trials:
            study._storage.create_new_trial(study._study_id, trial)
        return study


class Judge:
    """Compares one trial with completed batches.

    Attributes:
        reports: (boosting rounds, metric) pairs so far.
    """

    def __init__(self, study: "Study", pruner: "BasePruner", slot: int) -> None:
        self._study, self._pruner, self._slot = study, pruner, slot
        self._id = study._storage.create_new_trial(study._study_id)
        self.reports: list[tuple[int, float]] = []

    def is_hopeless(self, step: int, value: float) -> bool:
        """Takes a report, and says whether the trial is to be pruned by the configured rule."""
        self.reports.append((step, value))
        self._study._storage.set_trial_intermediate_value(self._id, step, value)
        trial = copy.copy(self._study._storage.get_trial(self._id))
        trial.number = self._slot
        return self._pruner.prune(self._study, trial)

    @property
    def rungs(self) -> dict[str, float]:
        """What the pruner must know of this trial later on, beside its reports."""
        kept = self._study._storage.get_trial(self._id).system_attrs
        return {name: value for name, value in kept.items() if name.startswith(_RUNG)}


def _remembered(trial: "FrozenTrial") -> "FrozenTrial":
    """A trial as samplers and pruners look at it."""
    result = result_of(trial)
    kept = copy.copy(trial)
    kept.user_attrs = {}
    kept.intermediate_values = dict(result.get("reports", ()))
    kept.system_attrs = dict(result.get("rungs", {}))
    return kept


def sampler_of(name: str, seed: int) -> "BaseSampler":
    """The sampler of this name."""
    import optuna

    if name == "RandomSampler":
        return optuna.samplers.RandomSampler(seed=seed)
    # Grouped, so that each algorithm's parameters are modelled together although no trial has those of two.
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, constant_liar=True
    )


def pruner_of(name: str, spaces: Mapping[str, Space]) -> "BasePruner":
    """The pruner of this name."""
    import optuna

    if name == "HyperbandPruner":
        longest = max((int(getattr(space.get("n_estimators"), "high", 0)) for space in spaces.values()), default=0)
        return optuna.pruners.HyperbandPruner(min_resource=WARMUP, max_resource=max(longest, WARMUP))
    if name == "MedianPruner":
        return optuna.pruners.MedianPruner(n_startup_trials=STARTUP_COMPLETED, n_warmup_steps=WARMUP)
    return optuna.pruners.NopPruner()
