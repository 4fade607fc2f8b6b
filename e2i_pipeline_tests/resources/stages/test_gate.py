"""The gate on real tables, real suites and a real database: what it remembers, and when that counts no more.

Each `gate()` is built afresh, as a new process would.
"""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.references import BentoRef, TableRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.errors import QCGateBlockedError
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline_tests.resources.audit_tables import BRANDS, GOOD, GX_ROOT, auditor, stage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLES = ("patient_journeys", "treatment_events", "hcp_profiles", "engagement_events")
SUITES = {name: suite for name, (suite, _) in GOOD.items()}
LANDED = {"known_until": datetime(2026, 1, 1, tzinfo=UTC)}


def gate(folder: Path, gx_root: Path = GX_ROOT, **configured: Any) -> GateResource:
    """The gate over a state folder, with nothing in memory."""
    return GateResource(
        state_dir=str(folder),
        great_expectations=auditor(folder, gx_root=str(gx_root), **configured),
        metadata=MetadataResource(url=f"sqlite:///{folder}/metadata.db", lock_dir=str(folder / "locks")),
        suites=SUITES,
        parameters={"brands": BRANDS, "cohort_unit": "patient"},
    )


def landed(folder: Path, name: str, change: Callable[[dict[str, list[Any]]], Any] = lambda columns: None) -> TableRef:
    """A good table after a change to it."""
    columns = GOOD[name][1]()
    change(columns)
    return stage(folder, name, columns, **LANDED)


def good(folder: Path) -> list[TableRef]:
    return [landed(folder, name) for name in TABLES]


def audit_all(gate: GateResource, tables: list[TableRef]) -> None:
    for table in tables:
        gate.audit(table, "run-1", NOON, others=tables)


def without_brands(columns: dict[str, list[Any]]) -> None:
    columns["brand"][:3] = ["Unheard"] * 3


def edited_suites(folder: Path, suite: str, edit: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the repository's suites, one of them changed."""
    root = folder / "gx"
    shutil.copytree(GX_ROOT, root)
    path = root / "expectations" / f"{suite}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return root


def test_good_tables_pass_and_the_verdict_is_recalled(tmp_path: Path) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)

    verdicts = gate(tmp_path).require(tables)

    assert [v.key.subject for v in verdicts] == list(TABLES)
    assert all(v.is_passed and v.run_id == "run-1" and v.decided_at == NOON for v in verdicts)


def test_the_same_table_is_not_audited_twice(tmp_path: Path) -> None:
    tables = good(tmp_path)
    first = gate(tmp_path).audit(tables[0], "run-1", NOON, others=tables)

    again = gate(tmp_path).audit(tables[0], "run-2", NOON + timedelta(days=1), others=tables)

    assert again == first
    assert len(gate(tmp_path).metadata.quality_reports(tables[0].version)) == 1


def test_a_lost_report_is_made_again(tmp_path: Path) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)
    shutil.rmtree(tmp_path / "audits")
    assert gate(tmp_path).stored(tables[0], others=tables) is None

    _, verdict = gate(tmp_path).audit(tables[0], "run-2", NOON + timedelta(days=1), others=tables)

    assert verdict.run_id == "run-2"
    assert gate(tmp_path).stored(tables[0], others=tables) is not None


def test_what_was_never_audited_is_refused_with_the_way_out(tmp_path: Path) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables[:3])

    with pytest.raises(QCGateBlockedError) as caught:
        gate(tmp_path).require(tables)

    message = str(caught.value)
    assert "nothing was changed" in message
    assert (
        f"engagement_events (version {tables[3].version[:12]}) has not been audited under the present suite "
        "e2i_engagement_events. Audit it: materialize engagement_events with its checks."
    ) in message
    assert "patient_journeys" not in message


def test_a_failed_audit_is_refused_in_a_new_process(tmp_path: Path) -> None:
    tables = [landed(tmp_path, "patient_journeys", without_brands), *good(tmp_path)[1:]]
    audit_all(gate(tmp_path), tables)

    with pytest.raises(QCGateBlockedError) as caught:
        gate(tmp_path).require(tables)

    message = str(caught.value)
    assert "patient_journeys.brand: brand_is_configured (critical) failed: 3 of 12 rows" in message
    assert "gx/expectations/e2i_patient_journeys.json" in message
    assert "Correct the source and materialize patient_journeys again" in message
    assert "Unheard" not in message


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    tables = [landed(tmp_path, "patient_journeys", without_brands), *good(tmp_path)[1:]]
    gate(tmp_path).audit(tables[0], "run-1", NOON, others=tables)

    with pytest.raises(QCGateBlockedError) as caught:
        gate(tmp_path).require([tables[0], tables[2]])

    assert "brand_is_configured" in str(caught.value)
    assert "hcp_profiles" in str(caught.value)


