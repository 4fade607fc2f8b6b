"""Which algorithm cross-validation prefers, and who is in which fold."""

import numpy as np
import pytest

from e2i_pipeline.domain.selection import compare, patient_folds


def test_the_rows_of_a_patient_are_in_one_fold_and_each_fold_has_both_kinds() -> None:
    rng = np.random.default_rng(1)
    patients = rng.integers(0, 60, 300).astype(str)
    outcomes = (rng.random(300) < 0.1).astype(int)

    folds = patient_folds(patients, outcomes, 5, seed=3)

    assert set(folds) == set(range(5))
    assert all(len(set(folds[patients == patient])) == 1 for patient in set(patients))
    assert all(0 < outcomes[folds == fold].mean() < 1 for fold in range(5))
    assert max(np.bincount(folds)) < 2 * min(np.bincount(folds))


def test_folds_are_dealt_by_seed_and_not_by_the_order_of_rows() -> None:
    patients, outcomes = np.repeat(np.arange(40), 2), np.tile([0, 1, 0, 0], 20)
    turned = np.arange(80)[::-1]

    folds = patient_folds(patients, outcomes, 4, seed=1)

    assert (patient_folds(patients[turned], outcomes[turned], 4, seed=1) == folds[turned]).all()
    assert (patient_folds(patients, outcomes, 4, seed=2) != folds).any()


@pytest.mark.parametrize(("positives", "expected"), [(3, 3), (1, 1), (0, 1)])
def test_there_are_no_more_folds_than_patients_of_either_kind(positives: int, expected: int) -> None:
    outcomes = np.array([1] * positives + [0] * (20 - positives))
    assert len(set(patient_folds(np.arange(20), outcomes, 5, seed=1))) == expected


def test_numbers_are_dealt_without_kinds() -> None:
    folds = patient_folds(np.arange(20), np.linspace(3.0, 9.0, 20), 5, seed=1)
    assert list(np.bincount(folds)) == [4] * 5


TRIALS, BEST = {"a": 5, "b": 7}, {"a": 0.70, "b": 0.71}


def test_the_better_mean_is_chosen_in_either_direction() -> None:
    folds = {"a": [0.8, 0.9], "b": [0.6, 0.7]}

    first, second = compare(folds, TRIALS, BEST, is_maximized=True)
    assert (first.algorithm, first.is_chosen, first.trials, first.best_value) == ("a", True, 5, 0.70)
    assert (first.mean, first.sd) == (pytest.approx(0.85), pytest.approx(0.0707, abs=1e-4))
    assert (second.algorithm, second.is_chosen, second.folds) == ("b", False, (0.6, 0.7))
    assert compare(folds, TRIALS, BEST, is_maximized=False)[0].algorithm == "b"


def test_of_equal_means_the_better_trial_decides() -> None:
    folds = {"a": [0.6, 0.8], "b": [0.8, 0.6]}
    assert compare(folds, TRIALS, BEST, is_maximized=True)[0].algorithm == "b"
    assert compare(folds, TRIALS, BEST, is_maximized=False)[0].algorithm == "a"


def test_what_no_fold_agrees_on_is_within_noise() -> None:
    close = compare({"a": [0.70, 0.80, 0.75], "b": [0.72, 0.77, 0.745]}, TRIALS, BEST, is_maximized=True)
    clear = compare({"a": [0.70, 0.80, 0.75], "b": [0.68, 0.79, 0.73]}, TRIALS, BEST, is_maximized=True)

    assert [score.is_within_noise for score in close] == [True, True]
    assert [score.is_within_noise for score in clear] == [True, False]
