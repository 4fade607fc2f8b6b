"""A closed gate and a person's word: real tables, suites and database, and the job as the Dagster UI runs it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from e2i_pipeline.contracts.references import TableRef, TrainingDatasetRef
from e2i_pipeline.defs.gate_override import OverrideConfig, gate_override
from e2i_pipeline.errors import OverrideRefused, QCGateBlockedError, ReferenceNotFound, ToolUnavailable
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.overrides import OverrideResource
from e2i_pipeline.storage.references import WHOLE, ReferenceIOManager, write_json
from e2i_pipeline_tests.resources.audit_tables import BRANDS
from e2i_pipeline_tests.resources.stages.test_gate import NOON, audit_all, gate, good, landed, without_brands

JANE, WHY = "jane.doe@example.com", "The vendor confirmed it."
SPLITS = ("train", "validation", "test")


def overriding(folder: Path, chosen: GateResource | None = None, people: tuple[str, ...] = ()) -> OverrideResource:
    return OverrideResource(
        state_dir=str(folder), gate=chosen or gate(folder), people=list(people), brands=list(BRANDS)
    )


def make_current(folder: Path, *tables: TableRef) -> None:
    """Stores the references as the IO manager does."""
    store = ReferenceIOManager(root=str(folder / "references"))
    for table in tables:
        stored = {"type": type(table).__name__, "reference": table.model_dump(mode="json")}
        write_json(store.path_of(table.name, getattr(table, "brand", WHOLE)), stored)


def refused_tables(folder: Path) -> list[TableRef]:
    """Source tables of which the journeys were refused."""
    tables = [landed(folder, "patient_journeys", without_brands), *good(folder)[1:]]
    audit_all(gate(folder), tables)
    make_current(folder, *tables)
    return tables


def test_the_refusal_says_what_failed_how_often_and_how_to_override(tmp_path: Path) -> None:
    tables = refused_tables(tmp_path)

    with pytest.raises(QCGateBlockedError) as caught:
        gate(tmp_path).require(tables)

    message = str(caught.value)
    assert f"patient_journeys (version {tables[0].version[:12]}) did not pass." in message
    assert "suite e2i_patient_journeys: 1 of " in message
    assert " tested rows do not pass, a pass rate of 0.9" in message
    assert "and at least 0.95 is wanted." in message
    assert "brand_is_configured (critical) failed: 3 of 12 rows" in message
    assert message.splitlines()[-1].startswith("  To let it pass as it is, a person has to answer for it")
    assert "e2i gate override --table patient_journeys --actor" in message


def test_an_override_opens_the_gate_for_this_table_alone(tmp_path: Path) -> None:
    tables = refused_tables(tmp_path)
    held = overriding(tmp_path).override("patient_journeys", JANE, WHY, NOON + timedelta(hours=1))

    verdicts = gate(tmp_path).require(tables)

    assert [v.override for v in verdicts] == [held, None, None, None]
    assert held.data_version == tables[0].version
    assert "3 of 12 rows" in held.failed[0]
    _, recalled = gate(tmp_path).audit(tables[0], "run-2", NOON, others=tables)
    assert recalled.override == held


def test_other_rows_another_suite_or_another_limit_need_another_override(tmp_path: Path) -> None:
    tables = refused_tables(tmp_path)
    overriding(tmp_path).override("patient_journeys", JANE, WHY, NOON)
    worse = landed(tmp_path, "patient_journeys", lambda columns: columns["brand"].__setitem__(0, "Unheard"))
    gate(tmp_path).audit(worse, "run-2", NOON, others=tables)
    with pytest.raises(QCGateBlockedError, match="1 of 12 rows"):
        gate(tmp_path).require([worse, *tables[1:]])

    for configured in ({"min_pass_rate": 0.9}, {"critical_expectations": []}):
        stricter = gate(tmp_path, **configured)
        with pytest.raises(QCGateBlockedError, match=r"patient_journeys .* has not been audited"):
            stricter.require(tables)
        audit_all(stricter, tables)
        with pytest.raises(QCGateBlockedError, match="3 of 12 rows"):
            stricter.require(tables)
    gate(tmp_path).require(tables)


def test_what_was_never_materialized_or_audited_or_passed_is_refused(tmp_path: Path) -> None:
    chosen = overriding(tmp_path)
    with pytest.raises(ReferenceNotFound, match="patient_journeys has not been materialized"):
        chosen.override("patient_journeys", JANE, WHY, NOON)
    tables = good(tmp_path)
    make_current(tmp_path, *tables)
    with pytest.raises(OverrideRefused, match="no verdict on it is in the ledger"):
        chosen.override("patient_journeys", JANE, WHY, NOON)
    audit_all(gate(tmp_path), tables)
    with pytest.raises(OverrideRefused, match="its data_quality verdict is no refusal"):
        chosen.override("patient_journeys", JANE, WHY, NOON)
    assert {entry["kind"] for entry in chosen.gate.metadata.ledger()} == {"verdict"}


def test_what_could_not_be_executed_is_refused(tmp_path: Path) -> None:
    """A file that is gone says nothing about its rows."""
    tables = good(tmp_path)
    make_current(tmp_path, *tables)
    Path(tables[2].location).unlink()
    with pytest.raises(ToolUnavailable):
        gate(tmp_path).audit(tables[2], "run-1", NOON)

    with pytest.raises(OverrideRefused, match=r"nothing to override on hcp_profiles .*no verdict on it"):
        overriding(tmp_path).override("hcp_profiles", JANE, WHY, NOON)


def test_only_the_named_people_may_where_somebody_is_named(tmp_path: Path) -> None:
    refused_tables(tmp_path)
    chosen = overriding(tmp_path, people=("Dr. Jane Doe",))
    with pytest.raises(OverrideRefused, match="is not among the 1 people"):
        chosen.override("patient_journeys", JANE, WHY, NOON)
    assert chosen.override("patient_journeys", "dr. jane doe", WHY, NOON).actor == "Dr. Jane Doe"


def training_rows(folder: Path, brand: str) -> TrainingDatasetRef:
    """Modelling rows of a brand, of which one target is no outcome."""

    def spoil(columns: dict[str, list[Any]]) -> None:
        columns["target"][columns["data_split"].index("test")] = BRANDS.index(brand) + 7

    table = landed(folder, "training_dataset", spoil)
    more: dict[str, Any] = {"brand": brand, "dataset_key": "d", "features": (), "split_counts": {}, "positives": {}}
    return TrainingDatasetRef(**table.model_dump(), **more)


def test_a_brands_rows_are_overridden_for_that_brand(tmp_path: Path) -> None:
    rows = [training_rows(tmp_path, brand) for brand in BRANDS[:2]]
    make_current(tmp_path, *rows)
    for table in rows:
        gate(tmp_path).audit(table, "run-1", NOON, splits=SPLITS)
    with pytest.raises(QCGateBlockedError, match=f"--table training_dataset --brand {BRANDS[1]} --actor"):
        gate(tmp_path).require([rows[1]])

    held = overriding(tmp_path).override("training_dataset", JANE, WHY, NOON, brand=BRANDS[1])

    gate(tmp_path).require([rows[1]])
    assert gate(tmp_path).overrides_on(rows[1]) == (held,)
    assert gate(tmp_path).overrides_on(rows[1].model_copy(update={"overrides": (held,)})) == (held, held)
    assert gate(tmp_path).overrides_on(rows[0]) == ()
    with pytest.raises(QCGateBlockedError):
        gate(tmp_path).require([rows[0]])


def run_job(folder: Path, instance: dg.DagsterInstance, **said: str) -> dg.ExecuteInProcessResult:
    given = {"actor": JANE, "reason": WHY, "table": "patient_journeys"} | said
    return gate_override.execute_in_process(
        run_config={"ops": {"record_override": {"config": given}}},
        resources={"overrides": overriding(folder)},
        instance=instance,
        raise_on_error=False,
    )


def test_the_job_does_the_same_and_shows_it_on_the_asset(tmp_path: Path) -> None:
    tables = refused_tables(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        done = run_job(tmp_path, instance)
        assert done.success
        [seen] = instance.fetch_observations(dg.AssetKey("patient_journeys"), limit=10).records
        assert seen.asset_observation is not None
        [shown] = seen.asset_observation.metadata["overrides"].records  # type: ignore[union-attr]

    assert (shown.data["actor"], shown.data["reason"], shown.data["ledger_entry"]) == (JANE, WHY, 5)
    [verdict, *_] = gate(tmp_path).require(tables)
    assert verdict.override is not None
    [entry] = [e for e in gate(tmp_path).metadata.ledger() if e["kind"] == "override"]
    assert entry["dagster_run_id"] == done.run_id


def test_the_job_fails_with_the_reason_where_there_is_nothing_to_override(tmp_path: Path) -> None:
    refused_tables(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        done = run_job(tmp_path, instance, actor="jane")

    assert not done.success
    [failed] = [e for e in done.all_events if e.is_step_failure]
    assert "The actor of an override must be a person" in str(failed.step_failure_data.user_failure_data)


@pytest.mark.parametrize("given", [{}, {"actor": JANE, "reason": WHY}, {"password": "x"}])
def test_the_launchpad_takes_what_is_asked_and_nothing_else(given: dict[str, str]) -> None:
    config = {"actor": JANE, "reason": WHY, "table": "patient_journeys"} | given if "password" in given else given
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(gate_override, {"ops": {"record_override": {"config": config}}})
    with pytest.raises(ValueError, match=r"valid string|Extra inputs"):
        OverrideConfig(**config)
