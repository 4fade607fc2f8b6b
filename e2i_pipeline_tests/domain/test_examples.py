"""Made-up rows: of the data's range and types, spread over it, the same each time, and no patient's."""

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.domain.examples import example_rows
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return modelling_rows(500, seed=3)[0]


def test_rows_have_the_features_in_order_and_their_raw_types(frame: pd.DataFrame) -> None:
    made = example_rows(frame, FEATURES, 8)

    assert list(made.columns) == [feature.name for feature in FEATURES]
    assert len(made) == 8
    for feature in FEATURES:
        assert made[feature.name].dtype == (object if feature.kind == "categorical" else np.float64)


def test_the_last_row_is_null_throughout_and_no_other(frame: pd.DataFrame) -> None:
    made = example_rows(frame, FEATURES)

    assert made.isna().to_numpy().sum(axis=1).tolist() == [0] * 7 + [len(FEATURES)]
    assert made["region"].iloc[-1] is None


def test_values_lie_within_the_data(frame: pd.DataFrame) -> None:
    made = example_rows(frame, FEATURES).iloc[:-1]

    for name in ("severity", "age", "noise"):
        assert made[name].between(frame[name].min() - 0.5, frame[name].max() + 0.5).all()
        assert made[name].nunique() == 7
    assert set(made["region"]) == {"south", "west", "<east>"}
    assert set(made["is_academic"]) == {0.0, 1.0}


def test_numbers_are_rounded_to_three_digits_so_that_none_is_copied(frame: pd.DataFrame) -> None:
    made = example_rows(frame, FEATURES)["severity"].dropna()

    assert made.tolist() == [float(f"{value:.3g}") for value in made]
    assert not set(made) & set(frame["severity"])


def test_every_second_feature_runs_backwards(frame: pd.DataFrame) -> None:
    made = example_rows(frame, FEATURES).iloc[:-1]

    assert made["severity"].is_monotonic_increasing
    assert made["age"].is_monotonic_decreasing


def test_the_same_data_gives_the_same_rows_in_any_order(frame: pd.DataFrame) -> None:
    shuffled = frame.sample(frac=1, random_state=1)

    pd.testing.assert_frame_equal(example_rows(frame, FEATURES), example_rows(shuffled, FEATURES))


def test_a_feature_without_a_value_is_null_in_each_row(frame: pd.DataFrame) -> None:
    empty = frame.assign(severity=np.nan, region=None, is_academic=np.nan)

    made = example_rows(empty, FEATURES, 3)

    assert made[["severity", "region", "is_academic"]].isna().all(axis=None)
    assert made["region"].dtype == object
    assert made["age"].notna().sum() == 2
