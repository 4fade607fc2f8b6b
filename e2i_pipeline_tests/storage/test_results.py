"""What a kept result rests on: every file that its reference names, also within another reference."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from e2i_pipeline.contracts.references import DatasetRef, SplitCuts, TableRef
from e2i_pipeline.storage.results import ResultStore, files_exist


def _table(location: Path | None, name: str = "patient_journeys") -> TableRef:
    if location is None:
        return TableRef(key="k", name=name, version="absent", is_absent=True)
    location.write_text("rows", encoding="utf-8")
    return TableRef(key="k", name=name, version="v", location=str(location))


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetRef:
    day = date(2026, 1, 1)
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}", encoding="utf-8")
    return DatasetRef(
        key="k",
        tables={
            "patient_journeys": _table(tmp_path / "journeys.parquet"),
            "engagement_events": _table(None, "engagement_events"),
        },
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        cuts=SplitCuts(version=1, train_end=day, validation_end=day, test_end=day, gap_days=7),
        assignments=_table(tmp_path / "assignments.parquet", "split_assignments"),
        split_counts={},
        manifest=str(manifest),
    )


def test_an_absent_table_has_no_file_to_miss(dataset: DatasetRef) -> None:
    assert files_exist(dataset)


@pytest.mark.parametrize("lost", ["manifest.json", "journeys.parquet", "assignments.parquet"])
def test_a_file_anywhere_within_counts(dataset: DatasetRef, tmp_path: Path, lost: str) -> None:
    (tmp_path / lost).unlink()

    assert not files_exist(dataset)


def test_what_people_see_of_a_result_can_be_read_outside_a_run(tmp_path: Path) -> None:
    results = ResultStore(root=str(tmp_path))

    @dg.asset(io_manager_key="kept")
    def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return results.keep(context, "key", _table(tmp_path / "t.parquet"), {"rows": 3, "history": "a picture"})

    dg.materialize([table], resources={"kept": dg.InMemoryIOManager()})

    assert results.shown("table", "key") == {"rows": 3, "history": "a picture"}
    assert results.shown("table", "another") == {}
