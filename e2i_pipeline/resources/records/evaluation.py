"""Readings of the sealed test split."""

from datetime import datetime

from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.resources.records.base import Records, Row


class EvaluationRecords(Records):
    """`ml_test_readings`."""

    def record_test_reading(
        self,
        dataset: TrainingDatasetRef,
        *,
        training_key: str,
        model_version: str,
        mlflow_run_id: str,
        purpose: str,
        occasion: str,
        run_id: str,
        read_at: datetime,
    ) -> None:
        """Records that a model is about to read a dataset's test rows; the same occasion is recorded once.

        Args:
            dataset: Whose rows.
            training_key: The training whose model reads.
            model_version: SHA-256 of the model's files, or the registered version of a champion.
            mlflow_run_id: The run that the model is of.
            purpose: `evaluation` or `comparison`.
            occasion: Key of the evaluation or comparison.
            run_id: Dagster run.
            read_at: When (UTC).
        """
        from e2i_pipeline.metadata.evaluation import TestReading

        row: Row = {
            "brand": dataset.brand,
            "dataset_version": dataset.version,
            "training_key": training_key,
            "model_version": model_version,
            "purpose": purpose,
            "occasion": occasion,
            "rows": dataset.split_counts.get("test", 0),
            "read_at": read_at,
            "dagster_run_id": run_id,
            "mlflow_run_id": mlflow_run_id,
        }
        keys = ("dataset_version", "model_version", "purpose", "occasion")
        self._put(TestReading, row, keys, keep=("read_at", "dagster_run_id"))

    def test_readings(self, dataset_version: str) -> list[Row]:
        """All readings of a dataset's test rows, the first one first."""
        from e2i_pipeline.metadata.evaluation import TestReading

        return sorted(self._find(TestReading, dataset_version=dataset_version), key=lambda row: row["read_at"])
