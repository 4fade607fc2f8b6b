"""Statistics of features on the train split: the SQL that takes them (DuckDB), and what is kept of its answers.

Pure: the queries are run elsewhere. All features go through a few statements, whatever their number: each turns columns
into rows first. No cell that is kept has fewer than `MINIMUM_CELL` rows: bins are joined with their neighbours, rare
values with the others.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.contracts.statistics import DatasetStatistics, FeatureStatistic, Histogram
from e2i_pipeline.domain.feature_sql import quoted
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.domain.metrics import MINIMUM_CELL

PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Which quantiles are taken."""

BINS = 20
"""Bins of equal width, before small ones are joined."""

MOST_FREQUENT = 20
"""Values of a category that are counted one by one."""


class Summary(NamedTuple):
    """What `summary_sql` says of one numeric or boolean feature, over the rows that have a finite value."""

    feature: str
    given: int
    distinct: int
    mean: float
    std: float | None
    low: float
    high: float
    quantiles: list[float]

    @property
    def width(self) -> float:
        """Width of a bin; 0 where all values are one, or too far apart for a number."""
        width = (self.high - self.low) / BINS
        return width if math.isfinite(width) else 0.0


class Frequency(NamedTuple):
    """What `frequency_sql` says of one of the most frequent values of a category."""

    feature: str
    value: str
    rows: int
    given: int
    distinct: int


def summary_sql(relation: str, features: Sequence[FeatureSpec]) -> str:
    """One row per numeric or boolean feature that has any value: the fields of `Summary`; empty without such a feature.

    Args:
        relation: The rows of the split, as an SQL relation.
        features: All features.
    """
    probabilities = ", ".join(map(str, PROBABILITIES))
    values = _unpivoted(relation, [f.name for f in features if f.kind != "categorical"], "DOUBLE")
    return (
        values
        and f"""
        SELECT feature, count(*), count(DISTINCT value), avg(value), stddev_samp(value), min(value), max(value),
            quantile_cont(value, [{probabilities}])
        FROM ({values}) WHERE isfinite(value) GROUP BY feature ORDER BY feature"""
    )


def bins_sql(relation: str, summaries: Sequence[Summary]) -> str:
    """Rows per feature and bin: `feature`, `bin` from 0 to `BINS` - 1, `rows`; empty where nothing has a width."""
    spread = [s for s in summaries if s.width > 0]
    values = _unpivoted(relation, [s.feature for s in spread], "DOUBLE")
    spans = ", ".join(f"({_text(s.feature)}, {_text(s.low)}::DOUBLE, {_text(s.width)}::DOUBLE)" for s in spread)
    return (
        values
        and f"""
        SELECT feature, least(CAST(floor((value - low) / width) AS BIGINT), {BINS - 1}) AS bin, count(*)
        FROM ({values}) JOIN (VALUES {spans}) AS spans (feature, low, width) USING (feature)
        WHERE isfinite(value) GROUP BY ALL"""
    )


def frequency_sql(relation: str, features: Sequence[FeatureSpec]) -> str:
    """The most frequent values of each category: the fields of `Frequency`; empty without such a feature."""
    values = _unpivoted(relation, [f.name for f in features if f.kind == "categorical"], "VARCHAR")
    return (
        values
        and f"""
        SELECT feature, value, rows, sum(rows) OVER of_feature, count(*) OVER of_feature
        FROM (SELECT feature, value, count(*) AS rows FROM ({values}) GROUP BY ALL)
        WINDOW of_feature AS (PARTITION BY feature)
        QUALIFY row_number() OVER (PARTITION BY feature ORDER BY rows DESC, value) <= {MOST_FREQUENT}
        ORDER BY feature, rows DESC, value"""
    )


def statistics(
    brand: str,
    version: str,
    split: str,
    rows: int,
    features: Sequence[FeatureSpec],
    summaries: Sequence[Summary],
    bins: Mapping[tuple[str, int], int],
    frequencies: Sequence[Frequency],
) -> DatasetStatistics:
    """Puts the answers together.

    Args:
        brand: The brand.
        version: Version of the training dataset.
        split: The split.
        rows: Rows of the split.
        features: All features, in order.
        summaries: What `summary_sql` gave.
        bins: Rows by feature and bin, what `bins_sql` gave.
        frequencies: What `frequency_sql` gave.
    """
    numbers = {s.feature: s for s in summaries}
    values: dict[str, list[Frequency]] = {}
    for each in frequencies:
        values.setdefault(each.feature, []).append(each)
    found: list[FeatureStatistic] = []
    for feature in features:
        if feature.kind == "categorical":
            found.append(_of_category(feature, rows, values.get(feature.name, [])))
        elif summary := numbers.get(feature.name):
            counts = [bins.get((feature.name, each), 0) for each in range(BINS)]
            found.append(_of_number(feature, rows, summary, counts))
        else:
            found.append(_statistic(feature, rows, 0, 0))
    return DatasetStatistics(brand=brand, version=version, split=split, rows=rows, features=tuple(found))


def nulls_shown(null_rate: float, rows: int) -> str:
    """The share of nulls as people see it: a number of rows below the minimum cell is not told."""
    nulls = round(null_rate * rows)
    if 0 < nulls < MINIMUM_CELL:
        return f"under {MINIMUM_CELL} rows"
    if 0 < rows - nulls < MINIMUM_CELL:
        return f"all but under {MINIMUM_CELL} rows"
    return f"{null_rate:.1%}"


