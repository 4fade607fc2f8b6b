"""Statistics of a training dataset on its real backends: what they say, and that they are the same when taken again."""

from pathlib import Path

import numpy as np
import pytest

from e2i_pipeline.contracts.references import FeatureSpec, TrainingDatasetRef
from e2i_pipeline.contracts.statistics import STATISTICS_FILE
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.feature_statistics import FeatureStatisticsResource
from e2i_pipeline_tests.resources.stages.test_modelling import FEATURES, SPLITS, rows, written

EMPTY = FeatureSpec(name="empty", kind="numeric", view="hcp_features", source="hcp_profiles")


@pytest.fixture
def statistics(tmp_path: Path) -> FeatureStatisticsResource:
    metadata = MetadataResource(url=f"sqlite:///{tmp_path}/metadata.db", lock_dir=str(tmp_path / "locks"))
    return FeatureStatisticsResource(engine=EngineResource(temp_dir=str(tmp_path / "spill")), metadata=metadata)


@pytest.fixture
def dataset(tmp_path: Path) -> TrainingDatasetRef:
    return written(tmp_path, rows().assign(empty=np.nan), (*FEATURES, EMPTY))


def test_they_are_those_of_the_train_split(statistics: FeatureStatisticsResource, dataset: TrainingDatasetRef) -> None:
    train = rows()[lambda frame: frame["data_split"] == "train"]
    found = statistics.take(dataset)
    assert (found.rows, found.split, found.empty) == (SPLITS["train"], "train", ("empty",))
    score, gender, academic, _ = found.features
    assert score.mean == pytest.approx(train["risk_score"].mean(), rel=1e-12)
    assert score.std == pytest.approx(train["risk_score"].std(), rel=1e-12)
    assert (score.min, score.max) == (train["risk_score"].min(), train["risk_score"].max())
    assert score.quantiles == pytest.approx(
        {str(p): train["risk_score"].quantile(p) for p in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)}
    )
    assert score.null_rate == pytest.approx(train["risk_score"].isna().mean())
    assert score.histogram
    expected, _ = np.histogram(train["risk_score"].dropna(), np.array(score.histogram.edges))
    assert list(score.histogram.counts) == list(expected)
    assert min(score.histogram.counts) >= 11
    assert gender.histogram
    assert gender.histogram.values == train["gender"].value_counts().to_dict()
    assert academic.mean == pytest.approx(train["academic_hcp"].mean())


def test_the_same_dataset_gives_the_same_file_and_rows(
    statistics: FeatureStatisticsResource, dataset: TrainingDatasetRef
) -> None:
    assert not statistics.has(dataset)
    statistics.record(dataset, "run-1")
    file = Path(dataset.location).with_name(STATISTICS_FILE)
    before, recorded = file.read_bytes(), statistics.metadata.rows("ml_feature_store")
    statistics.metadata.record_features(
        dataset.brand, dataset.version, [{"feature": "gender", "global_importance": 0.4, "importance_rank": 1}], "run-1"
    )
    statistics.record(dataset, "run-1")
    assert file.read_bytes() == before
    again = {row["feature"]: row for row in statistics.metadata.rows("ml_feature_store")}
    assert (again["gender"].pop("global_importance"), again["gender"].pop("importance_rank")) == (0.4, 1)
    assert again == {row["feature"]: {k: row[k] for k in again[row["feature"]]} for row in recorded}
    assert statistics.has(dataset)
    file.unlink()
    assert not statistics.has(dataset)


def test_they_travel_as_a_file_even_where_none_was_kept(
    statistics: FeatureStatisticsResource, dataset: TrainingDatasetRef
) -> None:
    taken = statistics.files(dataset)
    statistics.record(dataset, "run-1")
    assert statistics.files(dataset) == taken
    assert list(taken) == [STATISTICS_FILE]


def test_a_view_has_those_of_the_newest_dataset_per_brand(
    statistics: FeatureStatisticsResource, dataset: TrainingDatasetRef
) -> None:
    statistics.record(dataset, "run-1")
    statistics.record(dataset.model_copy(update={"brand": "Fabhalta"}), "run-1")
    found = statistics.metadata.get_feature_statistics("patient_features")
    assert [(row["brand"], row["feature"]) for row in found] == [
        (brand, feature) for brand in ("Fabhalta", "Kisqali") for feature in ("academic_hcp", "gender", "risk_score")
    ]
    (empty,) = statistics.metadata.get_feature_statistics("hcp_features", "Kisqali")
    assert (empty["feature"], empty["null_rate"], empty["quantiles"]) == ("empty", 1.0, None)
    assert statistics.metadata.get_feature_statistics("engagement_features") == []
