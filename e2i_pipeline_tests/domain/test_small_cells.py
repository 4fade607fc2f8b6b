"""Which groups' counts are not told: few on either side, and whatever a subtraction would give away."""

from e2i_pipeline.domain.small_cells import untold


def test_groups_with_few_on_either_side_are_not_told() -> None:
    assert untold([(50, 50), (10, 90), (90, 10), (11, 11)]) == {1, 2}
    assert untold([(50, 50), (11, 11)]) == set()


def test_a_lone_one_takes_the_smallest_other_with_it() -> None:
    """From the total and all others it would be found by subtraction."""
    assert untold([(500, 500), (3, 97), (40, 60), (30, 200)]) == {1, 3}
    assert untold([(500, 500), (3, 97), (8, 92)]) == {1, 2}, "two hide each other: 11 in sum"
    assert untold([(500, 500), (3, 97), (5, 92)]) == {0, 1, 2}


def test_groups_that_were_left_out_are_hidden_too() -> None:
    assert untold([(500, 500), (30, 70)], left_out=(2, 8)) == {1}
    assert untold([(500, 500), (30, 70)], left_out=(12, 30)) == set()
    assert untold([(3, 4)]) == {0}
    assert untold([]) == set()
