"""What a run ends with names who let a table pass, for as long as that holds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.evaluation import Finding
from e2i_pipeline.contracts.quality import Override
from e2i_pipeline.contracts.references import RunReportRef
from e2i_pipeline.storage.references import WHOLE, ReferenceIOManager, write_json
from e2i_pipeline.summary import summarize
from e2i_pipeline_tests.domain.card_example import BRAND
from e2i_pipeline_tests.domain.run_example import run_data

HELD = Override(
    subject="treatment_events",
    data_version="0123456789abcdef",
    actor="jane.doe@example.com",
    reason="The vendor confirmed it.",
    failed=("3 of 12 rows.",),
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    entry=7,
)


def summary(folder: Path, *overrides: Override, **judged: Any) -> str:
    """The summary of the example after a run that went on by these overrides, and was judged otherwise."""
    data, store = run_data(), ReferenceIOManager(root=str(folder / "references"))
    report = RunReportRef(
        key="r", brand=BRAND, location="/r.html", version="v", dagster_run_id="run", overrides=overrides
    )
    parts = {
        "validated_dataset": data.dataset,
        "training_dataset": data.training,
        "hyperparameter_study": data.study,
        "model_evaluation": data.evaluation.model_copy(update=judged),
        "registered_model": data.version,
        "promoted_model": data.promotion,
        "bento": data.bento,
        "run_report": report,
        "batch_predictions": data.predictions,
    }
    for asset, reference in parts.items():
        assert reference is not None
        stored = {"type": type(reference).__name__, "reference": reference.model_dump(mode="json")}
        write_json(store.path_of(asset, WHOLE if asset == "validated_dataset" else BRAND), stored)
    return summarize(BRAND, load_settings({"E2I_STATE_DIR": str(folder)}))


def test_an_override_is_a_line_of_its_own(tmp_path: Path) -> None:
    lines = summary(tmp_path, HELD, HELD.model_copy(update={"subject": "hcp_profiles"})).splitlines()

    [at] = [n for n, line in enumerate(lines) if line.startswith("  Overridden ")]
    assert lines[at] == (
        "  Overridden    treatment_events (version 0123456789ab) passed the gate by an override of "
        "jane.doe@example.com on 2026-03-01 12:00 UTC, ledger entry 7: The vendor confirmed it."
    )
    assert lines[at + 1].startswith("                hcp_profiles (version ")


def test_a_clean_run_names_nobody(tmp_path: Path) -> None:
    said = summary(tmp_path)

    assert "Model" in said
    assert "verridden" not in said


def test_criteria_that_nobody_set_are_not_called_met(tmp_path: Path) -> None:
    free = Finding(check="r2_reaches_the_minimum", part="success_criteria", is_passed=True, is_blocking=True)
    number = {"problem_type": "regression", "is_passed": True, "metrics": {"test": {"rmse": 2.0, "r2": 0.4}}}
    assert "Criteria      none was set; the rest" in summary(tmp_path, **number, findings=(free,))
    held = free.model_copy(update={"observed": 0.4})
    said = summary(tmp_path, **number, findings=(held,))
    assert "Criteria      all met" in said
    assert "RMSE 2.000  R2 0.400" in said