def test_new_rows_need_a_verdict_of_their_own(tmp_path: Path) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)
    changed = landed(tmp_path, "engagement_events", lambda columns: columns.update(channel=["email"] * 3))

    with pytest.raises(QCGateBlockedError, match=r"engagement_events .* has not been audited"):
        gate(tmp_path).require([*tables[:3], changed])


def test_a_verdict_is_about_the_tables_referred_to_as_well(tmp_path: Path) -> None:
    """Events without their journeys would be found in the events' audit: other journeys, another audit."""
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)
    others = [landed(tmp_path, "hcp_profiles", lambda columns: columns.update(decile=[2, 5, 10] * 2)), tables[0]]
    audit_all(gate(tmp_path), [others[0]])

    with pytest.raises(QCGateBlockedError) as caught:
        gate(tmp_path).require([others[0], *tables[:2], tables[3]])

    refused = str(caught.value)
    assert "hcp_profiles (version" not in refused
    assert all(f"{name} (version" in refused for name in ("patient_journeys", "treatment_events", "engagement_events"))


def test_a_tightened_suite_outlives_yesterdays_pass(tmp_path: Path) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)

    def tighten(suite: dict[str, Any]) -> None:
        [ages] = [e for e in suite["expectations"] if e["meta"]["name"] == "age_at_diagnosis_is_plausible"]
        ages["kwargs"]["max_value"] = 45
        ages["severity"] = "critical"

    stricter = edited_suites(tmp_path, "e2i_patient_journeys", tighten)
    with pytest.raises(QCGateBlockedError, match=r"patient_journeys .* has not been audited under the present suite"):
        gate(tmp_path, stricter).require(tables)

    _, verdict = gate(tmp_path, stricter).audit(tables[0], "run-2", NOON, others=tables)
    assert not verdict.is_passed
    with pytest.raises(QCGateBlockedError, match="age_at_diagnosis_is_plausible"):
        gate(tmp_path, stricter).require(tables)

    gate(tmp_path).require(tables)  # the pass under the suite of before is still known, and counts for that suite


def test_another_wording_is_not_another_suite(tmp_path: Path) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)

    def reword(suite: dict[str, Any]) -> None:
        suite["expectations"][0]["meta"]["rule"] = "Said in other words."

    gate(tmp_path, edited_suites(tmp_path, "e2i_patient_journeys", reword)).require(tables)


@pytest.mark.parametrize(
    "configured",
    [
        {"min_pass_rate": 0.999},
        {"block_on_failure": False},
        {"critical_expectations": ["expect_column_values_to_be_in_set"]},
    ],
    ids=lambda c: next(iter(c)),
)
def test_another_gate_configuration_asks_again(tmp_path: Path, configured: dict[str, Any]) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)

    with pytest.raises(QCGateBlockedError, match="has not been audited"):
        gate(tmp_path, **configured).require(tables)


def test_other_brands_ask_again(tmp_path: Path) -> None:
    tables = good(tmp_path)
    audit_all(gate(tmp_path), tables)
    fewer = gate(tmp_path).model_copy(update={"parameters": {"brands": BRANDS[:1], "cohort_unit": "patient"}})

    with pytest.raises(QCGateBlockedError, match=r"patient_journeys .* has not been audited"):
        fewer.require(tables)


def test_a_gate_that_is_set_not_to_block_warns(tmp_path: Path) -> None:
    table = landed(tmp_path, "patient_journeys", without_brands)
    open_gate = gate(tmp_path, block_on_failure=False)

    _, verdict = open_gate.audit(table, "run-1", NOON)

    assert verdict.is_passed
    assert verdict.warnings[0].startswith("The gate is set not to block")
    assert open_gate.require([table]) == (verdict,)


def test_an_absent_table_is_audited_as_absent(tmp_path: Path) -> None:
    absent = TableRef(key="k", name="engagement_events", version="absent", is_absent=True)

    (report,), verdict = gate(tmp_path).audit(absent, "run-1", NOON)

    assert verdict.is_passed
    assert (report.passed, report.failed) == (0, 0)
    assert report.skipped == len(report.outcomes) > 0
    assert [row["status"] for row in gate(tmp_path).metadata.quality_reports("absent")] == ["skipped"]
    gate(tmp_path).require([absent])


def test_splits_are_audited_one_by_one_under_one_verdict(tmp_path: Path) -> None:
    splits = ("train", "validation", "test")
    table = landed(tmp_path, "training_dataset")

    reports, verdict = gate(tmp_path).audit(table, "run-1", NOON, splits=splits)

    assert [report.split for report in reports] == list(splits)
    assert verdict.is_passed
    assert gate(tmp_path).stored(table, splits) == (reports, verdict)
    gate(tmp_path).require([table])


