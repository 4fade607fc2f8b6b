"""The batch has the column types that Great Expectations compares as whole columns."""

from datetime import datetime
from typing import Any

import pytest

from e2i_pipeline.resources.audit_run import comparable


@pytest.mark.parametrize(
    ("values", "given", "expected"),
    [
        ([1, 2], "int32", "int64"),
        ([1, 2], "uint8", "int64"),
        ([1, None], "Int32", "float64"),
        ([1.5, None], "float32", "float64"),
        ([datetime(2025, 1, 1), datetime(9999, 12, 31)], "datetime64[us]", "datetime64[us, UTC]"),  # noqa: DTZ001 - naive
        ([True, None], "boolean", "object"),
        (["a", None], "object", "object"),
    ],
)
def test_columns_are_widened_and_nothing_is_lost(values: list[Any], given: str, expected: str) -> None:
    import pandas as pd

    found = comparable(pd.DataFrame({"x": pd.Series(values, dtype=given)}))["x"]
    assert str(found.dtype) == expected
    assert found.isna().tolist() == [value is None for value in values]
    kept = found.dt.tz_localize(None) if "UTC" in expected else found
    assert kept.dropna().tolist() == [value for value in values if value is not None]
