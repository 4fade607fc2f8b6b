"""Every record can be written twice, is read back as it was said, and the ledger shows any tampering."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport, Verdict, VerdictKey
from e2i_pipeline.contracts.references import AttributionRef, DeploymentRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable
from e2i_pipeline.metadata.database import Database
from e2i_pipeline.metadata.ledger import LedgerHead
from e2i_pipeline.metadata.migration import downgrade, migrate
from e2i_pipeline.metadata.tables import METADATA
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline_tests import servers

postgres = servers.postgres

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = VerdictKey(subject="patient_journeys", data_version="d1", suite_hash="s1", gate_hash="g1")
SCOPE = ExperimentScope(
    key="scope-1",
    brand="Kisqali",
    target="treatment_initiated",
    problem_type="classification",
    population="all journeys",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.2,
    maximum_fpr=0.2,
    capacity=0.1,
)
TUNING = TuningResult(
    key="training-1",
    brand="Kisqali",
    study="e2i-Kisqali",
    mlflow_run_id="mlflow-1",
    mlflow_experiment_id="1",
    algorithm="xgboost",
    parameters={"max_depth": 4},
    metric="auc",
    best_value=0.7,
    trials={"complete": 3},
    seconds=2.5,
    is_reproducible=True,
)
TRAINED = TrainedModelRef(
    key="training-1",
    brand="Kisqali",
    algorithm="xgboost",
    location="/models/1",
    version="abc",
    mlflow_run_id="mlflow-1",
    model_uri="runs:/mlflow-1/model",
    fit_rows=900,
    seconds=1.5,
)
ATTRIBUTION = AttributionRef(
    key="attribution-1",
    brand="Kisqali",
    location="/shap/1",
    version="abc",
    plot="/shap/1.png",
    importance={"risk_score": 0.7, "treatment_count": 0.3},
    base_value=-0.4,
    rows=1000,
    method="native contributions",
)


def model(version: str) -> ModelVersion:
    return ModelVersion(
        key=f"training-{version}",
        brand="Kisqali",
        name="e2i-Kisqali-conversion",
        version=version,
        mlflow_run_id=f"mlflow-{version}",
        model_uri=f"models:/e2i-Kisqali-conversion/{version}",
        stage="development",
    )


def verdict(is_passed: bool, at: datetime = NOON, key: VerdictKey = KEY, gate: str = "data_quality") -> Verdict:
    reasons = () if is_passed else ("3 of 100 rows have no brand.",)
    return Verdict(key=key, gate=gate, is_passed=is_passed, reasons=reasons, decided_at=at, run_id="run-1")


@pytest.fixture(params=["sqlite", "postgres"])
def metadata(request: pytest.FixtureRequest, tmp_path: Path) -> MetadataResource:
    """A metadata resource on an empty database; the test runs once for each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/state/metadata.db"
    else:
        url = request.getfixturevalue("postgres").database()
    return MetadataResource(url=url, lock_dir=str(tmp_path / "locks"))


@pytest.fixture
def local(tmp_path: Path) -> MetadataResource:
    """A metadata resource on SQLite, where the kind of database does not matter."""
    return MetadataResource(url=f"sqlite:///{tmp_path}/metadata.db", lock_dir=str(tmp_path / "locks"))


class TestVerdicts:
    """A verdict counts for exactly its key."""

    def test_is_read_back_as_it_was_given(self, metadata: MetadataResource) -> None:
        assert metadata.verdict(KEY) is None
        metadata.record_verdict(verdict(is_passed=False))
        assert metadata.verdict(KEY) == verdict(is_passed=False)

    @pytest.mark.parametrize("part", ["subject", "data_version", "suite_hash", "gate_hash"])
    def test_does_not_count_for_another_key(self, local: MetadataResource, part: str) -> None:
        local.record_verdict(verdict(is_passed=True))
        assert local.verdict(KEY.model_copy(update={part: "other"})) is None

    def test_later_decision_counts_whichever_comes_last(self, metadata: MetadataResource) -> None:
        metadata.record_verdict(verdict(is_passed=False, at=NOON))
        metadata.record_verdict(verdict(is_passed=True, at=NOON - timedelta(hours=1)))
        assert metadata.verdict(KEY) == verdict(is_passed=False)
        metadata.record_verdict(verdict(is_passed=True, at=NOON + timedelta(hours=1)))
        found = metadata.verdict(KEY)
        assert found
        assert found.is_passed
        assert len(metadata.rows("ml_gate_verdicts")) == 1

    def test_latest_is_the_newest_of_any_suite(self, metadata: MetadataResource) -> None:
        stricter = KEY.model_copy(update={"suite_hash": "s2"})
        metadata.record_verdict(verdict(is_passed=False, at=NOON + timedelta(hours=1), key=stricter))
        metadata.record_verdict(verdict(is_passed=True))
        found = metadata.latest_verdict("patient_journeys", "d1", "data_quality")
        assert found
        assert found.key == stricter
        assert metadata.latest_verdict("patient_journeys", "d2", "data_quality") is None
        assert metadata.latest_verdict("patient_journeys", "d1", "evaluation") is None

    def test_two_gates_may_not_share_a_key(self, local: MetadataResource) -> None:
        local.record_verdict(verdict(is_passed=True))
        with pytest.raises(ToolRejected, match="already carries a data_quality verdict"):
            local.record_verdict(verdict(is_passed=True, gate="infrastructure"))
        with pytest.raises(ToolRejected, match="ck_ml_gate_verdicts_gate"):
            local.record_verdict(verdict(is_passed=True, gate="mood", key=KEY.model_copy(update={"subject": "x"})))


