"""Encoding: what becomes of each kind of value, seen and unseen."""

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.encoding import (
    MAXIMUM_CATEGORIES,
    checked_outcomes,
    code_columns,
    encode,
    encoded_columns,
    fit_encoder,
    known_categories,
    raw_features,
)
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows


def _spec(name: str, kind: str) -> FeatureSpec:
    return FeatureSpec(name=name, kind=kind, view="v")


TWO = (_spec("age", "numeric"), _spec("region", "categorical"))
TRAIN = pd.DataFrame({"age": [10.0, np.nan, 30.0], "region": ["south", None, "west"]})


def test_numbers_keep_their_nulls_for_an_algorithm_that_takes_them() -> None:
    encoder = fit_encoder(TRAIN, TWO, takes_nulls=True)

    matrix = encode(encoder, TRAIN, TWO)

    assert matrix.dtype == np.float32
    assert encoded_columns(encoder) == (("age", "age"), ("region=south", "region"), ("region=west", "region"))
    np.testing.assert_array_equal(matrix, [[10, 1, 0], [np.nan, 0, 0], [30, 0, 1]])


def test_nulls_become_the_median_with_an_indicator_for_one_that_does_not() -> None:
    encoder = fit_encoder(TRAIN, TWO, takes_nulls=False)

    matrix = encode(encoder, TRAIN, TWO)

    names = [name for name, _ in encoded_columns(encoder)]
    assert names == ["age", "age=missing", "region=south", "region=west"]
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix[:, 0], [-np.sqrt(1.5), 0, np.sqrt(1.5)], rtol=1e-6)
    assert matrix[1, 1] > 0 > matrix[0, 1]


@pytest.mark.parametrize("takes_nulls", [True, False])
def test_an_unknown_or_missing_category_is_zero_everywhere(takes_nulls: bool) -> None:
    encoder = fit_encoder(TRAIN, TWO, takes_nulls=takes_nulls)

    rows = pd.DataFrame({"age": [1.0] * 4, "region": ["mars", None, np.nan, "south"]})
    matrix = encode(encoder, rows, TWO)

    np.testing.assert_array_equal(matrix[:, -2:], [[0, 0], [0, 0], [0, 0], [1, 0]])


def test_each_encoded_column_maps_to_its_feature_and_every_feature_has_one() -> None:
    frame, _ = modelling_rows(200, seed=1)
    for takes_nulls in (True, False):
        encoder = fit_encoder(frame, FEATURES, takes_nulls=takes_nulls)
        columns = encoded_columns(encoder)
        assert len(columns) == encode(encoder, frame, FEATURES).shape[1] == len({name for name, _ in columns})
        assert {feature for _, feature in columns} == {f.name for f in FEATURES}


def test_the_most_frequent_categories_get_a_column() -> None:
    values = [f"code{i:03d}" for i in range(80)] + [f"code{i:03d}" for i in range(40, 80)]
    feature = (_spec("code", "categorical"),)

    encoder = fit_encoder(pd.DataFrame({"code": values}), feature, takes_nulls=True)

    known = known_categories(encoder, feature)["code"]
    assert len(known) == MAXIMUM_CATEGORIES
    assert {f"code{i:03d}" for i in range(40, 80)} <= set(known)
    assert list(known) == sorted(known)


def test_a_feature_that_is_null_throughout_train_does_no_harm() -> None:
    frame = TRAIN.assign(region=None, dose=np.nan)
    features = (*TWO, _spec("dose", "numeric"))

    for takes_nulls in (True, False):
        encoder = fit_encoder(frame, features, takes_nulls=takes_nulls)
        assert known_categories(encoder, features) == {"region": ()}
        assert encode(encoder, frame.assign(region="south", dose=3.0), features).shape[0] == 3


@pytest.mark.parametrize(
    "column", [pd.array([1, None, 0], dtype="Int64"), pd.array([True, None, False], dtype="boolean"), [1, None, 0]]
)
def test_integers_booleans_and_objects_become_numbers_with_nan(column: object) -> None:
    raw = raw_features(pd.DataFrame({"x": column}), [_spec("x", "boolean")])

    np.testing.assert_array_equal(raw["x"].to_numpy(), [1.0, np.nan, 0.0])


def test_a_category_that_is_no_text_is_known_by_its_text() -> None:
    feature = (_spec("tier", "categorical"),)
    encoder = fit_encoder(pd.DataFrame({"tier": [1, 2, 2]}), feature, takes_nulls=True)

    assert known_categories(encoder, feature) == {"tier": ("1", "2")}
    np.testing.assert_array_equal(encode(encoder, pd.DataFrame({"tier": ["2"]}), feature), [[0, 1]])


def test_the_index_and_the_order_of_columns_do_not_matter() -> None:
    frame, _ = modelling_rows(50, seed=2)
    encoder = fit_encoder(frame, FEATURES, takes_nulls=True)

    shuffled = frame[list(frame.columns[::-1])].assign(other="x").set_axis([7] * 50)

    np.testing.assert_array_equal(encode(encoder, shuffled, FEATURES), encode(encoder, frame, FEATURES))


def test_a_missing_column_is_named() -> None:
    encoder = fit_encoder(TRAIN, TWO, takes_nulls=True)
    with pytest.raises(SourceError, match=r"1 of the model's 2 features are missing.*: region\."):
        encode(encoder, TRAIN[["age"]], TWO)


def test_text_in_a_number_is_named_without_its_value() -> None:
    with pytest.raises(SourceError, match="feature age: numbers") as caught:
        raw_features(pd.DataFrame({"age": ["forty-two"], "region": ["x"]}), TWO)
    assert "forty-two" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_an_infinite_number_is_refused_with_its_count(value: float) -> None:
    with pytest.raises(SourceError, match=r"of 2 rows: age 1\. Make them null"):
        raw_features(pd.DataFrame({"age": [value, 1.0], "region": [None, None]}), TWO)


def test_no_feature_and_a_feature_twice_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one feature"):
        fit_encoder(TRAIN, (), takes_nulls=True)
    with pytest.raises(ConfigurationError, match="each once"):
        fit_encoder(TRAIN, (TWO[0], TWO[0]), takes_nulls=True)


def test_nothing_but_nulls_is_refused() -> None:
    with pytest.raises(SourceError, match="nothing to learn from"):
        fit_encoder(TRAIN.assign(region=None), TWO[1:], takes_nulls=True)


def test_an_outcome_must_be_0_or_1() -> None:
    assert checked_outcomes(pd.Series([0, 1])).dtype == np.float32
    with pytest.raises(SourceError, match="2 of 4 outcomes"):
        checked_outcomes([0.0, 1.0, np.nan, 2.0])


def test_categories_become_codes_for_who_takes_them_and_null_where_missing_or_unknown() -> None:
    encoder = fit_encoder(TRAIN, TWO, takes_nulls=True, takes_categories=True)

    columns, known = encoded_columns(encoder), known_categories(encoder, TWO)["region"]
    assert columns[-1] == ("region", "region")
    assert code_columns(encoder) == (len(columns) - 1,)
    rows = pd.DataFrame({"age": 1.0, "region": [*known, "unseen", None]})
    codes = encode(encoder, rows, TWO)[:, -1]
    assert codes[: len(known)].tolist() == list(range(len(known)))
    assert np.isnan(codes[len(known) :]).all()
    assert code_columns(fit_encoder(TRAIN, TWO, takes_nulls=True)) == ()