def shown_rows(statistics: DatasetStatistics) -> list[dict[str, str | int]]:
    """The statistics as people read them: one row of texts per feature."""
    return [
        {
            "feature": each.feature,
            "kind": each.kind,
            **figures(each.model_dump()),
            "null": nulls_shown(each.null_rate, statistics.rows),
            "values": each.unique_count,
        }
        for each in statistics.features
    ]


def figures(statistic: Mapping[str, Any]) -> dict[str, str]:
    """Moments, quantiles and most frequent values of a feature as texts, from its statistic or its recorded row."""
    quantiles: dict[str, float] = statistic["quantiles"] or {}
    histogram: dict[str, Any] = statistic["histogram"] or {}
    values: dict[str, int] = histogram.get("values") or {}
    spread = f"{_figure(quantiles['0.01'])} to {_figure(quantiles['0.99'])}" if quantiles else ""
    return {
        "mean": _figure(statistic["mean"]),
        "std": _figure(statistic["std"]),
        "median": _figure(quantiles.get("0.5")),
        "1% to 99%": spread,
        "most frequent": ", ".join(list(values)[:3]),
    }


def rows_behind(statistic: Mapping[str, Any]) -> int:
    """Rows that a recorded statistic was taken on, as its cells and its share of nulls say; 0 where it has no cells."""
    histogram: dict[str, Any] = statistic["histogram"] or {}
    cells = [*histogram.get("counts", ()), *histogram.get("values", {}).values(), histogram.get("other", 0)]
    return round(sum(cells) / (1 - statistic["null_rate"])) if sum(cells) else 0


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def joined_bins(edges: Sequence[float], counts: Sequence[int], minimum: int = MINIMUM_CELL) -> Histogram | None:
    """Joins bins with their right neighbours until each has enough rows; what is left over at the end joins the last.

    Args:
        edges: Ends of the bins, ascending, one more than `counts`.
        counts: Rows per bin.
        minimum: Rows that a bin must have.

    Returns:
        The histogram; None where all bins together have too few.
    """
    if sum(counts) < minimum:
        return None
    ends, kept, waiting = [edges[0]], [0], 0
    for position, rows in enumerate(counts):
        waiting += rows
        if waiting >= minimum:
            ends.append(edges[position + 1])
            kept.append(waiting)
            waiting = 0
    kept[-1] += waiting
    ends[-1] = edges[-1]
    return Histogram(edges=tuple(ends), counts=tuple(kept[1:]))


def common_values(
    values: Sequence[tuple[str, int]], given: int, distinct: int, minimum: int = MINIMUM_CELL
) -> Histogram | None:
    """Counts of frequent values; the others are one cell, which takes in more until it has enough rows as well.

    Args:
        values: Most frequent values and their rows, most frequent first.
        given: Rows with any value.
        distinct: Different values.
        minimum: Rows that a cell must have.

    Returns:
        The histogram; None where too few rows have a value.
    """
    if given < minimum:
        return None
    kept = [(value, rows) for value, rows in values if rows >= minimum]
    other = given - sum(rows for _, rows in kept)
    while 0 < other < minimum:
        other += kept.pop()[1]
    return Histogram(values=dict(kept), other=other, other_values=distinct - len(kept))


def _of_number(feature: FeatureSpec, rows: int, summary: Summary, counts: Sequence[int]) -> FeatureStatistic:
    if summary.given < MINIMUM_CELL:
        return _statistic(feature, rows, summary.given, summary.distinct)
    known: dict[str, Any] = {"mean": summary.mean, "std": summary.std, "min": summary.low, "max": summary.high}
    if feature.kind == "boolean":
        true = round(summary.mean * summary.given)
        by_value = [("true", true), ("false", summary.given - true)]
        given = sorted(((v, n) for v, n in by_value if n), key=lambda each: -each[1])
        histogram = common_values(given, summary.given, summary.distinct)
        if histogram and histogram.other:  # the mean would tell how few they are
            known = {}
    else:
        known["quantiles"] = {str(p): q for p, q in zip(PROBABILITIES, summary.quantiles, strict=True)}
        if summary.width > 0:
            edges = [summary.low + summary.width * position for position in range(BINS)]
            histogram = joined_bins([*edges, summary.high], counts)
        else:
            histogram = Histogram(edges=(summary.low, summary.high), counts=(summary.given,))
    return _statistic(feature, rows, summary.given, summary.distinct, histogram=histogram, **known)


def _of_category(feature: FeatureSpec, rows: int, frequencies: Sequence[Frequency]) -> FeatureStatistic:
    if not frequencies:
        return _statistic(feature, rows, 0, 0)
    given, distinct = frequencies[0].given, frequencies[0].distinct
    histogram = common_values([(f.value, f.rows) for f in frequencies], given, distinct)
    return _statistic(feature, rows, given, distinct, histogram=histogram)


def _statistic(feature: FeatureSpec, rows: int, given: int, distinct: int, **known: Any) -> FeatureStatistic:
    return FeatureStatistic(
        feature=feature.name,
        kind=feature.kind,
        view=feature.view,
        entity=ENTITIES.get(feature.view, ""),
        source=feature.source,
        null_rate=1 - given / rows if rows else 1.0,
        unique_count=distinct,
        **known,
    )


def _unpivoted(relation: str, names: Sequence[str], dtype: str) -> str:
    """Columns as rows of `feature` and `value`, without nulls; empty where there are none."""
    if not names:
        return ""
    listed = ", ".join(f"CAST({quoted(name)} AS {dtype}) AS {quoted(name)}" for name in names)
    return f"UNPIVOT (SELECT {listed} FROM {relation}) ON COLUMNS(*) INTO NAME feature VALUE value"


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