def report(split: str = "") -> ValidationReport:
    def outcome(name: str, status: str, tested: int, unexpected: int) -> ExpectationOutcome:
        return ExpectationOutcome(
            name=name,
            expectation_type="expect_column_values_to_not_be_null",
            column="brand",
            severity="critical",
            status=status,
            tested_rows=tested,
            unexpected_rows=unexpected,
        )

    outcomes = (outcome("a", "passed", 100, 0), outcome("b", "failed", 100, 10), outcome("c", "skipped", 0, 0))
    found: dict[str, Any] = {"table": "patient_journeys", "data_version": "d1", "suite": "e2i_patient_journeys"}
    return ValidationReport(**found, suite_hash="s1", split=split, outcomes=outcomes, seconds=0.5)


class TestQualityReports:
    """An audit is one row, whatever number of times it is recorded."""

    def test_counts_and_dimensions_are_kept(self, metadata: MetadataResource) -> None:
        for _ in range(2):
            metadata.record_quality_report(report(), {"completeness": 0.9}, "failed", "run-1", leakage={"columns": 0})
        metadata.record_quality_report(report("train"), {}, "warning", "run-1")
        metadata.record_quality_report(report(), {}, "failed", "run-2")
        rows = metadata.quality_reports("d1")
        assert len(rows) == 3
        (row,) = [r for r in rows if (r["dagster_run_id"], r["split"]) == ("run-1", "")]
        counts = [row[n] for n in ("passed", "failed", "skipped", "errors", "tested_rows", "unexpected_rows")]
        assert counts == [1, 1, 1, 0, 200, 10]
        assert (row["success_rate"], row["completeness"], row["accuracy"]) == (0.95, 0.9, None)
        assert row["leakage"] == {"columns": 0}
        assert [e["name"] for e in row["failed_expectations"]] == ["b"]
        assert metadata.quality_reports("d2") == []

    def test_unknown_dimension_or_status_is_refused(self, local: MetadataResource) -> None:
        with pytest.raises(ToolRejected, match=r"Not a dimension of data quality: beauty\. Known: completeness"):
            local.record_quality_report(report(), {"beauty": 1.0}, "passed", "run-1")
        with pytest.raises(ToolRejected, match="ck_ml_data_quality_reports_status"):
            local.record_quality_report(report(), {}, "fine", "run-1")


