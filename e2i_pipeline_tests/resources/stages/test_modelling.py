"""Modelling rows without Feast: how they are read, what is audited, and a cohort that is refused before any join.

That the join itself is right is tested with Feast in `resources/test_feast.py`, the whole way in `test_pipeline.py`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureSpec, TrainingDatasetRef
from e2i_pipeline.errors import CohortTooSmall, LeakageFound, TestSplitSealed
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline_tests.resources.stages.published_tables import publication, publish, tables

FEATURES = (
    FeatureSpec(name="risk_score", kind="numeric", view="patient_features"),
    FeatureSpec(name="gender", kind="categorical", view="patient_features"),
    FeatureSpec(name="academic_hcp", kind="boolean", view="patient_features"),
)
SPLITS = {"train": 60, "validation": 20, "test": 15, "holdout": 5, "unassigned": 10}
REGISTRY = FeatureRegistryRef(
    key="registry",
    project="e2i_features",
    service="conversion",
    features=FEATURES,
    tables={},
    left_out={},
    definitions="definitions.json",
)


def modelling(folder: Path, **changed: Any) -> ModellingResource:
    engine = EngineResource(temp_dir=str(folder / "spill"))
    fields: dict[str, Any] = {
        "state_dir": str(folder / "state"),
        "engine": engine,
        # never asked for: without its registry it could not answer
        "feast": FeastResource(repo="none", registry="none", project="e2i_features", state_dir="none", engine=engine),
        "cohort": {"outcome_window_days": 180},
        "target": "treatment_initiated",
        "prediction_lag_days": 0,
        "source_columns": {},
    }
    return ModellingResource(**fields | changed)


def rows() -> pd.DataFrame:
    """Rows in order of time, one per patient; those that are `unassigned` have no outcome yet."""
    random = np.random.default_rng(11)
    splits = [split for split, n in SPLITS.items() for _ in range(n)]
    size = len(splits)
    target = random.integers(0, 2, size).astype(object)
    target[-SPLITS["unassigned"] :] = None
    return pd.DataFrame(
        {
            "patient_journey_id": [f"journey-{i:03}" for i in range(size)],
            "patient_id": [f"patient-{i:03}" for i in range(size)],
            "brand": "Kisqali",
            "observation_date": pd.date_range("2024-01-01", periods=size),
            "target": target,
            "data_split": splits,
            "risk_score": np.where(random.random(size) < 0.1, np.nan, random.random(size)),
            "gender": np.where(random.random(size) < 0.1, None, random.choice(["female", "male"], size).astype(object)),
            "academic_hcp": random.integers(0, 2, size),
        }
    )


def written(folder: Path, frame: pd.DataFrame, features: tuple[FeatureSpec, ...] = FEATURES) -> TrainingDatasetRef:
    engine = EngineResource(temp_dir=str(folder / "spill"))
    with engine.connect() as connection:
        connection.register("given", frame)
        query = "SELECT * REPLACE (CAST(target AS INTEGER) AS target) FROM given"
        table = engine.write(connection, query, folder / "training", ("patient_journey_id",))
    return TrainingDatasetRef(
        key="k",
        name="training_dataset",
        **table._asdict(),
        brand="Kisqali",
        dataset_key="d",
        features=features,
        split_counts=SPLITS,
        positives={},
    )


def test_a_frame_holds_the_asked_splits_in_order_of_the_journey(tmp_path: Path) -> None:
    given = rows()
    dataset = written(tmp_path, given.sample(frac=1, random_state=2))

    frame, outcome = modelling(tmp_path).frame(dataset, ["train", "validation"], ["patient_journey_id"])

    wanted = given[given["data_split"].isin(["train", "validation"])]
    assert frame["patient_journey_id"].tolist() == wanted["patient_journey_id"].tolist()
    np.testing.assert_array_equal(outcome, wanted["target"].astype(float))
    np.testing.assert_array_equal(frame["risk_score"], wanted["risk_score"])


def test_outcomes_of_the_test_split_are_sealed_and_its_features_are_not(tmp_path: Path) -> None:
    dataset = written(tmp_path, rows())
    with pytest.raises(TestSplitSealed, match="The outcomes of the test split of Kisqali were asked for"):
        modelling(tmp_path).frame(dataset, ["validation", "test"])
    features = modelling(tmp_path).features(dataset, ["test"], ["patient_id"])
    assert set(features.columns) == {"patient_id", *(feature.name for feature in FEATURES)}
    assert len(features) == SPLITS["test"]


def test_features_have_their_raw_types_and_nothing_else_comes_along(tmp_path: Path) -> None:
    frame, outcome = modelling(tmp_path).frame(written(tmp_path, rows()), ["train"])

    assert set(frame.columns) == {feature.name for feature in FEATURES}
    assert frame[["risk_score", "academic_hcp"]].dtypes.eq(np.float64).all()
    assert frame["gender"].dtype == object
    assert set(frame["gender"]) == {"female", "male", None}
    assert outcome.dtype == np.float64


def test_an_open_outcome_is_nan(tmp_path: Path) -> None:
    frame, outcome = modelling(tmp_path).frame(written(tmp_path, rows()), ["unassigned"])

    assert len(frame) == SPLITS["unassigned"]
    assert np.isnan(outcome).all()


def test_rows_that_know_nothing_too_early_pass(tmp_path: Path) -> None:
    dataset = written(tmp_path, rows())

    assert modelling(tmp_path).audit_leakage(dataset) == ()
    modelling(tmp_path).require_no_leakage(dataset)


def test_every_leak_is_named_and_no_patient(tmp_path: Path) -> None:
    leaking = rows()
    leaking.loc[[0, 80], "patient_id"] = "patient-007-of-both"
    leaking["recoded"] = leaking["target"].fillna(0).astype(float) * 2 + 1
    features = (*FEATURES, FeatureSpec(name="recoded", kind="numeric", view="patient_features"))
    dataset = written(tmp_path, leaking, features)

    with pytest.raises(LeakageFound) as caught:
        modelling(tmp_path).require_no_leakage(dataset)

    message = str(caught.value)
    assert message.startswith("The training dataset of Kisqali leaks; nothing was trained.")
    assert "1 of 99 patients have rows in more than one split" in message
    assert "The value of recoded alone separates the outcome on train with an AUC of 1.000 over 60 rows" in message
    assert "patient-007" not in message


def test_a_renamed_outcome_is_found_by_the_column_it_comes_from(tmp_path: Path) -> None:
    dataset = written(tmp_path, rows())

    assert modelling(tmp_path, source_columns={"risk_score": "risk_score"}).audit_leakage(dataset) == ()
    [found] = modelling(tmp_path, source_columns={"risk_score": "days_to_treatment"}).audit_leakage(dataset)
    assert (found.name, found.subject) == ("outcome_derived", "risk_score")


def test_the_configured_target_is_an_outcome_too(tmp_path: Path) -> None:
    [found] = modelling(tmp_path, target="academic_hcp").audit_leakage(written(tmp_path, rows()))

    assert found.subject == "academic_hcp"


def test_a_cohort_that_is_too_small_is_refused_before_the_join_and_nothing_is_written(tmp_path: Path) -> None:
    dataset = publish(publication(tmp_path), tables(tmp_path / "one", range(450)))

    with pytest.raises(CohortTooSmall, match=r"positives in test, 60 needed") as caught:
        modelling(tmp_path, cohort={"outcome_window_days": 180, "minimum_evaluation_positives": 60}).training_dataset(
            "key", "Kisqali", dataset, REGISTRY
        )

    assert "train 270 (90 positive)" in str(caught.value)
    assert not (tmp_path / "state" / "training").exists()


def test_another_brand_has_no_journeys(tmp_path: Path) -> None:
    dataset = publish(publication(tmp_path), tables(tmp_path / "one", range(450)))

    with pytest.raises(CohortTooSmall, match="0 journeys in all splits, 300 needed"):
        modelling(tmp_path).training_dataset("key", "Fabhalta", dataset, REGISTRY)


def test_the_key_is_of_everything_that_decides(tmp_path: Path) -> None:
    dataset = publish(publication(tmp_path), tables(tmp_path / "one", range(450)))
    other = dataset.model_copy(update={"key": "another"})
    keys = [
        modelling(tmp_path).key("Kisqali", dataset, REGISTRY, "code"),
        modelling(tmp_path).key("Fabhalta", dataset, REGISTRY, "code"),
        modelling(tmp_path).key("Kisqali", other, REGISTRY, "code"),
        modelling(tmp_path).key("Kisqali", dataset, REGISTRY.model_copy(update={"key": "another"}), "code"),
        modelling(tmp_path).key("Kisqali", dataset, REGISTRY, "changed code"),
        modelling(tmp_path, prediction_lag_days=7).key("Kisqali", dataset, REGISTRY, "code"),
        modelling(tmp_path, target="another").key("Kisqali", dataset, REGISTRY, "code"),
    ]

    assert len(set(keys)) == len(keys)
