"""The gate holds from wherever a run is started, in the next process as in this one, and behind the training dataset.

What `dagster asset materialize` makes of a corrupted and of a mended drop is told in `test_pipeline.py`.
"""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.base import Reference
from e2i_pipeline.contracts.references import BentoRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.storage.references import write_json
from e2i_pipeline_tests.marked_drops import CORRUPT, Drop, published
from e2i_pipeline_tests.processes import PROJECT, Done, Product
from e2i_pipeline_tests.resources.stages.test_modelling import rows, written

BRAND = "Kisqali"
JOB = ("dagster", "job", "execute", "-m", "e2i_pipeline.definitions", "-j", "brand_refresh")
STARTED_BY = {
    "the nightly schedule": {"dagster/schedule_name": "nightly"},
    "the sensor": {"dagster/sensor_name": "source_changed"},
    "a backfill": {"dagster/backfill": "abcdefgh"},
}


def gx_copy(folder: Path) -> Path:
    """The suites, to be changed."""
    return Path(shutil.copytree(PROJECT / "gx" / "expectations", folder / "gx" / "expectations")).parent


def tighten(gx: Path, suite: str, column: str, value_set: list[Any]) -> None:
    """One more critical expectation."""
    path = gx / "expectations" / f"{suite}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    like = next(e for e in content["expectations"] if e["type"] == "expect_column_values_to_be_in_set")
    meta = {**like["meta"], "name": "is_narrower_than_before", "rule": f"{column} is one of the few that are left."}
    content["expectations"].append(
        {
            "id": "00000000-0000-5000-8000-000000000001",
            "type": like["type"],
            "kwargs": {"column": column, "value_set": value_set},
            "severity": "critical",
            "meta": meta,
        }
    )
    path.write_text(json.dumps(content), encoding="utf-8")


