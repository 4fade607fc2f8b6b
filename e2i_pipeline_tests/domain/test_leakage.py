"""The leakage audit, both ways: each kind of leak is found, and a clean dataset gives nothing."""

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.leakage import KINDS, LeakageFinding, audit, counts

ROWS = 400
FEATURES = (
    FeatureSpec(name="age", kind="numeric", view="patient_features"),
    FeatureSpec(name="gender", kind="categorical", view="patient_features"),
)


def clean_frame() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    age = rng.uniform(20, 90, ROWS)
    return pd.DataFrame(
        {
            "patient_id": [f"p{n}" for n in range(ROWS)],
            "observation_date": pd.date_range("2020-01-01", periods=ROWS),
            "target": (rng.random(ROWS) < age / 120).astype("int32"),
            "data_split": ["train"] * 240 + ["validation"] * 80 + ["test"] * 60 + ["holdout"] * 20,
            "age": age,
            "gender": rng.choice(["female", "male"], ROWS),
        }
    )


def numeric(name: str) -> tuple[FeatureSpec, ...]:
    return (*FEATURES, FeatureSpec(name=name, kind="numeric", view="patient_features"))


def only(findings: tuple[LeakageFinding, ...]) -> LeakageFinding:
    assert len(findings) == 1, [f.sentence for f in findings]
    return findings[0]


def test_clean_dataset_gives_nothing() -> None:
    assert audit(clean_frame(), FEATURES) == ()


def test_empty_dataset_gives_nothing() -> None:
    assert audit(clean_frame().iloc[:0], FEATURES) == ()


def test_patient_in_two_splits_is_found() -> None:
    frame = clean_frame()
    frame.loc[[300, 390], "patient_id"] = "p0"
    found = only(audit(frame, FEATURES))
    assert (found.name, found.count, found.severity) == ("patient_overlap", 1, "critical")


@pytest.mark.parametrize(
    ("column", "name"), [("patient_id", "patient_overlap"), ("observation_date", "temporal_order")]
)
def test_rows_that_nobody_can_clear_are_not_clear(column: str, name: str) -> None:
    found = only(audit(clean_frame().drop(columns=column), FEATURES))
    assert (found.name, found.subject, found.count, found.severity) == (name, column, ROWS, "critical")


def test_rows_are_counted_per_kind_and_what_was_not_tested_is_no_zero() -> None:
    frame = clean_frame()
    frame.loc[[300, 390], "patient_id"] = "p0"
    assert counts(audit(frame, FEATURES), frame.columns) == {
        **dict.fromkeys(KINDS, 0),
        "patient_overlap": 1,
        "known_too_late": None,
    }
    frame["age_known_at"] = frame["observation_date"] + pd.to_timedelta([1] * 7 + [0] * (ROWS - 7), unit="D")
    found = audit(frame, FEATURES)
    assert counts(found, frame.columns)["known_too_late"] == 7
    assert counts((*found, *found), frame.columns)["known_too_late"] == 14
    assert counts((), frame.columns) == dict.fromkeys(KINDS, 0)


def test_every_kind_of_finding_is_counted() -> None:
    frame = clean_frame()
    frame.loc[[300, 390], "patient_id"] = "p0"
    frame.loc[300, "observation_date"] = pd.Timestamp("2030-01-01")
    frame["recoded"], frame["days_to_treatment"] = frame["target"] * 2.0, 0.0
    frame["age_known_at"] = frame["observation_date"] + pd.Timedelta(days=1)
    features = (*numeric("recoded"), FeatureSpec(name="days_to_treatment", kind="numeric", view="patient_features"))
    assert {finding.name for finding in audit(frame, features)} == set(KINDS)


def test_unassigned_rows_are_not_looked_at() -> None:
    frame = clean_frame()
    frame["data_split"] = frame["data_split"].astype(object)
    frame.loc[300, ["patient_id", "data_split"]] = ["p0", "unassigned"]
    frame.loc[5, ["data_split", "observation_date"]] = ["unassigned", pd.Timestamp("2030-01-01")]
    frame["target"] = frame["target"].astype("Int32")
    frame.loc[[5, 300], "target"] = pd.NA
    assert audit(frame, FEATURES) == ()


@pytest.mark.parametrize(
    ("row", "when", "subject"),
    [
        (10, "2020-08-28", "train, validation"),  # the day on which validation begins
        (250, "2022-01-01", "validation, test"),
        (330, "2022-01-01", "test, holdout"),
    ],
)
def test_split_that_reaches_into_the_next_is_found(row: int, when: str, subject: str) -> None:
    frame = clean_frame()
    frame.loc[row, "observation_date"] = pd.Timestamp(when)
    found = only(audit(frame, FEATURES))
    assert (found.name, found.subject, found.count) == ("temporal_order", subject, 1)


