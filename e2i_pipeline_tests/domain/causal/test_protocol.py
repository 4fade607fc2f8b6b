"""The target trial: what it adjusts for, what it leaves out and why, and what it refuses."""

import re
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.contracts.causal import TargetTrialProtocol
from e2i_pipeline.contracts.references import FeatureSpec, TrainingDatasetRef
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain.causal.protocol import ENGAGEMENT_TABLE, TELLS_OF_ENGAGEMENT, target_trial
from e2i_pipeline.domain.features import STORED
from e2i_pipeline.errors import ConfigurationError

FEATURES = (
    FeatureSpec(name="disease_severity", kind="numeric", view="patient_features"),
    FeatureSpec(name="region", kind="categorical", view="patient_features"),
    FeatureSpec(name="engagement_score", kind="numeric", view="patient_features", description="Engagement, 0 to 10."),
    FeatureSpec(name="call_count", kind="numeric", view="hcp_features", source="engagement_events"),
    FeatureSpec(name="recent_touches", kind="numeric", view="engagement_features", source="engagement_events"),
)
DATASET = TrainingDatasetRef(
    key="k",
    name="training_dataset",
    version="v",
    brand="Kisqali",
    dataset_key="d",
    features=FEATURES,
    split_counts={},
    positives={},
)
SCOPE = ExperimentScope(
    key="s",
    brand="Kisqali",
    target="treatment_initiated",
    problem_type="classification",
    population="Journeys of Kisqali.",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.2,
    maximum_fpr=0.2,
    capacity=0.1,
)
CHOSEN: dict[str, Any] = {
    "treatment": "engagement_score",
    "treatment_kind": "continuous",
    "is_randomized": False,
    "confounders": [],
    "modifiers": ["disease_severity"],
    "cuts": {"disease_severity": [4, 7]},
    "negative_controls": [],
    "folds": {"fit": 0.5, "validation": 0.2, "evaluation": 0.3},
    "split_by": "patient_and_hcp",
    "cost": 0.0,
    "seed": 7,
}


def trial(**changed: Any) -> TargetTrialProtocol:
    return target_trial(DATASET, SCOPE, **(CHOSEN | changed))


def test_what_tells_of_engagement_is_not_adjusted_for() -> None:
    found = trial()
    assert [f.name for f in found.confounders] == ["disease_severity", "region"]
    assert found.left_out["engagement_score"] == "it is the treatment"
    assert set(found.left_out) == {"engagement_score", "call_count", "recent_touches"}


def test_what_the_service_for_effects_leaves_out_is_left_out_here_too() -> None:
    text = (Path(__file__).parents[3] / "feature_repo" / "services.py").read_text(encoding="utf-8")
    [listed] = re.findall(r"^ENGAGEMENT = \{(.*)\}$", text, re.MULTILINE)
    of_the_table = {column.name for view in STORED.values() for column in view if column.table == ENGAGEMENT_TABLE}
    assert set(re.findall(r'"(\w+)"', listed)) <= TELLS_OF_ENGAGEMENT | of_the_table


def test_named_confounders_are_taken_as_named() -> None:
    found = trial(confounders=["disease_severity", "call_count"])
    assert [f.name for f in found.confounders] == ["disease_severity", "call_count"]
    assert found.left_out["region"] == "causal.confounders does not name it"


def test_cuts_make_segments_that_leave_nobody_out() -> None:
    names = [s.name for s in trial().segments]
    assert names == ["disease_severity below 4", "disease_severity from 4 to 7", "disease_severity from 7"]


def test_every_part_of_the_protocol_is_in_its_key() -> None:
    same = {trial().key, trial().key}
    others = {
        trial(cost=0.1).key,
        trial(confounders=["disease_severity"]).key,
        trial(negative_controls=["x"]).key,
        trial(split_by="patient").key,
        target_trial(DATASET.model_copy(update={"version": "w"}), SCOPE, **CHOSEN).key,
        target_trial(DATASET, SCOPE.model_copy(update={"key": "other"}), **CHOSEN).key,
    }
    assert len(same) == 1
    assert len(others) == 6
    assert not same & others


def test_the_estimand_is_said_by_kind_of_treatment() -> None:
    assert trial().estimand.startswith("The average derivative")
    assert trial(treatment_kind="binary").estimand.startswith("The average effect")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"treatment": "engagement"}, r"no feature engagement. Did you mean engagement_score"),
        ({"confounders": ["severity"]}, r"causal.confounders: the modelling rows have no feature severity"),
        ({"confounders": ["engagement_score"]}, "is a confounder or a modifier too"),
        ({"modifiers": ["call_count"]}, "call_count is not adjusted for"),
        ({"negative_controls": ["treatment_initiated"]}, "names the outcome itself"),
        ({"cuts": {"region": [1]}}, "only a numeric feature of causal.modifiers can be cut"),
        ({"cuts": {"disease_severity": [7, 4]}}, "cut points must rise"),
    ],
)
def test_what_contradicts_itself_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        trial(**changed)


def test_nothing_left_to_adjust_for_is_refused() -> None:
    alone = DATASET.model_copy(update={"features": FEATURES[2:]})
    with pytest.raises(ConfigurationError, match="nothing is left to adjust for"):
        target_trial(alone, SCOPE, **(CHOSEN | {"modifiers": [], "cuts": {}}))
