"""The IO manager and the results: references as JSON, nothing else, and nothing remembered that is gone."""

import json
from pathlib import Path

import dagster as dg
import pytest

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.errors import ReferenceNotFound
from e2i_pipeline.storage.references import ReferenceIOManager
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
