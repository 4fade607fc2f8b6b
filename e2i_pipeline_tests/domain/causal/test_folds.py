"""Folds that share neither patient nor physician."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2i_pipeline.domain.causal.folds import assign_folds, connected_groups
from e2i_pipeline.errors import CohortTooSmall

SHARES = {"fit": 0.6, "validation": 0.2, "evaluation": 0.2}


def test_rows_are_connected_through_patients_and_physicians() -> None:
    patient = np.array(["a", "a", "b", "c", "d", "e"])
    physician = np.array(["x", "y", "y", "z", None, ""], dtype=object)
    assert connected_groups(patient, physician).tolist() == [0, 0, 0, 1, 2, 3]
    assert connected_groups(patient).tolist() == [0, 0, 1, 2, 3, 4]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_fold_has_anothers_people(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patient, physician = rng.integers(0, 300, 400).astype(str), rng.integers(0, 250, 400).astype(str)
    physician = np.array([f"{p}-{d}" if rng.random() < 0.5 else d for p, d in zip(patient, physician, strict=True)])
    groups = connected_groups(patient, physician)
    if np.bincount(groups).max() > 80:
        return
    fold = assign_folds(groups, SHARES, seed)
    for people in (patient, physician):
        assert all(len(set(fold[people == one])) == 1 for one in set(people))


def test_folds_have_their_shares_whatever_the_order_of_rows() -> None:
    groups = np.random.default_rng(1).integers(0, 500, 4_000)
    fold = assign_folds(groups, SHARES, seed=7)
    names, counts = np.unique(fold, return_counts=True)
    assert dict(zip(names.tolist(), (counts / 4_000).round(2).tolist(), strict=True)) == SHARES
    assert (assign_folds(groups[::-1], SHARES, seed=7)[::-1] == fold).all()
    assert (assign_folds(groups, SHARES, seed=8) != fold).any()


def test_one_group_of_nearly_everybody_is_refused() -> None:
    with pytest.raises(CohortTooSmall, match="the largest of 6 groups of patients and physicians holds 95 of 100 rows"):
        assign_folds(np.array([0] * 95 + [1, 2, 3, 4, 5]), SHARES, seed=1)
