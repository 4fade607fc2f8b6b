"""What is recorded of features: their statistics, and what SHAP says of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import AttributionRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.records.base import Records, Row


class FeatureRecords(Records):
    """`ml_feature_store` and `ml_shap_analyses`."""

    def record_features(self, brand: str, version: str, features: Iterable[Mapping[str, Any]], run_id: str) -> None:
        """Records features of a brand: their statistics on the train split, or their importance, or both.

        Args:
            brand: The brand.
            version: Version of the dataset behind the statistics.
            features: Per feature a mapping with `feature` and any of the columns `feature_group`, `feature_type`,
                `entity`, `source`, `mean`, `std`, `min`, `max`, `quantiles`, `null_rate`, `unique_count`, `histogram`,
                `global_importance`, `importance_rank`, `mlflow_run_id`. A column that is not named keeps its value.
            run_id: Dagster run.

        Raises:
            ToolRejected: A column is not one of these.
        """
        from e2i_pipeline.metadata.database import upsert
        from e2i_pipeline.metadata.features import FeatureStatistics

        rows = [{**feature, "brand": brand, "version": version, "dagster_run_id": run_id} for feature in features]
        with self._database().write() as connection:
            for row in rows:
                if not row.get("feature"):
                    raise ToolRejected(f"A feature of {brand} was to be recorded without its name (`feature`).")
                row = {**row, "id": content_key(brand, row["feature"], version)}
                upsert(connection, FeatureStatistics, row, ["id"])

    def feature_statistics(self, feature_group: str, brand: str) -> list[Row]:
        """What is recorded of a view's features for a brand, every version, oldest first."""
        from e2i_pipeline.metadata.features import FeatureStatistics

        found = self._find(FeatureStatistics, feature_group=feature_group, brand=brand)
        return sorted(found, key=lambda row: (row["recorded_at"], row["feature"]))

    def get_feature_statistics(self, view: str, brand: str | None = None) -> list[Row]:
        """What is recorded of a view's features on the train split of the newest training dataset of a brand.

        Args:
            view: Feast view, as in `ml_feature_store.feature_group`.
            brand: The brand; None for all of them.

        Returns:
            Rows of `ml_feature_store`: statistics, and importance where the model was explained; by brand and feature.
        """
        from e2i_pipeline.metadata.features import FeatureStatistics

        where = {"feature_group": view} if brand is None else {"feature_group": view, "brand": brand}
        rows = self._find(FeatureStatistics, **where)
        newest: dict[str, Row] = {}
        for row in sorted(rows, key=lambda row: (row["recorded_at"], row["version"])):
            newest[row["brand"]] = row
        current = [row for row in rows if row["version"] == newest[row["brand"]]["version"]]
        return sorted(current, key=lambda row: (row["brand"], row["feature"]))

    def record_shap(
        self,
        attribution: AttributionRef,
        run_id: str,
        *,
        model: ModelVersion | None = None,
        analysis_type: str = "global",
        segment: str = "",
        narrative: str = "",
        key_drivers: Sequence[str] = (),
        actionable_features: Sequence[str] = (),
        interactions: Sequence[Mapping[str, Any]] | None = None,
        local_values: Mapping[str, float] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Records a SHAP analysis; see `ml_shap_analyses` for what each field means.

        `local_values` are contributions per feature, never the values of the features themselves.
        """
        from e2i_pipeline.metadata.features import ShapAnalysis

        row: Row = {
            "attribution_key": attribution.key,
            "analysis_type": analysis_type,
            "segment": segment,
            "brand": attribution.brand,
            "model_name": model.name if model else "",
            "model_version": model.version if model else "",
            "importances": attribution.importance,
            "interactions": interactions,
            "local_values": local_values,
            "base_value": attribution.base_value,
            "narrative": narrative,
            "key_drivers": key_drivers,
            "actionable_features": actionable_features,
            "method": attribution.method,
            "sample_size": attribution.rows,
            "seconds": seconds,
            "location": attribution.location,
            "dagster_run_id": run_id,
            "mlflow_run_id": model.mlflow_run_id if model else None,
        }
        self._put(ShapAnalysis, row, ("attribution_key", "analysis_type", "segment"))