class TestTraining:
    """Scope, training and version are found again by their own keys."""

    def test_one_experiment_per_brand_and_target(self, metadata: MetadataResource) -> None:
        metadata.record_experiment(SCOPE, "1", "run-1")
        metadata.record_experiment(SCOPE.model_copy(update={"key": "scope-2", "minimum_auc": 0.7}), "1", "run-2")
        metadata.record_experiment(SCOPE.model_copy(update={"brand": "Fabhalta"}), "2", "run-2")
        rows = {r["brand"]: r for r in metadata.rows("ml_experiments")}
        assert {b: (r["scope_key"], r["minimum_auc"]) for b, r in rows.items()} == {
            "Kisqali": ("scope-2", 0.7),
            "Fabhalta": ("scope-1", 0.6),
        }

    def test_later_steps_complete_the_training_run(self, metadata: MetadataResource) -> None:
        metadata.record_training_run(TUNING, "run-1", status="running", started_at=NOON)
        metadata.record_training_run(TUNING, "run-1", status="completed", trial=0, metrics={"validation": {"auc": 0.7}})
        samples = {"train": 900, "test": 200}
        metadata.record_training_run(TRAINED, "run-1", status="completed", samples=samples, is_best=True)
        metrics = {"test": {"auc": 0.71, "calibration_slope": float("nan")}}
        for _ in range(2):
            metadata.record_training_run(TRAINED, "run-1", status="completed", metrics=metrics)
        run, trial = sorted(
            metadata.rows("ml_training_runs", training_key="training-1"), key=lambda r: r["optuna_trial"] is not None
        )
        assert (run["status"], run["started_at"], run["samples"], run["is_best"]) == ("completed", NOON, samples, True)
        assert (run["hyperparameters"], run["optuna_study"]) == ({"max_depth": 4}, "e2i-Kisqali")
        assert run["metrics"] == {"test": {"auc": 0.71, "calibration_slope": None}}
        assert run["model_uri"] == "runs:/mlflow-1/model"
        assert (trial["optuna_trial"], trial["metrics"], trial["is_best"]) == (0, {"validation": {"auc": 0.7}}, False)

    def test_registering_again_does_not_demote(self, metadata: MetadataResource) -> None:
        metrics = {"test": {"auc": 0.71, "pr_auc": 0.5, "brier": float("nan")}, "train": {"auc": 0.8}}
        metadata.record_model(model("1"), metrics, {"gender": {"auc_gap": 0.01}}, "run-1", "xgboost", NOON)
        metadata.set_stage("e2i-Kisqali-conversion", "1", "production", is_champion=True, at=NOON)
        metadata.record_model(model("1"), metrics, {}, "run-2", "xgboost", NOON + timedelta(days=1))
        (row,) = metadata.rows("ml_model_registry")
        assert (row["stage"], row["is_champion"], row["registered_at"]) == ("production", True, NOON)
        assert (row["auc"], row["pr_auc"], row["brier"], row["dagster_run_id"]) == (0.71, 0.5, None, "run-2")

    def test_new_champion_ends_the_one_before(self, metadata: MetadataResource) -> None:
        name = "e2i-Kisqali-conversion"
        assert metadata.champion(name) is None
        for version in ("1", "2"):
            metadata.record_model(model(version), {}, {}, "run-1")
            metadata.set_stage(name, version, "production", is_champion=True)
            assert metadata.champion(name) == model(version).model_copy(update={"stage": "production"})
        assert len(metadata.rows("ml_model_registry", is_champion=True)) == 1
        metadata.set_stage(name, "2", "archived", is_champion=False)
        assert metadata.champion(name) is None

    def test_stage_of_the_unknown_and_unknown_stage_are_refused(self, local: MetadataResource) -> None:
        with pytest.raises(ToolRejected, match=r"no recorded version 9 \(recorded: none\)"):
            local.set_stage("e2i-Kisqali-conversion", "9", "production", is_champion=True)
        local.record_model(model("1"), {}, {}, "run-1")
        with pytest.raises(ToolRejected, match="ck_ml_model_registry_stage"):
            local.set_stage("e2i-Kisqali-conversion", "1", "Production", is_champion=True)
        with pytest.raises(ToolRejected, match=r"recorded: 1\)"):
            local.set_stage("e2i-Kisqali-conversion", "2", "production", is_champion=True)

    def test_failed_training_needs_a_known_status(self, local: MetadataResource) -> None:
        local.record_training_run(TUNING, "run-1", status="failed", error="CohortTooSmall")
        with pytest.raises(ToolRejected, match="ck_ml_training_runs_status"):
            local.record_training_run(TUNING, "run-1", status="exploded")