def test_one_bad_split_closes_the_gate_and_only_it_is_recorded_as_failed(tmp_path: Path) -> None:
    def spoil(columns: dict[str, list[Any]]) -> None:
        columns["target"][columns["data_split"].index("test")] = 7

    table = landed(tmp_path, "training_dataset", spoil)

    _, verdict = gate(tmp_path).audit(table, "run-1", NOON, splits=("train", "validation", "test"))

    assert not verdict.is_passed
    assert all("training_dataset[test]" in reason for reason in verdict.reasons)
    status = {row["split"]: row["status"] for row in gate(tmp_path).metadata.quality_reports(table.version)}
    assert (status["test"], status["train"], status["validation"]) == ("failed", "passed", "passed")


def test_nothing_of_a_row_is_stored(tmp_path: Path) -> None:
    table = landed(tmp_path, "patient_journeys", without_brands)
    gate(tmp_path).audit(table, "run-1", NOON)

    kept = [path.read_bytes() for path in (tmp_path / "audits").rglob("*.json")]
    kept += [path.read_bytes() for path in tmp_path.glob("metadata.db*")]
    assert kept
    assert not any(b"Unheard" in content or b"patient-1" in content for content in kept)


def moment(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def table_known(known: datetime | None, landed_at: datetime | None) -> TableRef:
    return TableRef(key="k", name="patient_journeys", version="v", known_until=known, landed_at=landed_at)


def test_as_of_is_the_latest_known_at_time_but_never_later_than_the_landing(tmp_path: Path) -> None:
    at = gate(tmp_path).dataset_as_of

    assert at([table_known(moment(3), moment(9)), table_known(moment(5), moment(9))]) == moment(5)
    assert at([table_known(datetime(2199, 1, 1, tzinfo=UTC), moment(9)), table_known(moment(5), moment(8))]) == moment(
        9
    )
    assert at([table_known(None, moment(9)), table_known(moment(5), moment(9))]) == moment(5)
    assert at([table_known(None, moment(9))]) == moment(9)


@pytest.mark.parametrize("written", ["2026-01-02T00:00:00", "2026-01-02T00:00:00+00:00", "2026-01-02T02:00:00+02:00"])
def test_a_configured_as_of_wins_and_is_utc(tmp_path: Path, written: str) -> None:
    chosen = gate(tmp_path).model_copy(update={"as_of": written}).dataset_as_of([table_known(moment(5), moment(9))])

    assert chosen.isoformat() == "2026-01-02T00:00:00+00:00"


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
MODEL = TrainedModelRef(
    key="training-1",
    brand="Kisqali",
    algorithm="xgboost",
    location="models/Kisqali/training-1",
    version="files-1",
    mlflow_run_id="run",
    model_uri="models:/m-1",
    fit_rows=600,
    seconds=1.0,
)
BENTO = BentoRef(
    key="b",
    brand="Kisqali",
    tag="e2i-kisqali-conversion:1-abc",
    model_tag="e2i-kisqali-conversion:1-abc",
    location="bentos/1",
    golden_request="golden.json",
    model_name="e2i-Kisqali-conversion",
    model_version="1",
)


def evaluation(*unmet: str) -> EvaluationRef:
    return EvaluationRef(
        key="training-1",
        brand="Kisqali",
        location="evaluation.json",
        version="e1",
        metrics={"test": {"auc": 0.7}},
        threshold=0.5,
        is_passed=not unmet,
        unmet=unmet,
    )


@pytest.mark.parametrize("unmet", [(), ("AUC 0.55 is below 0.60.",)])
def test_an_evaluation_is_remembered_for_this_model_and_scope_only(tmp_path: Path, unmet: tuple[str, ...]) -> None:
    assert gate(tmp_path).verdict_of(MODEL, SCOPE) is None
    recorded = gate(tmp_path).record_evaluation(MODEL, SCOPE, evaluation(*unmet), "run-1", NOON)

    assert gate(tmp_path).verdict_of(MODEL, SCOPE) == recorded
    assert (recorded.gate, recorded.is_passed, recorded.reasons) == ("evaluation", not unmet, unmet)
    assert gate(tmp_path).verdict_of(MODEL.model_copy(update={"version": "files-2"}), SCOPE) is None
    assert gate(tmp_path).verdict_of(MODEL, SCOPE.model_copy(update={"key": "scope-2"})) is None


def test_an_infrastructure_verdict_may_change_with_a_later_try(tmp_path: Path) -> None:
    assert gate(tmp_path).infrastructure_verdict(BENTO) is None
    gate(tmp_path).record_infrastructure(BENTO, "It did not start.", "run-1", NOON)
    failed = gate(tmp_path).infrastructure_verdict(BENTO)
    gate(tmp_path).record_infrastructure(BENTO, "", "run-2", NOON + timedelta(hours=1))
    mended = gate(tmp_path).infrastructure_verdict(BENTO)

    assert failed is not None
    assert (failed.is_passed, failed.reasons) == (False, ("It did not start.",))
    assert mended is not None
    assert (mended.is_passed, mended.reasons, mended.run_id) == (True, (), "run-2")
    assert gate(tmp_path).infrastructure_verdict(BENTO.model_copy(update={"tag": "other:1"})) is None
