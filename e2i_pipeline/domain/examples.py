"""Rows that look like the data and are nobody's: for model signatures, golden requests and try-outs.

Each feature is taken by itself from its own distribution, so that no row of a patient is repeated.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.references import FeatureSpec

if TYPE_CHECKING:
    import pandas as pd


def example_rows(frame: "pd.DataFrame", features: Sequence[FeatureSpec], rows: int = 8) -> "pd.DataFrame":
    """Makes up rows within the range of the data.

    Row `i` has, of each number, its quantile `(i + 0.5) / rows` rounded to three significant digits, and of each
    category the `i`-th most frequent value; every second feature runs backwards, so that the rows differ in more than
    one direction. The last row is null throughout.

    Args:
        frame: Raw features, shape (n, at least the features), n >= 1.
        features: The features, in order.
        rows: Rows to make, >= 2.

    Returns:
        Shape (rows, features), with the raw types of `frame`.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for position, feature in enumerate(features):
        values = frame[feature.name].dropna()
        made = _categories(values, rows - 1) if feature.kind == "categorical" else _numbers(values, feature, rows - 1)
        ordered = made[::-1] if position % 2 else made
        dtype = object if feature.kind == "categorical" else "float64"
        columns[feature.name] = pd.Series([*ordered, None], dtype=dtype)
    return pd.DataFrame(columns)


def _numbers(values: "pd.Series[Any]", feature: FeatureSpec, rows: int) -> list[float | None]:
    if values.empty:
        return [None] * rows
    if feature.kind == "boolean":
        return [float(i % 2) for i in range(rows)]
    quantiles = values.quantile([(i + 0.5) / rows for i in range(rows)])
    return [float(f"{value:.3g}") for value in quantiles]


def _categories(values: "pd.Series[Any]", rows: int) -> list[str | None]:
    known = [str(value) for value in values.value_counts().index]
    return [known[i % len(known)] if known else None for i in range(rows)]
