"""Which cells are kept of a feature's values, and how few rows may be told."""

import pytest

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.contracts.statistics import DatasetStatistics, FeatureStatistic
from e2i_pipeline.domain import feature_plots
from e2i_pipeline.domain.feature_statistics import (
    BINS,
    Frequency,
    Summary,
    bins_sql,
    common_values,
    frequency_sql,
    joined_bins,
    nulls_shown,
    rows_behind,
    statistics,
    summary_sql,
)
from e2i_pipeline_tests.domain.test_plots import size_of


def _feature(name: str, kind: str = "numeric") -> FeatureSpec:
    return FeatureSpec(name=name, kind=kind, view="patient_features", source="treatment_events")


def _summary(feature: str, given: int = 100, mean: float = 0.5) -> Summary:
    return Summary(feature, given, 2, mean, 0.5, 0.0, 1.0, [0.0] * 7)


def _one(feature: FeatureSpec, summaries: list[Summary], frequencies: list[Frequency], rows: int) -> FeatureStatistic:
    return statistics("b", "v", "train", rows, [feature], summaries, {}, frequencies).features[0]


def test_small_bins_join_their_neighbours_and_no_row_is_lost() -> None:
    found = joined_bins([0, 1, 2, 3, 4, 5], [5, 7, 0, 30, 3])
    assert found
    assert (found.edges, found.counts) == ((0, 2, 5), (12, 33))
    assert joined_bins([0, 1, 2], [4, 6]) is None


def test_an_empty_stretch_joins_what_follows_it() -> None:
    found = joined_bins([0, 1, 2, 3], [11, 0, 11])
    assert found
    assert (found.edges, found.counts) == ((0, 1, 3), (11, 11))


@pytest.mark.parametrize(
    ("values", "given", "distinct", "kept", "other", "others"),
    [
        ([("a", 40), ("b", 20)], 60, 2, {"a": 40, "b": 20}, 0, 0),
        ([("a", 40), ("b", 9), ("c", 8)], 57, 3, {"a": 40}, 17, 2),
        ([("a", 40), ("b", 20), ("c", 3)], 63, 3, {"a": 40}, 23, 2),
        ([("a", 40), ("b", 20)], 99, 30, {"a": 40, "b": 20}, 39, 28),
        ([("a", 12), ("b", 1)], 13, 2, {}, 13, 2),
    ],
)
def test_rare_values_are_one_cell_that_is_large_enough_itself(
    values: list[tuple[str, int]], given: int, distinct: int, kept: dict[str, int], other: int, others: int
) -> None:
    found = common_values(values, given, distinct)
    assert found
    assert (found.values, found.other, found.other_values) == (kept, other, others)


def test_too_few_values_have_no_histogram_nor_moments() -> None:
    assert common_values([("a", 10)], 10, 1) is None
    few = _one(_feature("x"), [_summary("x", given=10)], [], 300)
    assert (few.mean, few.min, few.quantiles, few.histogram) == (None, None, None, None)
    assert few.unique_count == 2


def test_the_mean_of_a_boolean_does_not_tell_how_few_are_true() -> None:
    rare = _one(_feature("x", "boolean"), [_summary("x", given=300, mean=3 / 300)], [], 300)
    assert rare.mean is None
    assert rare.histogram
    assert (rare.histogram.values, rare.histogram.other) == ({}, 300)
    usual = _one(_feature("x", "boolean"), [_summary("x", given=300, mean=0.25)], [], 300)
    assert usual.mean == 0.25
    assert usual.histogram
    assert usual.histogram.values == {"false": 225, "true": 75}


def test_a_feature_without_any_value_is_all_null_and_told_so() -> None:
    features = [_feature("empty"), _feature("none", "categorical"), _feature("given", "categorical")]
    found = statistics("b", "v", "train", 50, features, [], {}, [Frequency("given", "a", 50, 50, 1)])
    assert found.empty == ("empty", "none")
    assert found.constant == ("given",)
    assert [f.null_rate for f in found.features] == [1.0, 1.0, 0.0]
    assert found.features[0].entity == "patient_id"


@pytest.mark.parametrize(
    ("nulls", "told"),
    [(0, "0.0%"), (5, "under 11 rows"), (50, "25.0%"), (195, "all but under 11 rows"), (200, "100.0%")],
)
def test_few_nulls_are_not_told_exactly(nulls: int, told: str) -> None:
    given = Frequency("x", "a", 200 - nulls, 200 - nulls, 1)
    found = _one(_feature("x", "categorical"), [], [given] if nulls < 200 else [], 200)
    assert nulls_shown(found.null_rate, 200) == told
    if found.histogram:
        assert rows_behind(found.model_dump()) == 200


def test_without_a_feature_of_a_kind_there_is_nothing_to_ask() -> None:
    assert summary_sql("t", [_feature("x", "categorical")]) == ""
    assert frequency_sql("t", [_feature("x")]) == ""
    assert bins_sql("t", [_summary("x")._replace(high=0.0)]) == ""


def test_one_picture_shows_every_kind() -> None:
    features = [_feature("number"), _feature("flag", "boolean"), _feature("text", "categorical"), _feature("empty")]
    bins = {("number", each): 10 * each for each in range(BINS)}
    found = statistics(
        *("b", "v", "train", 1900),
        features,
        [_summary("number", 1900), _summary("flag", 1900)],
        bins,
        [Frequency("text", "a rather long name of a value", 1900, 1900, 1)],
    )
    assert size_of(feature_plots.distributions(found)) == (1100, 190)
    many = DatasetStatistics(**{**dict(found), "features": found.features * 30})
    assert size_of(feature_plots.distributions(many))[0] == 1100