def test_order_holds_over_a_missing_split() -> None:
    frame = clean_frame()
    frame = frame[frame["data_split"].isin(["train", "test"])].reset_index(drop=True)
    frame.loc[0, "observation_date"] = pd.Timestamp("2022-01-01")
    assert only(audit(frame, FEATURES)).subject == "train, test"


@pytest.mark.parametrize("name", ["days_to_treatment", "journey_duration_days_mean", "outcome_indicator", "target"])
def test_outcome_derived_feature_is_found_by_its_name(name: str) -> None:
    frame = clean_frame()
    if name != "target":
        frame[name] = np.random.default_rng(1).random(ROWS)
    names = {f.name for f in audit(frame, numeric(name)) if f.subject == name}
    assert "outcome_derived" in names


def test_target_patient_volume_is_no_outcome() -> None:
    frame = clean_frame().assign(target_patient_volume=np.random.default_rng(1).random(ROWS))
    assert audit(frame, numeric("target_patient_volume")) == ()


def test_renamed_outcome_is_found_by_its_source_column() -> None:
    frame = clean_frame().assign(wait=np.random.default_rng(1).random(ROWS))
    found = only(audit(frame, numeric("wait"), source_columns={"wait": "days_to_treatment"}))
    assert (found.name, found.subject) == ("outcome_derived", "wait")


def test_configured_target_is_an_outcome() -> None:
    frame = clean_frame().assign(adherent=np.random.default_rng(1).random(ROWS))
    assert only(audit(frame, numeric("adherent"), outcome_columns=["adherent"])).name == "outcome_derived"


@pytest.mark.parametrize("sign", [1, -1])
def test_feature_that_separates_the_outcome_is_found_in_either_direction(sign: int) -> None:
    frame = clean_frame()
    frame["score"] = sign * (frame["target"] + np.random.default_rng(2).normal(0, 0.1, ROWS))
    found = only(audit(frame, numeric("score")))
    assert (found.name, found.subject, found.count) == ("separates_outcome", "score", 240)
    assert "features.covariates" in found.sentence


def test_feature_that_is_absent_exactly_without_the_outcome_is_found() -> None:
    frame = clean_frame()
    frame["wait"] = np.where(frame["target"] == 1, np.random.default_rng(2).random(ROWS), np.nan)
    found = only(audit(frame, numeric("wait")))
    assert found.name == "separates_outcome"
    assert "absence of a value" in found.sentence


def test_category_that_separates_the_outcome_is_found() -> None:
    frame = clean_frame()
    frame["status"] = frame["target"].map({0: "waiting", 1: "started"})
    features = (*FEATURES, FeatureSpec(name="status", kind="categorical", view="patient_features"))
    assert only(audit(frame, features)).name == "separates_outcome"


def test_many_small_categories_do_not_separate_by_chance() -> None:
    frame = clean_frame().assign(practice=[f"c{n // 2}" for n in range(ROWS)])
    features = (*FEATURES, FeatureSpec(name="practice", kind="categorical", view="patient_features"))
    assert audit(frame, features) == ()


def test_separation_without_support_does_not_count() -> None:
    frame = clean_frame()
    frame["target"] = 0
    frame.loc[:18, "target"] = 1  # 19 positives: one fewer than the support needed
    frame["score"] = frame["target"].astype(float)
    assert audit(frame, numeric("score")) == ()
    frame.loc[19, ["target", "score"]] = 1
    assert only(audit(frame, numeric("score"))).name == "separates_outcome"


def test_in_a_regression_a_feature_that_is_the_outcome_rescaled_is_found_and_a_good_predictor_is_not() -> None:
    frame = clean_frame()
    noise = np.random.default_rng(2).normal(size=ROWS)
    frame["target"] = 2 * frame["age"] + frame["age"].std() * noise
    assert audit(frame, FEATURES) == ()
    frame["target"] = np.exp(frame["age"] / 10)
    found = only(audit(frame, FEATURES))
    assert (found.name, found.subject) == ("separates_outcome", "age")
    assert "separates outcomes above their median from the others" in found.sentence


def test_feature_known_only_after_the_prediction_time_is_found() -> None:
    frame = clean_frame()
    frame["age_known_at"] = frame["observation_date"]  # known at the prediction time itself: allowed
    frame["gender_known_at"] = frame["observation_date"]
    frame.loc[[1, 2, 3], "gender_known_at"] += pd.Timedelta(seconds=1)
    frame.loc[4, "gender_known_at"] = pd.NaT
    found = only(audit(frame, FEATURES))
    assert (found.name, found.subject, found.count) == ("known_too_late", "gender", 3)


def test_every_leak_is_reported_at_once() -> None:
    frame = clean_frame()
    frame.loc[300, "patient_id"] = "p0"
    frame["days_to_treatment"] = np.where(frame["target"] == 1, 3.0, np.nan)
    frame["age_known_at"] = frame["observation_date"] + pd.Timedelta(days=1)
    names = [f.name for f in audit(frame, numeric("days_to_treatment"))]
    assert names == ["patient_overlap", "outcome_derived", "separates_outcome", "known_too_late"]