class TestFeaturesAndOperations:
    """Features, explanations and deployments are completed by later steps, never doubled."""

    def test_statistics_and_importance_meet_in_one_row(self, metadata: MetadataResource) -> None:
        statistics = {
            "feature": "risk_score",
            "feature_group": "patient_features",
            "mean": 0.4,
            "quantiles": {"0.5": 0.4},
            "histogram": {"n": [1]},
        }
        metadata.record_features("Kisqali", "v1", [statistics], "run-1")
        metadata.record_features("Kisqali", "v1", [{"feature": "risk_score", "global_importance": 0.7}], "run-2")
        metadata.record_features("Fabhalta", "v1", [statistics], "run-2")
        (row,) = metadata.feature_statistics("patient_features", "Kisqali")
        assert (row["mean"], row["global_importance"], row["histogram"]) == (0.4, 0.7, {"n": [1]})
        assert metadata.get_feature_statistics("patient_features", "Kisqali") == [row]
        assert row["quantiles"] == {"0.5": 0.4}
        brands = [each["brand"] for each in metadata.get_feature_statistics("patient_features")]
        assert brands == ["Fabhalta", "Kisqali"]

    @pytest.mark.parametrize(
        ("row", "message"), [({"mean": 1.0}, "without its name"), ({"feature": "a", "avg": 1.0}, "no column avg")]
    )
    def test_unknown_statistics_are_refused(self, local: MetadataResource, row: dict[str, Any], message: str) -> None:
        with pytest.raises(ToolRejected, match=message):
            local.record_features("Kisqali", "v1", [{"feature": "b"}, row], "run-1")
        assert local.rows("ml_feature_store") == [], "all or nothing"

    def test_shap_analysis_per_kind_and_segment(self, metadata: MetadataResource) -> None:
        for segment in ("", "northeast", "northeast"):
            kind = "segment" if segment else "global"
            metadata.record_shap(ATTRIBUTION, "run-1", model=model("1"), analysis_type=kind, segment=segment)
        rows = metadata.rows("ml_shap_analyses", brand="Kisqali")
        assert sorted(r["segment"] for r in rows) == ["", "northeast"]
        assert rows[0]["importances"] == ATTRIBUTION.importance
        with pytest.raises(ToolRejected, match="analysis_type"):
            metadata.record_shap(ATTRIBUTION, "run-1", analysis_type="cosmic")

    def test_deployment_keeps_what_is_not_said_again(self, metadata: MetadataResource) -> None:
        deployment = DeploymentRef(
            key="d-1", brand="Kisqali", bento_tag="e2i:1", location="/d.json", endpoint="http://x", status="pending"
        )
        metadata.record_deployment(deployment, "development", "run-1", model=model("1"), at=NOON)
        active = deployment.model_copy(update={"status": "active"})
        metadata.record_deployment(active, "development", "run-2", latencies_ms={"p50": 1.0, "p99": 9.0})
        (row,) = metadata.rows("ml_deployments")
        assert (row["id"], row["status"], row["model_version"], row["latency_p99_ms"]) == ("d-1", "active", "1", 9.0)
        assert row["status_changed_at"] == NOON
        with pytest.raises(ToolRejected, match="ck_ml_deployments_status"):
            metadata.record_deployment(deployment.model_copy(update={"status": "lost"}), "development", "run-3")


def span(name: str, **changed: Any) -> dict[str, Any]:
    born = {"trace_id": "trace-1", "trace_started_at": NOON, "started_at": NOON, "ended_at": NOON, "duration_ms": 0.0}
    agent = {"agent_name": "data_preparer", "agent_tier": "ml_foundation", "operation": "audit", "status": "ok"}
    kept = {"kind": "agent", "parent_span_id": None, "export_state": "pending", "attributes": {"rows": 3}}
    return {"span_id": name, **kept, **born, **agent, **changed}


class TestSpans:
    """A span is one row; what waits to be sent is known until it is sent."""

    def test_spans_wait_until_they_are_sent(self, metadata: MetadataResource) -> None:
        later = NOON + timedelta(seconds=1)
        for _ in range(2):
            metadata.record_spans([span("b", started_at=later, parent_span_id="a", trace_started_at=later), span("a")])
        assert [row["span_id"] for row in metadata.spans("trace-1")] == ["a", "b"]
        waiting = metadata.spans_to_export(10)
        assert [(row["span_id"], row["trace_started_at"]) for row in waiting] == [("a", NOON), ("b", NOON)]
        assert waiting[0]["attributes"] == {"rows": 3}
        metadata.mark_spans(["a"], "sent")
        assert [row["span_id"] for row in metadata.spans_to_export(10)] == ["b"]


def reading(metadata: MetadataResource, occasion: str, at: datetime = NOON, run_id: str = "run-1") -> None:
    dataset = TrainingDatasetRef(
        key="t",
        name="training_dataset",
        version="v1",
        brand="Kisqali",
        dataset_key="d",
        features=(),
        split_counts={"test": 15},
        positives={},
    )
    metadata.record_test_reading(
        dataset,
        training_key="training-1",
        model_version="files-1",
        mlflow_run_id="1" * 32,
        purpose="evaluation",
        occasion=occasion,
        run_id=run_id,
        read_at=at,
    )


