"""The tables about features: their statistics on the train split, and what SHAP says of them."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from e2i_pipeline.metadata.base import KEY, NAME, Base, PlainJson, RunLinks


class FeatureStatistics(RunLinks, Base):
    """One feature of one brand in one version, with its statistics on the train split.

    Attributes:
        id: Hash of brand, feature and version.
        version: Version of the dataset that the statistics were taken on.
        feature_group: Feast view.
        feature_type: `numeric`, `categorical` or `boolean`.
        entity: Join key.
        source: Table it is computed from.
        quantiles: Value by probability, `0.01` to `0.99`.
        null_rate: Share of nulls, 0..1.
        histogram: Edges and counts, or counts per value; see `contracts.statistics.Histogram`.
        global_importance: Mean absolute SHAP value, normalized over the features to a sum of 1.
        importance_rank: 1 for the most important.
    """

    __tablename__ = "ml_feature_store"
    __table_args__ = (UniqueConstraint("brand", "feature", "version"),)

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    feature: Mapped[str] = mapped_column(NAME)
    version: Mapped[str] = mapped_column(KEY)
    feature_group: Mapped[str] = mapped_column(NAME, default="", index=True)
    feature_type: Mapped[str] = mapped_column(NAME, default="")
    entity: Mapped[str] = mapped_column(NAME, default="")
    source: Mapped[str] = mapped_column(NAME, default="")
    mean: Mapped[float | None]
    std: Mapped[float | None]
    min: Mapped[float | None]
    max: Mapped[float | None]
    quantiles: Mapped[dict[str, float] | None] = mapped_column(PlainJson)
    null_rate: Mapped[float | None]
    unique_count: Mapped[int | None] = mapped_column(BigInteger)
    histogram: Mapped[dict[str, Any] | None] = mapped_column(PlainJson)
    global_importance: Mapped[float | None]
    importance_rank: Mapped[int | None]


class ShapAnalysis(RunLinks, Base):
    """One SHAP analysis of a model version.

    Attributes:
        id: Hash of the attribution's key, the kind of analysis and the segment.
        attribution_key: Key of the attribution (`AttributionRef.key`).
        analysis_type: `global`, `segment`, `local` or `local_realtime`.
        segment: Which part of the sample; empty for all of it.
        importances: Mean absolute value per feature, normalized to a sum of 1.
        interactions: Pairs of features with their strength.
        local_values: Contribution per feature, for a local analysis; never the feature's own value.
        base_value: Expected margin (log-odds).
        narrative: The analysis in words.
        key_drivers: The most important features.
        actionable_features: Features that a team can act on.
        method: How the values were computed.
        sample_size: Journeys analysed.
        seconds: Wall-clock seconds.
        location: Where the values lie.
    """

    __tablename__ = "ml_shap_analyses"
    __table_args__ = (
        UniqueConstraint("attribution_key", "analysis_type", "segment"),
        CheckConstraint("analysis_type IN ('global', 'segment', 'local', 'local_realtime')", name="analysis_type"),
    )

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    attribution_key: Mapped[str] = mapped_column(KEY)
    analysis_type: Mapped[str] = mapped_column(NAME)
    segment: Mapped[str] = mapped_column(NAME, default="")
    brand: Mapped[str] = mapped_column(NAME, index=True)
    model_name: Mapped[str] = mapped_column(NAME, default="")
    model_version: Mapped[str] = mapped_column(KEY, default="")
    importances: Mapped[dict[str, float]] = mapped_column(PlainJson)
    interactions: Mapped[list[Any] | None] = mapped_column(PlainJson)
    local_values: Mapped[dict[str, float] | None] = mapped_column(PlainJson)
    base_value: Mapped[float | None]
    narrative: Mapped[str] = mapped_column(Text, default="")
    key_drivers: Mapped[list[str]] = mapped_column(PlainJson, default=list)
    actionable_features: Mapped[list[str]] = mapped_column(PlainJson, default=list)
    method: Mapped[str] = mapped_column(NAME)
    sample_size: Mapped[int]
    seconds: Mapped[float | None]
    location: Mapped[str] = mapped_column(Text, default="")
