"""Statistics of a training dataset's features: taken once, kept beside its rows, recorded, and handed to the model.

What is taken stands in `domain/feature_statistics.py`; this module runs it, stores it and finds it again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.statistics import STATISTICS_FILE, DatasetStatistics, FeatureStatistic
from e2i_pipeline.domain import feature_statistics as rules
from e2i_pipeline.resources.engine import EngineResource, literal, parquet, quoted
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.storage.references import write_text

SPLIT = "train"
"""The split that statistics are taken on: what a model was made for, and nothing that judges it."""


class FeatureStatisticsResource(dg.ConfigurableResource):
    """Takes and keeps feature statistics.

    Attributes:
        engine: Reads the rows.
        metadata: Keeps the rows of `ml_feature_store`.
    """

    engine: EngineResource
    metadata: MetadataResource

    def record(self, dataset: TrainingDatasetRef, run_id: str) -> DatasetStatistics:
        """Takes the statistics of a dataset, keeps them beside its rows and records them.

        The same dataset gives the same file and the same rows, whatever SHAP has added to them since.
        """
        found = self.take(dataset)
        write_text(_file(dataset), found.model_dump_json(indent=1))
        self.metadata.record_features(dataset.brand, dataset.version, map(_row, found.features), run_id)
        return found

    def has(self, dataset: TrainingDatasetRef) -> bool:
        """Whether a dataset's rows are there, and its statistics kept and recorded."""
        if not (Path(dataset.location).is_file() and _file(dataset).is_file()):
            return False
        rows = self.metadata.rows("ml_feature_store", brand=dataset.brand, version=dataset.version)
        return {f.name for f in dataset.features} <= {r["feature"] for r in rows if r["unique_count"] is not None}

    def of(self, dataset: TrainingDatasetRef) -> DatasetStatistics:
        """The statistics of a dataset: those that are kept, else taken now."""
        try:
            return DatasetStatistics.model_validate_json(_file(dataset).read_bytes())
        except (FileNotFoundError, ValueError):
            return self.take(dataset)

    def files(self, dataset: TrainingDatasetRef) -> dict[str, bytes]:
        """The statistics as a file that travels with a model, by name."""
        return {STATISTICS_FILE: self.of(dataset).model_dump_json(indent=1).encode()}

    def take(self, dataset: TrainingDatasetRef) -> DatasetStatistics:
        """Takes the statistics on the train split: one pass over the Parquet file, the rest in memory."""
        columns = ", ".join(quoted(feature.name) for feature in dataset.features)
        where = f"data_split = {literal(SPLIT)}"
        # Sums of floats depend on the order in which threads add; these are to be the same on every machine.
        with self.engine.model_copy(update={"threads": 1}).connect() as connection:
            connection.execute(
                f"CREATE TEMP TABLE split AS SELECT {columns} FROM {parquet(dataset.location)} WHERE {where}"
            )

            def answers(query: str) -> list[tuple[Any, ...]]:
                return connection.execute(query).fetchall() if query else []

            summaries = [rules.Summary(*row) for row in answers(rules.summary_sql("split", dataset.features))]
            bins = {(feature, each): rows for feature, each, rows in answers(rules.bins_sql("split", summaries))}
            frequencies = [rules.Frequency(*row) for row in answers(rules.frequency_sql("split", dataset.features))]
            rows = answers("SELECT count(*) FROM split")[0][0]
        return rules.statistics(
            dataset.brand, dataset.version, SPLIT, rows, dataset.features, summaries, bins, frequencies
        )


def _file(dataset: TrainingDatasetRef) -> Path:
    """Beside the rows, so that it is kept and removed with them."""
    return Path(dataset.location).with_name(STATISTICS_FILE)


def _row(statistic: FeatureStatistic) -> Mapping[str, Any]:
    renamed: dict[str, str] = {"view": "feature_group", "kind": "feature_type"}
    return {renamed.get(name, name): value for name, value in statistic.model_dump(mode="json").items()}