class TestReadingsOfTheTest:
    """A reading is one row, and stays as it was first written."""

    def test_the_same_occasion_is_recorded_once_with_its_first_time(self, metadata: MetadataResource) -> None:
        reading(metadata, "evaluation-2", NOON + timedelta(hours=1))
        for _ in range(2):
            reading(metadata, "evaluation-1")
        reading(metadata, "evaluation-1", NOON + timedelta(hours=2), "run-2")
        found = metadata.test_readings("v1")
        assert [(row["occasion"], row["read_at"], row["dagster_run_id"]) for row in found] == [
            ("evaluation-1", NOON, "run-1"),
            ("evaluation-2", NOON + timedelta(hours=1), "run-1"),
        ]
        assert [row["rows"] for row in found] == [15, 15]
        assert metadata.test_readings("v2") == []


class TestEveryTable:
    """The schema goes down and comes up again with something in each of its tables."""

    def test_tables_with_rows_go_down_and_come_up_empty(self, metadata: MetadataResource) -> None:
        metadata.record_verdict(verdict(True))
        metadata.record_quality_report(report(), {}, "passed", "run-1")
        metadata.record_experiment(SCOPE, "1", "run-1")
        metadata.record_training_run(TUNING, "run-1", status="completed")
        metadata.record_model(model("1"), {}, {}, "run-1")
        reading(metadata, "evaluation-1")
        metadata.record_features("Kisqali", "v1", [{"feature": "risk_score"}], "run-1")
        metadata.record_shap(ATTRIBUTION, "run-1", analysis_type="global")
        place = {"location": "/d.json", "endpoint": "http://x", "status": "pending"}
        metadata.record_deployment(
            DeploymentRef(key="d-1", brand="Kisqali", bento_tag="e2i:1", **place), "development", "run-1"
        )
        metadata.record_spans([span("a")])
        append(metadata, 2)
        assert all(metadata.rows(table) for table in METADATA.tables)

        database = Database(metadata.url)
        downgrade(database)
        assert set(sa.inspect(database.engine).get_table_names()) == {"alembic_version"}

        migrate(metadata.url)
        assert not any(metadata.rows(table) for table in METADATA.tables)


def append(metadata: MetadataResource, count: int) -> LedgerHead:
    head = LedgerHead(0, "")
    for n in range(count):
        payload = {"rows": n, "share": 0.1, "metric": float("nan"), "names": ("é", "b")}
        at = NOON + timedelta(microseconds=n)
        head = metadata.append_ledger("override", "events", "qa@example.org", f"reason {n}", payload, at, "run-1")
    return head


def tamper(metadata: MetadataResource, *statements: str) -> None:
    """Changes the ledger as someone with full rights would: by taking the protection away first."""
    database = Database(metadata.url)
    guards = ["DROP TRIGGER ml_ledger_append_only ON ml_ledger"]
    if database.path:
        guards = ["DROP TRIGGER ml_ledger_no_update", "DROP TRIGGER ml_ledger_no_delete"]
    with database.write() as connection:
        for statement in [*guards, *statements]:
            connection.execute(sa.text(statement))