class Stage:
    """A drop, the suites that it is held against, and the product over both."""

    def __init__(self, folder: Path) -> None:
        self.drop = Drop(folder / "drop")
        self.gx = gx_copy(folder)
        self.product = self.drop.product(folder / "state", E2I__STORES__GX_ROOT=str(self.gx))

    def job(self, tags: dict[str, str]) -> Done:
        """The job `brand_refresh` as somebody starts it."""
        said = json.dumps({"dagster/partition": BRAND, **tags})
        return self.product.module(*JOB, "--tags", said, DAGSTER_HOME=str(self.product.dagster_home))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A good drop, published."""
    stage = Stage(tmp_path_factory.mktemp("everywhere"))
    stage.drop.deliver("first")
    done = stage.product.materialize("+validated_dataset")
    assert done.status == 0, done.text
    return stage


def is_refused(done: Done, stage: Stage, *sentences: str) -> None:
    """The run has failed for these reasons, and what was published before is what is published."""
    assert done.status == 1, done.text
    for sentence in sentences:
        assert sentence in done.text
    assert published(stage.product.state).mark == "first"


@pytest.fixture(scope="module")
def corrupted(good: Stage) -> Stage:
    """After a drop that was refused."""
    good.drop.deliver("second", CORRUPT)
    is_refused(good.product.materialize("+validated_dataset"), good, "patient_id_is_unique_as_of (critical) failed")
    return good


@pytest.mark.parametrize("by", STARTED_BY)
def test_a_corrupted_drop_ends_the_job_whoever_starts_it(corrupted: Stage, by: str) -> None:
    done = corrupted.job(STARTED_BY[by])

    is_refused(done, corrupted, "patient_id_is_unique_as_of (critical) failed: 2 of 150 rows")
    assert not (corrupted.product.state / "training").exists()


def test_the_gate_holds_for_a_run_within_a_program(corrupted: Stage) -> None:
    done = corrupted.product.module("e2i_pipeline_tests.alone", BRAND, "validated_dataset")

    assert done.status == 0, done.text
    said = json.loads(done.out)["validated_dataset"]
    assert said.startswith("QCGateBlockedError: The quality gate is closed; nothing was changed.")
    assert published(corrupted.product.state).mark == "first"


@pytest.fixture(scope="module")
def mended(corrupted: Stage) -> Stage:
    """After the first drop has come again, and its suite was tightened."""
    corrupted.drop.deliver("first")
    done = corrupted.product.materialize("+validated_dataset")
    assert done.status == 0, done.text
    tighten(corrupted.gx, "e2i_patient_journeys", "journey_stage", ["no such stage"])
    return corrupted


@pytest.mark.parametrize("with_home", [True, False])
def test_yesterdays_pass_does_not_count_under_a_tightened_suite(mended: Stage, with_home: bool) -> None:
    done = mended.product.materialize("validated_dataset", with_home=with_home)

    is_refused(done, mended, "has not been audited under the present suite e2i_patient_journeys", "Audit it: ")


def test_an_audit_under_a_tightened_suite_says_what_fails(mended: Stage) -> None:
    done = mended.product.materialize("+validated_dataset")

    is_refused(done, mended, "patient_journeys.journey_stage: is_narrower_than_before (critical) failed")


BEHIND = ("hyperparameter_study", "trained_model", "model_evaluation", "promoted_model", "shap_analysis", "bento")
USERS = (*BEHIND, "batch_predictions")
"""Every step that learns from, decides by or scores the rows of a training dataset."""

VERSION = ModelVersion(
    key="k", brand=BRAND, name=f"e2i-{BRAND}-conversion", version="1", mlflow_run_id="r", model_uri="m",
    stage="production",
)  # fmt: skip
REFERENCES: dict[str, Reference] = {
    "experiment_scope": ExperimentScope(
        key="k", brand=BRAND, target="treatment_initiated", problem_type="classification", population="all",
        observation_window_days=None, prediction_horizon_days=180, minimum_auc=0.6, minimum_precision_at_k=1.2,
        maximum_fpr=0.2, capacity=0.1,
    ),
    "hyperparameter_study": TuningResult(
        key="k", brand=BRAND, study="s", mlflow_run_id="r", mlflow_experiment_id="1", algorithm="xgboost",
        parameters={}, metric="auc", best_value=0.7, trials={}, seconds=1, is_reproducible=True,
    ),
    "trained_model": TrainedModelRef(
        key="k", brand=BRAND, algorithm="xgboost", location="l", version="v", mlflow_run_id="r", model_uri="m",
        fit_rows=1, seconds=1,
    ),
    "registered_model": VERSION,
    "bento": BentoRef(
        key="k", brand=BRAND, tag="b:1", model_tag="m:1", location="l", golden_request="g", model_name=VERSION.name,
        model_version="1",
    ),
    "promoted_model": PromotionRef(key="k", brand=BRAND, is_promoted=True, reason="better", champion=VERSION),
}  # fmt: skip
"""What earlier runs have left current, so that each step gets as far as its gate."""


class Behind:
    """A state folder whose current training dataset nobody may use."""

    def __init__(self, folder: Path) -> None:
        self.gx = gx_copy(folder)
        self.product = Product(
            folder / "state",
            E2I__BRANDS=f"[{BRAND}]",
            E2I__GREAT_EXPECTATIONS__DATA_DOCS_SITE="''",
            E2I__STORES__GX_ROOT=str(self.gx),
        )
        for asset, reference in REFERENCES.items():
            self._show(asset, reference)

    def make(self, change: Callable[[Any], Any] = lambda frame: frame, is_audited: bool = True) -> None:
        """Makes a training dataset current, as `training_dataset` and its checks do."""
        dataset = written(self.product.state, change(rows()))
        known = datetime(2026, 1, 1, tzinfo=UTC)
        dataset = dataset.model_copy(update={"absent_columns": ("hcp_id",), "known_until": known})
        self._show("training_dataset", dataset)
        if is_audited:
            self.audit(dataset)

    def audit(self, dataset: TrainingDatasetRef) -> None:
        gate = build_resources(load_settings(self.product.environment))["gate"]
        assert isinstance(gate, GateResource)
        gate.audit(dataset, "run", datetime(2026, 2, 1, tzinfo=UTC), splits=("train", "validation", "test"))

    def ends(self, *assets: str) -> dict[str, str]:
        """How each step ends that is run alone, in a new process."""
        done = self.product.module("e2i_pipeline_tests.alone", BRAND, *assets)
        assert done.status == 0, done.text
        return json.loads(done.out)

    def _show(self, asset: str, reference: Reference) -> None:
        stored = {"type": type(reference).__name__, "reference": reference.model_dump(mode="json")}
        write_json(self.product.state / "references" / "current" / asset / f"{BRAND}.json", stored)


def with_unknown_brands(frame: Any) -> Any:
    frame["brand"] = "Unheard-Of"
    return frame


def with_a_leak(frame: Any) -> Any:
    """A feature that is the outcome, where that is known."""
    frame["risk_score"] = frame["target"].fillna(0).astype(float) * 2 + 1
    return frame


def all_end_with(ends: dict[str, str], error: str, sentence: str) -> None:
    others = {asset: said for asset, said in ends.items() if not said.startswith(f"{error}: ") or sentence not in said}
    assert others == {}
    assert set(ends) == set(USERS)


def test_rows_that_were_never_audited_are_used_by_no_step(tmp_path: Path) -> None:
    behind = Behind(tmp_path)
    behind.make(is_audited=False)

    all_end_with(behind.ends(*USERS), "QCGateBlockedError", "has not been audited under the present suite")


def test_rows_that_failed_their_audit_are_used_by_no_step(tmp_path: Path) -> None:
    behind = Behind(tmp_path)
    behind.make(with_unknown_brands)

    all_end_with(behind.ends(*USERS), "QCGateBlockedError", "brand_is_configured (critical) failed")


def test_rows_that_leak_are_used_by_no_step(tmp_path: Path) -> None:
    behind = Behind(tmp_path)
    behind.make(with_a_leak)

    all_end_with(behind.ends(*USERS), "LeakageFound", "The training dataset of Kisqali leaks")


def test_rows_that_passed_pass_no_tightened_suite(tmp_path: Path) -> None:
    behind = Behind(tmp_path)
    behind.make()
    [said] = behind.ends("trained_model").values()
    assert said.startswith("ReferenceNotFound: The study of Kisqali was not made on the present training dataset")

    tighten(behind.gx, "e2i_classification_suite", "data_split", ["no such split"])

    all_end_with(behind.ends(*USERS), "QCGateBlockedError", "has not been audited under the present suite")
