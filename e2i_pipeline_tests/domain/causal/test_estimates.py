"""Averages: their errors where rows depend on each other."""

import math

import numpy as np
import pytest

from e2i_pipeline.domain.causal.estimates import average


def test_independent_rows_have_the_textbook_error() -> None:
    values = np.random.default_rng(0).normal(2, 3, 500)
    found = average(values)
    assert found.value == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(500))
    assert (found.rows, found.groups) == (500, 500)


def test_a_row_that_is_there_ten_times_counts_once() -> None:
    values = np.random.default_rng(1).normal(0, 1, 60)
    once = average(values)
    tenfold = average(np.repeat(values, 10), np.repeat(np.arange(60), 10))
    assert tenfold.standard_error == pytest.approx(once.standard_error)
    assert (tenfold.rows, tenfold.groups) == (600, 60)


def test_an_interval_says_whether_it_excludes_zero() -> None:
    assert average(np.array([1.0, 1.1, 0.9, 1.0])).excludes_zero
    assert not average(np.array([1.0, -1.1, 0.9, -1.0])).excludes_zero


def test_one_group_has_no_error() -> None:
    found = average(np.array([1.0, 2.0]), np.array([0, 0]))
    assert math.isnan(found.standard_error)
    assert not found.excludes_zero


def test_no_rows_and_other_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        average(np.array([]))
    with pytest.raises(ValueError, match="2 groups for 3 rows"):
        average(np.zeros(3), np.array([0, 1]))
