"""The IO manager and the results: references as JSON, nothing else, and nothing remembered that is gone."""

import json
from pathlib import Path

import dagster as dg
import pytest

from e2i_pipeline.contracts.base import Reference
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.errors import ReferenceNotFound
from e2i_pipeline.storage.references import KEPT_RUNS, ReferenceIOManager
from e2i_pipeline.storage.results import ResultStore

BRANDS = dg.StaticPartitionsDefinition(["A", "B"])


def _resources(root: Path) -> dict[str, object]:
    return {"io_manager": ReferenceIOManager(root=str(root)), "results": ResultStore(root=str(root))}


def _table(location: Path, key: str = "k") -> TableRef:
    return TableRef(key=key, name="t", location=str(location), version="v1", rows=3)


def test_a_reference_comes_back_as_it_was_and_lies_as_json(tmp_path: Path) -> None:
    seen: list[TableRef] = []

    @dg.asset
    def up() -> TableRef:
        return _table(tmp_path / "t.parquet")

    @dg.asset(partitions_def=BRANDS)
    def down(up: TableRef) -> TableRef:
        seen.append(up)
        return up.model_copy(update={"key": "down"})

    result = dg.materialize([up, down], resources=_resources(tmp_path), partition_key="A")

    assert result.success
    assert seen == [_table(tmp_path / "t.parquet")]
    stored = json.loads((tmp_path / "current" / "down" / "A.json").read_text(encoding="utf-8"))
    assert (stored["type"], stored["reference"]["key"]) == ("TableRef", "down")
    assert ReferenceIOManager(root=str(tmp_path)).current("down", "A").key == "down"


def test_a_run_goes_on_with_what_it_made_itself_whatever_another_run_makes_meanwhile(tmp_path: Path) -> None:
    seen: list[str] = []

    @dg.asset
    def up() -> TableRef:
        return _table(tmp_path / "t.parquet", key=str(len(seen)))

    @dg.asset
    def between(up: TableRef) -> TableRef:
        if not seen:
            seen.append("the other run is over")
            assert dg.materialize([up_again], resources=_resources(tmp_path)).success
        return up

    @dg.asset
    def down(up: TableRef, between: TableRef) -> TableRef:
        seen.append(up.key)
        return up

    @dg.asset(name="up")
    def up_again() -> TableRef:
        return _table(tmp_path / "t.parquet", key="another run's")

    assert dg.materialize([up, between, down], resources=_resources(tmp_path)).success
    assert seen[-1] == "0"
    assert dg.materialize([up, between, down], resources=_resources(tmp_path), selection=[down]).success
    assert seen[-1] == "another run's"


def test_what_runs_long_past_have_kept_is_removed(tmp_path: Path) -> None:
    for number in range(KEPT_RUNS + 5):
        (tmp_path / "runs" / f"past-{number}").mkdir(parents=True)

    @dg.asset
    def up() -> TableRef:
        return _table(tmp_path / "t.parquet")

    result = dg.materialize([up], resources=_resources(tmp_path))

    kept = {path.name for path in (tmp_path / "runs").iterdir()}
    assert len(kept) == KEPT_RUNS
    assert result.run_id in kept


def test_anything_but_a_reference_is_refused(tmp_path: Path) -> None:
    @dg.asset
    def frame() -> list[int]:
        return [1, 2]

    with pytest.raises(TypeError, match="frame returned a list"):
        dg.materialize([frame], resources=_resources(tmp_path))

    assert not (tmp_path / "current" / "frame").exists()


def test_an_upstream_that_was_never_materialized_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReferenceNotFound, match=r"validated_dataset has not been materialized.*--select"):
        ReferenceIOManager(root=str(tmp_path)).current("validated_dataset")


def _counting(made: list[str], place: Path) -> dg.AssetsDefinition:
    @dg.asset
    def table(context: dg.AssetExecutionContext, results: ResultStore) -> dg.MaterializeResult:
        if kept := results.recall(context, "key"):
            return kept
        made.append("made")
        place.write_text("x", encoding="utf-8")
        return results.keep(
            context, "key", _table(place), {"rows": 3, "names": ["a"], "plot": dg.MetadataValue.md("#")}
        )

    return table


def test_a_result_is_computed_once_and_shown_with_its_metadata_again(tmp_path: Path) -> None:
    made: list[str] = []
    asset = _counting(made, tmp_path / "t.parquet")

    first = dg.materialize([asset], resources=_resources(tmp_path))
    second = dg.materialize([asset], resources=_resources(tmp_path))

    assert made == ["made"]
    [materialization] = second.asset_materializations_for_node("table")
    assert materialization.metadata["unchanged"].value is True
    assert materialization.metadata["rows"].value == 3
    [before] = first.asset_materializations_for_node("table")
    assert before.metadata["unchanged"].value is False
    assert before.tags["dagster/data_version"] == materialization.tags["dagster/data_version"]


def test_a_result_whose_file_is_gone_is_made_again(tmp_path: Path) -> None:
    made: list[str] = []
    asset = _counting(made, tmp_path / "t.parquet")
    dg.materialize([asset], resources=_resources(tmp_path))

    (tmp_path / "t.parquet").unlink()
    dg.materialize([asset], resources=_resources(tmp_path))

    assert made == ["made", "made"]


def test_a_missing_upstream_fails_a_run_at_once_whatever_the_retry_policy(tmp_path: Path) -> None:
    tries: list[int] = []

    class Counting(ReferenceIOManager):
        def load_input(self, context: dg.InputContext) -> Reference:
            tries.append(1)
            return super().load_input(context)

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def down(up: TableRef) -> TableRef:
        return up

    result = dg.materialize(
        [down, dg.AssetSpec("up")], resources={"io_manager": Counting(root=str(tmp_path))}, raise_on_error=False
    )

    [event] = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert event.step_failure_data.user_failure_data.metadata["error"].value == "ReferenceNotFound"
    assert "up has not been materialized" in event.step_failure_data.user_failure_data.description
    assert tries == [1]
