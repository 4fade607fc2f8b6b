"""What the features of a training dataset look like: the statistics that are recorded, shown and travel with a model.

Taken on the train split alone, so that they tell later what a model was made for. How they are computed stands in
`domain/feature_statistics.py`.
"""

from pydantic import Field

from e2i_pipeline.contracts.base import Contract

STATISTICS_FILE = "feature_statistics.json"
"""Name of the file beside the training dataset, in the MLflow run and among a model's files."""


class Histogram(Contract):
    """How a feature's values are spread; no cell has fewer rows than the minimum cell.

    Attributes:
        edges: Of a numeric feature: ends of the bins, ascending, one more than `counts`; a bin includes its lower end,
            the last one both.
        counts: Rows per bin.
        values: Of a category or a boolean: rows per value, most frequent first.
        other: Rows with another value.
        other_values: Number of other values.
    """

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    values: dict[str, int] = Field(default_factory=dict)
    other: int = 0
    other_values: int = 0


class FeatureStatistic(Contract):
    """One feature on the train split. What fewer rows have than the minimum cell is None.

    Attributes:
        feature: Its name.
        kind: `numeric`, `categorical` or `boolean`.
        view: Feast view.
        entity: Join key of the view.
        source: Table that it is computed from.
        null_rate: Share of rows without a value, 0..1.
        unique_count: Different values.
        mean: Mean of the values; of a boolean the share of true ones.
        std: Standard deviation of the sample (n - 1).
        min: Smallest value.
        max: Largest value.
        quantiles: Value by probability (`0.01` to `0.99`), interpolated between neighbours.
        histogram: How the values are spread.
    """

    feature: str
    kind: str
    view: str
    entity: str
    source: str
    null_rate: float
    unique_count: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    quantiles: dict[str, float] | None = None
    histogram: Histogram | None = None


class DatasetStatistics(Contract):
    """All features of one training dataset.

    Attributes:
        brand: The brand.
        version: Version of the training dataset.
        split: The split that they were taken on.
        rows: Its rows.
        features: One per feature, in the dataset's order.
    """

    brand: str
    version: str
    split: str
    rows: int
    features: tuple[FeatureStatistic, ...]

    @property
    def empty(self) -> tuple[str, ...]:
        """Features of which no row has a value."""
        return tuple(each.feature for each in self.features if each.unique_count == 0)

    @property
    def constant(self) -> tuple[str, ...]:
        """Features that are the same in every row, such as a count over a column that is there and holds nothing."""
        return tuple(f.feature for f in self.features if f.unique_count == 1 and f.null_rate == 0)
