"""Compares the best trials of a study's algorithms by cross-validation."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.training import AlgorithmScore
from e2i_pipeline.domain.selection import compare, patient_folds
from e2i_pipeline.domain.tuning import Tuning
from e2i_pipeline.resources.optuna_batches import FINISHED, result_of
from e2i_pipeline.resources.optuna_records import Found

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def compared(
    found: Found,
    tuning: Tuning,
    algorithms: Sequence[str],
    patients: "tuple[ArrayLike, ArrayLike] | None",
    folds: int,
    threads: int,
) -> tuple[AlgorithmScore, ...]:
    """Cross-validates the best completed trial of each algorithm.

    Args:
        found: What the study found.
        tuning: Its data.
        algorithms: Its algorithms.
        patients: Patient of each row of train and of validation; None: each row is one.
        folds: Folds that are wanted.
        threads: Threads of a fit; changes no result.

    Returns:
        The algorithms, the one to be fitted first; empty where only one has a completed trial, or where so few patients
        have an outcome that there are no two folds.
    """
    import numpy as np

    best = {name: trial for name in algorithms if (trial := found.best(name))}
    if len(best) < 2:
        return ()
    outcomes = tuning.outcomes
    whose = np.arange(len(outcomes)) if patients is None else np.concatenate([np.asarray(p) for p in patients])
    fold = patient_folds(whose, outcomes, folds, tuning.seed)
    if fold.max() < 1:
        return ()
    values = {
        name: [tuning.held_out(name, result_of(trial)["fit"], fold == k, threads) for k in range(fold.max() + 1)]
        for name, trial in best.items()
    }
    tried = Counter(record.algorithm for record in found.records if record.state in FINISHED)
    best_values = {name: float(trial.value or 0.0) for name, trial in best.items()}
    return compare(values, tried, best_values, is_maximized=found.is_maximized)