class TestLedger:
    """The ledger grows only, and shows what was done to it."""

    def test_chain_holds(self, metadata: MetadataResource) -> None:
        assert metadata.verify_ledger() == []
        assert metadata.ledger_head().sequence == 0
        head = append(metadata, 5)
        assert metadata.ledger_head() == head
        assert head.sequence == 5
        assert metadata.verify_ledger(anchor=head) == []
        first = metadata.ledger()[0]
        assert (first["actor"], first["at"], first["payload"]["metric"]) == ("qa@example.org", NOON, None)

    @pytest.mark.parametrize(
        "change", ["UPDATE ml_ledger SET reason = 'x'", "DELETE FROM ml_ledger", "TRUNCATE ml_ledger"]
    )
    def test_database_itself_refuses_a_change(self, metadata: MetadataResource, change: str) -> None:
        head = append(metadata, 2)
        database = Database(metadata.url)
        if database.path and change.startswith("TRUNCATE"):
            pytest.skip("SQLite has no TRUNCATE")
        with pytest.raises(ToolRejected, match="append-only"), database.write() as connection:
            connection.execute(sa.text(change))
        assert metadata.verify_ledger(head) == []

    @pytest.mark.parametrize(
        ("statements", "at"),
        [
            (["UPDATE ml_ledger SET reason = 'x' WHERE sequence = 3"], 3),
            (["UPDATE ml_ledger SET payload = '{\"rows\": 7}' WHERE sequence = 2"], 2),
            (["UPDATE ml_ledger SET actor = 'me', hash = 'f' WHERE sequence = 3"], 3),
            (["DELETE FROM ml_ledger WHERE sequence = 3"], 4),
            (
                [
                    "UPDATE ml_ledger SET sequence = 9 WHERE sequence = 2",
                    "UPDATE ml_ledger SET sequence = 2 WHERE sequence = 3",
                    "UPDATE ml_ledger SET sequence = 3 WHERE sequence = 9",
                ],
                2,
            ),
        ],
        ids=["edit", "edit of the payload", "edit of the hash", "delete", "reorder"],
    )
    def test_tampering_is_found(self, metadata: MetadataResource, statements: list[str], at: int) -> None:
        append(metadata, 5)
        tamper(metadata, *statements)
        findings = metadata.verify_ledger()
        assert findings
        assert findings[0].sequence == at

    def test_truncation_is_found_behind_the_anchor(self, metadata: MetadataResource) -> None:
        head = append(metadata, 5)
        tamper(metadata, "DELETE FROM ml_ledger WHERE sequence > 3")
        assert metadata.verify_ledger() == [], "a chain alone does not know its length"
        (finding,) = metadata.verify_ledger(head)
        assert "ends at entry 3, but its anchor is entry 5" in finding.problem
        append(metadata, 2)
        (finding,) = metadata.verify_ledger(head)
        assert (finding.sequence, "rewritten" in finding.problem) == (5, True)

    def test_writers_append_one_after_another(self, metadata: MetadataResource) -> None:
        """Each thread has a connection of its own, and the database is what makes them wait: so for processes."""
        with ThreadPoolExecutor(4) as pool:
            heads = list(pool.map(lambda _: append(metadata, 10), range(4)))
        assert max(heads) == metadata.ledger_head()
        assert metadata.ledger_head().sequence == 40
        assert metadata.verify_ledger() == []

    @pytest.mark.parametrize("missing", ["kind", "subject", "actor", "reason"])
    def test_entry_without_an_actor_or_a_reason_is_refused(self, local: MetadataResource, missing: str) -> None:
        said = {"kind": "override", "subject": "events", "actor": "qa", "reason": "late"} | {missing: " "}
        with pytest.raises(ToolRejected, match=f"needs a {missing}"):
            local.append_ledger(**said, payload={}, at=NOON)
        assert local.ledger() == []

    def test_time_without_zone_or_a_payload_that_is_no_json_is_refused(self, local: MetadataResource) -> None:
        with pytest.raises(ToolRejected, match="without a time zone"):
            local.append_ledger("override", "events", "qa", "late", {}, datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(ToolRejected, match="object is not a JSON value"):
            local.append_ledger("override", "events", "qa", "late", {"x": object()}, NOON)
        assert local.ledger() == []


class TestResource:
    """The resource opens its database late, hides its password and says what is wrong."""

    def test_password_is_not_shown(self) -> None:
        metadata = MetadataResource(url=f"postgresql://e2i:s3cret@127.0.0.1:{servers.free_port()}/db", lock_dir="locks")
        assert "s3cret" not in repr(metadata)
        with pytest.raises(ToolUnavailable) as failure:
            metadata.champion("x")
        assert "s3cret" not in str(failure.value)
        assert "127.0.0.1" in str(failure.value)

    def test_url_may_come_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        metadata = MetadataResource(url=dg.EnvVar("A_METADATA_URL"), lock_dir=str(tmp_path))
        monkeypatch.delenv("A_METADATA_URL", raising=False)
        with pytest.raises(ConfigurationError, match="set E2I_METADATA_URL"):
            metadata.ledger_head()
        monkeypatch.setenv("A_METADATA_URL", f"sqlite:///{tmp_path}/metadata.db")
        assert metadata.ledger_head().sequence == 0

    def test_unknown_table_and_column_are_refused(self, local: MetadataResource) -> None:
        with pytest.raises(ToolRejected, match=r"no metadata table ml_nothing\. Tables: ml_data_quality_reports"):
            local.rows("ml_nothing")
        with pytest.raises(ToolRejected, match="ml_ledger has no column colour"):
            local.rows("ml_ledger", colour="red")

    def test_import_costs_neither_sqlalchemy_nor_alembic(self) -> None:
        code = "import sys, e2i_pipeline.resources.opik; print({'sqlalchemy', 'alembic', 'opik'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stdout == "set()\n"
