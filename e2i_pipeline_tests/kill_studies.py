"""Kills workers of one study at moments drawn by chance, until it has seen enough of them, and lets it end.

    python -m e2i_pipeline_tests.kill_studies --kills 20 --workers 1 --seed 7 --storage journal:///tmp/kills/journal.log

Each worker is a process of its own that calls the study as the product does, so that any of them may lay out a batch,
take a trial, or find what another one has left. They are forked from a process that has the tools imported and does
nothing else.
"""

import argparse
import multiprocessing
import random
import sys
import time
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import optuna
import sklearn.compose
import sklearn.impute
import sklearn.linear_model  # noqa: F401
import sqlalchemy  # noqa: F401
import xgboost  # noqa: F401

from e2i_pipeline.resources import optuna_importances, optuna_selection, optuna_study, optuna_workers  # noqa: F401
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.optuna_records import StudyOutcome
from e2i_pipeline.resources.optuna_storage import StudyStorage, open_storage
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

TRIALS = 80
MOST_TRIALS, LONGEST_WAIT_S = 3, 0.15
"""Between two kills: so many trials that end, and then so long: a trial or two, or the laying out of a batch."""

NAME = "study"
SPACE: dict[str, dict[str, Any]] = {
    "xgboost": {
        "n_estimators": {"low": 20, "high": 160},
        "max_depth": [2, 6],
        "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
        "subsample": [0.5, 1.0],
    },
    "logistic_regression": {"C": {"low": 1.0e-4, "high": 100.0, "log": True}},
}
_SECONDS = 120  # only what hangs gets there


class Survived(NamedTuple):
    """A study that was killed and ended.

    Attributes:
        outcome: What it found.
        struck: Kills that met a worker alive.
        running: Trials that are still running, in the storage.
        lost: Trials that were lost by kills.
        finished: Finished trials in the storage.
    """

    outcome: StudyOutcome
    struck: int
    running: int
    lost: int
    finished: int


def run(url: str, trials: int = TRIALS) -> StudyOutcome:
    """Runs the study, or what is missing of it, with one worker."""
    return OptunaResource(storage=url, n_trials=trials, n_jobs=1).optimize(
        NAME,
        list(SPACE),
        SPACE,
        modelling_rows(600, seed=1),
        modelling_rows(300, seed=2),
        FEATURES,
        metric="auc",
        direction="maximize",
        seed=3,
        early_stopping_rounds=15,
    )


def search(outcome: StudyOutcome) -> list[tuple[Any, ...]]:
    """What was tried and found, by slot: no kill and no number of workers may change it."""
    return [(t.slot, t.state, t.value, t.algorithm, t.parameters) for t in outcome.history if t.state != "FAIL"]


def kill(url: str, kills: int, workers: int, seed: int) -> Survived:
    """Keeps so many workers at a study, kills one of them at a time, and ends it in this process.

    Args:
        url: Storage of the study.
        kills: How many workers to kill, unless the study ends before.
        workers: How many are at work at once.
        seed: Seed of the moments, and of who is killed.
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["e2i_pipeline_tests.kill_studies"])
    first = forks.Process(target=int)
    first.start()
    first.join(_SECONDS)  # so that no moment falls into the imports
    chance = random.Random(seed)  # noqa: S311 - no secret
    working: list[BaseProcess] = []
    struck = 0
    with open_storage(url) as storage:
        try:
            while struck < kills and not any(w.exitcode == 0 for w in working):
                working = [w for w in working if w.is_alive()]
                while len(working) < workers:
                    working.append(forks.Process(target=run, args=(url,)))
                    working[-1].start()
                _await(storage, _ended(storage) + chance.randint(0, MOST_TRIALS), working)
                time.sleep(chance.uniform(0, LONGEST_WAIT_S))  # the moment, drawn by chance
                victim = chance.choice(working)
                victim.kill()
                victim.join(_SECONDS)
                struck += victim.exitcode != 0
        finally:
            for worker in working:
                worker.kill()
                worker.join()
        outcome = run(url)
        states = [trial.state.name for trial in _trials(storage)]
    finished = states.count("COMPLETE") + states.count("PRUNED")
    return Survived(outcome, struck, states.count("RUNNING"), states.count("FAIL"), finished)


def _await(storage: StudyStorage, ended: int, working: list[BaseProcess]) -> None:
    """Waits until so many trials have ended, or a worker has."""
    deadline = time.monotonic() + _SECONDS
    while _ended(storage) < ended and all(w.is_alive() for w in working):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ended} trials had not ended after {_SECONDS} s")
        time.sleep(0.01)


def _ended(storage: StudyStorage) -> int:
    return sum(trial.state.is_finished() for trial in _trials(storage))


def _trials(storage: StudyStorage) -> "list[optuna.trial.FrozenTrial]":
    if NAME not in optuna.get_all_study_names(storage.optuna):
        return []
    return optuna.load_study(study_name=NAME, storage=storage.optuna).get_trials(deepcopy=False)


def main() -> int:
    """Says what came of it.

    Returns:
        0 where the study ended as an undisturbed one does.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--undisturbed", required=True, help="another storage, for the study that nobody disturbs")
    options = parser.parse_args()
    whole = run(options.undisturbed)
    survived = kill(options.storage, options.kills, options.workers, options.seed)
    same = search(survived.outcome) == search(whole) and survived.outcome.best_value == whole.best_value
    sys.stdout.write(
        f"{survived.struck} kills, {survived.finished} finished trials of {TRIALS}, {survived.lost} lost by kills, "
        f"{survived.running} running, {'the same' if same else 'ANOTHER'} study\n"
    )
    return int(not same or survived.running > 0 or survived.finished != TRIALS)


if __name__ == "__main__":
    sys.exit(main())
