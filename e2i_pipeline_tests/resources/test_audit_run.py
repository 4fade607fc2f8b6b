"""The batch has the column types that Great Expectations compares as whole columns."""

import subprocess
import sys
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


def test_great_expectations_can_be_imported_in_a_process_without_a_main_file() -> None:
    """As in Dagster's processes for runs from the UI; where pyspark is installed, it would end them."""
    code = "from e2i_pipeline.resources.audit_run import *; print(great_expectations().ExpectationSuite.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603

    assert done.stdout == "ExpectationSuite\n", done.stderr
