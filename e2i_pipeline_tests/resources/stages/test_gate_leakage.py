"""The gate on a training dataset knows of leaks: its verdict refuses them in any process, and its rows count them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from e2i_pipeline.contracts.references import FeatureSpec, TrainingDatasetRef
from e2i_pipeline.domain.leakage import KINDS
from e2i_pipeline.errors import QCGateBlockedError
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline_tests.resources.stages import test_gate, test_modelling

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPLITS = ("train", "validation", "test")
RECODED = FeatureSpec(name="recoded", kind="numeric", view="patient_features")


def gate(folder: Path, **modelling: Any) -> GateResource:
    """The gate as a new process has it, with the leakage audit in it."""
    fields = {"modelling": test_modelling.modelling(folder, **modelling)}
    return test_gate.gate(folder).model_copy(update=fields)


def dataset(folder: Path, leaking: bool) -> TrainingDatasetRef:
    rows = test_modelling.rows()
    rows["hcp_id"] = "hcp-" + rows["risk_score"].rank(method="first").fillna(0).astype(int).astype(str)
    rows["recoded"] = 0.0
    if leaking:
        rows["recoded"] = rows["target"].fillna(0).astype(float) * 2 + 1
        rows.loc[[0, 80], "patient_id"] = "patient-of-both"
    return test_modelling.written(folder, rows, (*test_modelling.FEATURES, RECODED))


def leakage_of(gate: GateResource, table: TrainingDatasetRef) -> list[tuple[str, str, dict[str, Any]]]:
    return [(row["split"], row["status"], row["leakage"]) for row in gate.metadata.quality_reports(table.version)]


def test_a_leak_closes_the_gate_in_every_process(tmp_path: Path) -> None:
    table = dataset(tmp_path, leaking=True)

    _, verdict = gate(tmp_path).audit(table, "run-1", NOON, splits=SPLITS)

    assert not verdict.is_passed
    overlap = [reason for reason in verdict.reasons if "patients have rows in more than one split" in reason]
    assert len(overlap) == 1, "what is true of all splits is said once"
    with pytest.raises(QCGateBlockedError) as refused:
        gate(tmp_path).require([table])
    assert "The value of recoded alone separates the outcome on train with an AUC of 1.000 over 60 rows" in str(
        refused.value
    )
    assert "patient-of-both" not in str(refused.value)


def test_each_split_has_one_row_with_the_counts_per_kind(tmp_path: Path) -> None:
    table = dataset(tmp_path, leaking=True)

    gate(tmp_path).audit(table, "run-1", NOON, splits=SPLITS)
    gate(tmp_path).audit(table, "run-2", NOON + timedelta(hours=1), splits=SPLITS)

    rows = leakage_of(gate(tmp_path), table)
    assert sorted(split for split, *_ in rows) == sorted(SPLITS)
    for _, status, counted in rows:
        assert status == "failed"
        assert set(counted) == set(KINDS)
        assert (counted["patient_overlap"], counted["separates_outcome"], counted["temporal_order"]) == (1, 60, 0)
        assert counted["known_too_late"] is None, "no column says when a feature was known"


def test_a_clean_dataset_passes_with_nothing_counted(tmp_path: Path) -> None:
    table = dataset(tmp_path, leaking=False)

    _, verdict = gate(tmp_path).audit(table, "run-1", NOON, splits=SPLITS)

    assert verdict.is_passed, verdict.reasons
    gate(tmp_path).require([table])
    assert {tuple(counted.values()) for *_, counted in leakage_of(gate(tmp_path), table)} == {(0, 0, 0, 0, None)}


def test_another_question_about_leaks_asks_again(tmp_path: Path) -> None:
    """Yesterday's pass does not count where a feature is said to come from another column."""
    table = dataset(tmp_path, leaking=False)
    gate(tmp_path).audit(table, "run-1", NOON, splits=SPLITS)
    renamed = {"source_columns": {"risk_score": "days_to_treatment"}}

    with pytest.raises(QCGateBlockedError, match="has not been audited"):
        gate(tmp_path, **renamed).require([table])
    _, verdict = gate(tmp_path, **renamed).audit(table, "run-2", NOON, splits=SPLITS)

    assert any("risk_score is the outcome" in reason for reason in verdict.reasons)


def test_a_leak_blocks_whatever_the_gate_is_set_to(tmp_path: Path) -> None:
    table = dataset(tmp_path, leaking=True)
    fields = {"modelling": test_modelling.modelling(tmp_path)}
    open_gate = test_gate.gate(tmp_path, block_on_failure=False).model_copy(update=fields)

    _, verdict = open_gate.audit(table, "run-1", NOON, splits=SPLITS)

    assert not verdict.is_passed


def test_the_suite_finds_what_the_leakage_audit_is_not_asked(tmp_path: Path) -> None:
    """A row of the wrong brand is no leak; the verdict has both."""
    rows = test_modelling.rows()
    rows["hcp_id"] = [f"hcp-{i}" for i in range(len(rows))]
    rows["brand"] = pd.Series(["Unheard", *["Kisqali"] * (len(rows) - 1)])
    table = test_modelling.written(tmp_path, rows)

    _, verdict = gate(tmp_path).audit(table, "run-1", NOON, splits=SPLITS)

    assert any("brand_is_configured" in reason for reason in verdict.reasons)
    assert {row[1] for row in leakage_of(gate(tmp_path), table)} == {"failed", "passed"}
