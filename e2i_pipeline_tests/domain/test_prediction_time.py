"""Features that depend on the prediction time, and the types a model gets."""

import math

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.prediction_time import MICROSECONDS_PER_DAY, at_prediction_time, epoch_microseconds

NOW = pd.Timestamp("2024-06-01 12:00", tz="UTC")


def _feature(name: str, kind: str = "numeric") -> FeatureSpec:
    return FeatureSpec(name=name, kind=kind, view="v")


def _at(name: str, stored: pd.DataFrame, kind: str = "numeric", window_days: int = 90) -> list[object]:
    times = pd.Series([NOW] * len(stored))
    return at_prediction_time(stored, times, [_feature(name, kind)], window_days)[name].tolist()


def test_days_since_diagnosis_are_whole_days_that_have_passed() -> None:
    dates = ["2024-06-01", "2024-05-31", "2024-05-31 13:00", None]
    found = _at("days_since_diagnosis", pd.DataFrame({"first_diagnosis_date": pd.to_datetime(dates, format="ISO8601")}))
    assert found[:3] == [0.0, 1.0, 0.0]
    assert math.isnan(found[3])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("calls", "days_ago", "expected"),
    [(0, None, 0.0), (1, 2, 1.0), (4, 60, 2.0), (6, 45, 4.0), (None, None, math.nan)],
)
def test_calls_are_per_30_days_since_the_first_and_never_per_less(
    calls: int | None, days_ago: int | None, expected: float
) -> None:
    first = None if days_ago is None else NOW - pd.Timedelta(days=days_ago)
    stored = pd.DataFrame({"call_count": [calls], "first_call_date": pd.to_datetime([first], utc=True)})
    assert _at("call_frequency", stored) == pytest.approx([expected], nan_ok=True)


def test_touches_count_in_the_window_at_the_prediction_time() -> None:
    now = NOW.value // 1000
    ages = [-1, 0, 1, 10 * MICROSECONDS_PER_DAY - 1, 10 * MICROSECONDS_PER_DAY]
    stored = pd.DataFrame({"recent_touch_times": [[now - age for age in ages], [], None, np.array([now])]})
    assert _at("recent_touches", stored, window_days=10) == pytest.approx([3.0, 0.0, math.nan, 1.0], nan_ok=True)


def test_numbers_and_booleans_are_floats_and_categories_are_text_or_none() -> None:
    stored = pd.DataFrame(
        {
            "count": pd.array([1, None], dtype="Int64"),
            "flag": np.array([True, None], dtype=object),
            "label": np.array(["a", math.nan], dtype=object),
        },
        index=[7, 9],
    )
    features = [_feature("flag", "boolean"), _feature("count"), _feature("label", "categorical")]
    found = at_prediction_time(stored, pd.Series([NOW, NOW]), features, 90)
    assert list(found.columns) == ["flag", "count", "label"]
    assert found.index.tolist() == [7, 9]
    assert found.dtypes.astype(str).tolist() == ["float64", "float64", "object"]
    assert found.loc[7].tolist() == [1.0, 1.0, "a"]
    assert found["label"].tolist()[1] is None
    assert found.loc[9, ["flag", "count"]].isna().all()


def test_naive_times_are_utc_and_no_time_is_nan() -> None:
    aware = pd.Series([pd.Timestamp("2024-01-01 01:00", tz="Europe/Berlin"), pd.NaT])
    naive = pd.Series([pd.Timestamp("2024-01-01"), pd.NaT])
    assert epoch_microseconds(aware)[0] == epoch_microseconds(naive)[0] == 1704067200 * 1_000_000
    assert np.isnan(epoch_microseconds(naive)[1])
