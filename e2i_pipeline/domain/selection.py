"""Which algorithm is fitted in the end: the best trial of each, compared by cross-validation.

A study compares trials on one validation split, and of many trials the best is partly the luckiest. The best trials of
several algorithms are therefore compared on folds of train and validation together, never of test. Journeys of one
patient are in one fold, so that no fold is judged on patients that were learned from.

The algorithm with the best mean is chosen. Of equal means that with the better trial, then the first by name. Where
another one is no farther away than the standard error of the differences fold by fold, it is marked as within noise:
the choice between the two rests on chance, and a person may prefer the simpler one (`optuna.algorithms`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.training import AlgorithmScore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike


def patient_folds(patients: "ArrayLike", outcomes: "ArrayLike", count: int, seed: int) -> "np.ndarray":
    """Deals patients out to folds, those with an outcome apart from those without, so that folds are alike.

    Args:
        patients: Patient of each row (rows,), of any type that sorts.
        outcomes: Outcomes (rows,): 0 or 1, or numbers in a regression, of which no kinds are made.
        count: Folds that are wanted, >= 2.
        seed: Seed of the dealing, >= 0.

    Returns:
        Fold of each row (rows,), from 0. There are fewer folds than wanted where fewer patients have an outcome or have
        none: each fold has both kinds. Where there are not two such folds, all rows are in fold 0.
    """
    import numpy as np

    _, place = np.unique(np.asarray(patients), return_inverse=True)
    given = np.asarray(outcomes, dtype=float)
    has_outcome = np.zeros(place.max() + 1, dtype=bool)
    if np.isin(given, (0, 1)).all():
        np.logical_or.at(has_outcome, place, given == 1)
        groups = [np.flatnonzero(has_outcome == kind) for kind in (True, False)]
    else:
        groups = [np.arange(len(has_outcome))]
    used = min(count, *map(len, groups))
    fold = np.zeros(len(has_outcome), dtype=np.int64)
    if used >= 2:
        chance = np.random.default_rng(seed)
        for group in groups:
            fold[chance.permutation(group)] = np.arange(len(group)) % used
    return fold[place]


def compare(
    folds: Mapping[str, Sequence[float]],
    trials: Mapping[str, int],
    best_values: Mapping[str, float],
    *,
    is_maximized: bool,
) -> tuple[AlgorithmScore, ...]:
    """Ranks algorithms by their folds, the chosen one first.

    Args:
        folds: Per algorithm: the metric per fold, in the same order of folds.
        trials: Per algorithm: finished trials of the study.
        best_values: Per algorithm: the best value of a trial on validation.
        is_maximized: Whether larger values of the metric are better.
    """
    import numpy as np

    sign = -1.0 if is_maximized else 1.0
    means = {name: float(np.mean(values)) for name, values in folds.items()}
    ranked = sorted(folds, key=lambda name: (sign * means[name], sign * best_values[name], name))
    chosen = np.asarray(folds[ranked[0]])

    def within_noise(name: str) -> bool:
        differences = np.asarray(folds[name]) - chosen
        error = _sd(differences) / np.sqrt(len(differences))
        return bool(abs(differences.mean()) <= error) or name == ranked[0]

    return tuple(
        AlgorithmScore(
            algorithm=name,
            mean=means[name],
            sd=_sd(folds[name]),
            folds=tuple(map(float, folds[name])),
            trials=trials[name],
            best_value=best_values[name],
            is_chosen=name == ranked[0],
            is_within_noise=within_noise(name),
        )
        for name in ranked
    )


def _sd(values: "ArrayLike") -> float:
    import numpy as np

    given = np.asarray(values, dtype=float)
    return float(given.std(ddof=1)) if len(given) > 1 else 0.0
