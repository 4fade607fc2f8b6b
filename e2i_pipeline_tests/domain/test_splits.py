"""Cut dates and assignment: shares, gaps, patients, open outcomes, and what is too small."""

from datetime import date

import numpy as np
import pytest

from e2i_pipeline.contracts.references import SplitCuts
from e2i_pipeline.domain.splits import NO_HOLDOUT, adopt, assign, compute_cuts, label_overlap
from e2i_pipeline.errors import CohortTooSmall

SHARES = (0.60, 0.20, 0.15, 0.05)
CUTS = SplitCuts(
    version=1,
    train_end=date(2020, 6, 1),
    validation_end=date(2020, 8, 1),
    test_end=date(2020, 10, 1),
    gap_days=7,
)


def days(*iso: str) -> np.ndarray:
    return np.array(iso, dtype="datetime64[D]")


def run_of_days(count: int) -> np.ndarray:
    return np.datetime64("2020-01-01") + np.arange(count)


def split_of(*iso: str, patients: list[str] | None = None, mature: list[bool] | None = None) -> list[str]:
    ids = np.array(patients or [f"p{n}" for n in range(len(iso))], dtype=object)
    return assign(days(*iso), ids, np.array(mature or [True] * len(iso)), CUTS).tolist()


def test_cuts_lie_at_the_shares() -> None:
    cuts = compute_cuts(run_of_days(1000)[::-1], SHARES, gap_days=7, version=3)
    assert cuts == SplitCuts(
        version=3,
        train_end=date.fromordinal(date(2020, 1, 1).toordinal() + 600),
        validation_end=date.fromordinal(date(2020, 1, 1).toordinal() + 800),
        test_end=date.fromordinal(date(2020, 1, 1).toordinal() + 950),
        gap_days=7,
    )


def test_cut_does_not_divide_a_date() -> None:
    crowded = np.concatenate([run_of_days(100), np.repeat(np.datetime64("2020-03-01"), 100)])  # day 60 holds 101
    cuts = compute_cuts(crowded, SHARES, gap_days=0, version=1)
    # 120 of 200 were wanted in train; before day 60 there are 60, before day 61 161: 161 is nearer
    assert cuts.train_end == date(2020, 3, 2)


def test_without_holdout_everything_after_validation_is_test() -> None:
    index_dates = run_of_days(100)
    cuts = compute_cuts(index_dates, (0.6, 0.2, 0.2, 0.0), gap_days=0, version=1)
    assert cuts.test_end == NO_HOLDOUT
    split = assign(index_dates, np.arange(100).astype(object), np.ones(100, dtype=bool), cuts)
    assert {s: int((split == s).sum()) for s in np.unique(split)} == {"train": 60, "validation": 20, "test": 20}


@pytest.mark.parametrize("count", [0, 1, 500])
def test_one_date_is_too_small(count: int) -> None:
    with pytest.raises(CohortTooSmall, match=rf"{count} journeys .* lie on {min(count, 1)} index date"):
        compute_cuts(np.repeat(days("2020-01-01"), count), SHARES, gap_days=7, version=1)


def test_gap_that_swallows_a_split_is_refused_with_counts() -> None:
    with pytest.raises(CohortTooSmall, match=r"gap of 180 days .* train 60, validation 0.*splits\.gap_days"):
        compute_cuts(run_of_days(100), SHARES, gap_days=180, version=1)


def test_fewest_dates_that_can_be_split() -> None:
    cuts = compute_cuts(run_of_days(4), SHARES, gap_days=0, version=1)
    split = assign(run_of_days(4), np.array(list("abcd"), dtype=object), np.ones(4, dtype=bool), cuts)
    assert split.tolist() == ["train", "validation", "test", "holdout"]


def test_gap_begins_at_the_cut_and_ends_before_its_last_day() -> None:
    assert split_of("2020-05-31", "2020-06-01", "2020-06-07", "2020-06-08") == [
        "train",
        "unassigned",
        "unassigned",
        "validation",
    ]


def test_each_split_by_date() -> None:
    assert split_of("1911-01-01", "2020-07-31", "2020-08-08", "2020-09-30", "2020-10-08") == [
        "train",
        "validation",
        "test",
        "test",
        "holdout",
    ]


def test_patient_of_two_splits_is_set_aside_altogether() -> None:
    found = split_of("2020-01-01", "2020-02-01", "2020-09-01", "2020-01-01", patients=["both", "both", "both", "one"])
    assert found == ["unassigned", "unassigned", "unassigned", "train"]


def test_open_outcome_and_gap_do_not_count_as_a_second_split() -> None:
    found = split_of(
        "2020-01-01",
        "2020-12-01",
        "2020-06-02",
        patients=["a", "a", "a"],
        mature=[True, False, True],
    )
    assert found == ["train", "unassigned", "unassigned"]


def test_journey_without_a_date_is_unassigned() -> None:
    assert split_of("NaT", "2020-01-01") == ["unassigned", "train"]


def test_added_rows_move_nobody() -> None:
    rng = np.random.default_rng(5)
    index_dates = np.datetime64("2018-01-01") + rng.integers(0, 900, 2000)
    patients = np.arange(2000).astype(object)
    cuts = compute_cuts(index_dates[:1000], SHARES, gap_days=7, version=1)
    before = assign(index_dates[:1000], patients[:1000], np.ones(1000, dtype=bool), cuts)
    after = assign(index_dates, patients, np.ones(2000, dtype=bool), cuts)
    assert (after[:1000] == before).all()
    assert set(after) == {"train", "validation", "test", "holdout", "unassigned"}


def test_label_overlap_counts_training_labels_that_mature_in_validation() -> None:
    index_dates = days("2020-05-09", "2020-05-10", "2020-05-31", "2020-06-08")
    split = np.array(["train", "train", "train", "validation"])
    # validation begins on 2020-06-08: with a horizon of 30 days the label of 2020-05-09 is known on that day
    assert label_overlap(index_dates, split, 30, CUTS) == 2
    assert label_overlap(index_dates, split, 30, CUTS, gap_days=0) == 3
    assert label_overlap(index_dates, split, 8, CUTS) == 0


def test_half_a_million_journeys_of_repeated_patients() -> None:
    rng = np.random.default_rng(3)
    index_dates = np.datetime64("2010-01-01") + rng.integers(0, 3000, 500_000)
    patients = rng.integers(0, 450_000, 500_000).astype(str).astype(object)
    cuts = compute_cuts(index_dates, SHARES, gap_days=7, version=1)
    split = assign(index_dates, patients, np.ones(500_000, dtype=bool), cuts)
    for earlier, later in (("train", "validation"), ("validation", "test"), ("test", "holdout")):
        assert index_dates[split == earlier].max() < index_dates[split == later].min()
        assert not set(patients[split == earlier]) & set(patients[split == later])


def test_adopted_splits_are_those_of_the_source_where_the_outcome_is_mature() -> None:
    incoming = np.array(["train", "test", "holdout", "elsewhere", None, "train"], dtype=object)
    is_mature = np.array([True, True, True, True, True, False])

    assert adopt(incoming, is_mature).tolist() == [
        "train", "test", "holdout", "unassigned", "unassigned", "unassigned",
    ]  # fmt: skip
