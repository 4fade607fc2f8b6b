"""AUTOC and Qini: against their definition by brute force, against EconML, and their errors against resampling."""

from typing import get_args

import numpy as np
import pytest
from econml.validate.utils import calc_uplift
from hypothesis import given, settings
from hypothesis import strategies as st

from e2i_pipeline.domain.causal.ranking import Kind, rank_weighted_effect, targeting_curve

KINDS: tuple[Kind, ...] = get_args(Kind)


def by_definition(scores: np.ndarray, priorities: np.ndarray, kind: Kind) -> float:
    """The mean over shares j/n of TOC or share times TOC, over all orders of ties in expectation."""
    rows = len(scores)
    tied = np.array([scores[priorities == p].mean() for p in priorities])
    ordered = tied[np.argsort(-priorities, kind="stable")]
    toc = np.array([ordered[:j].mean() - scores.mean() for j in range(1, rows + 1)])
    share = np.arange(1, rows + 1) / rows
    return float(np.mean(toc if kind == "autoc" else share * toc))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=2, max_size=30), st.sampled_from(KINDS))
def test_the_value_is_the_definitions(rows: list[tuple[float, int]], kind: Kind) -> None:
    scores, priorities = (np.array(column, float) for column in zip(*rows, strict=True))
    found = rank_weighted_effect(scores, priorities, kind)
    assert found.value == pytest.approx(by_definition(scores, priorities, kind), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_priority_ranks_nothing(kind: Kind) -> None:
    assert rank_weighted_effect(np.random.default_rng(0).normal(size=50), np.ones(50), kind).value == pytest.approx(0)


@pytest.mark.parametrize(("kind", "name"), [("autoc", "toc"), ("qini", "qini")])
def test_the_value_is_near_econmls_on_a_fine_grid(kind: Kind, name: str) -> None:
    rng = np.random.default_rng(3)
    priorities = rng.normal(size=20_000)
    scores = priorities + rng.normal(size=20_000)
    theirs, _, _ = calc_uplift(
        priorities[:, None], priorities[:, None], scores[:, None], np.linspace(0.05, 99.95, 1000), name, n_bootstrap=2
    )
    assert rank_weighted_effect(scores, priorities, kind).value == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_is_that_of_repeated_samples(kind: Kind) -> None:
    def drawn(seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        priorities = rng.normal(size=400)
        found = rank_weighted_effect(2 + priorities + rng.normal(size=400), priorities, kind)
        return found.value, found.standard_error

    values, errors = np.array([drawn(seed) for seed in range(400)]).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.12)


def test_rows_of_one_group_do_not_sharpen_the_error() -> None:
    rng = np.random.default_rng(5)
    priorities = rng.normal(size=300)
    scores = priorities + rng.normal(size=300)
    once = rank_weighted_effect(scores, priorities, "qini")
    copied = rank_weighted_effect(np.repeat(scores, 4), np.repeat(priorities, 4), "qini", np.repeat(np.arange(300), 4))
    assert copied.standard_error == pytest.approx(once.standard_error, rel=0.02)
    assert copied.groups == 300


def test_the_curve_ends_at_nothing_and_falls_where_the_ranking_is_right() -> None:
    rng = np.random.default_rng(6)
    priorities = rng.normal(size=5_000)
    curve = targeting_curve(priorities + rng.normal(size=5_000), priorities, points=10)
    assert curve.share == pytest.approx(np.linspace(0.1, 1, 10))
    assert curve.gain[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(curve.gain) < 0).all()
    assert curve.gain[0] == pytest.approx(1.755, abs=0.1)  # mean of the highest tenth of a standard normal
    assert (curve.low <= curve.gain).all()
    assert (curve.gain <= curve.high).all()
    assert curve.high[-1] - curve.low[-1] == pytest.approx(0, abs=1e-9)
