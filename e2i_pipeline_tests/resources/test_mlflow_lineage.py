"""What a training rests on is told without reading a row, and without a place or an address."""

import json
import platform
import re
from importlib import metadata
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from e2i_pipeline.contracts.references import FeatureSpec, TrainingDatasetRef
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.mlflow_lineage import environment_lock
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in

ROWS = TrainingDatasetRef(
    key="k", name="training_dataset", location="/nowhere/data.parquet", version="ab" * 32, rows=100, brand="Kisqali",
    dataset_key="d", split_counts={"train": 60}, positives={"train": 12},
    features=tuple(
        FeatureSpec(name=n, kind=k, view="v") for n, k in (("age", "numeric"), ("region", "categorical"))
    ),
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


@pytest.fixture
def run_id(store: MlflowResource) -> str:
    return store.open_run("k1", "Kisqali", "Kisqali", "training").run_id


def test_the_rows_are_the_runs_one_input(store: MlflowResource, run_id: str) -> None:
    store.log_dataset(run_id, ROWS)
    store.log_dataset(run_id, ROWS)
    [found] = client_of(store).get_run(run_id).inputs.dataset_inputs
    rows = found.dataset
    assert (rows.name, rows.digest) == ("training_dataset/Kisqali", ("ab" * 32)[:32])
    assert json.loads(rows.source)["version"] == "ab" * 32
    assert json.loads(rows.schema) == {
        "mlflow_colspec": [
            {"name": "age", "type": "double", "required": True},
            {"name": "region", "type": "string", "required": True},
        ]
    }
    assert json.loads(rows.profile) == {"num_rows": 100, "rows": {"train": 60}, "positives": {"train": 12}}
    assert "/nowhere" not in f"{rows.source}{rows.profile}"
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]


def test_the_environment_is_exact_and_names_no_place(store: MlflowResource, run_id: str, tmp_path: Path) -> None:
    store.log_environment(run_id)
    store.log_environment(run_id)
    options = {"dst_path": str(tmp_path), "tracking_uri": store.tracking_uri}
    file = download_artifacts(run_id=run_id, artifact_path="environment/requirements.lock", **options)
    head, *lines = Path(file).read_text(encoding="utf-8").splitlines()
    assert head.startswith(f"# CPython {platform.python_version()}, ")
    assert all(re.fullmatch(r"[a-z0-9-]+==[^\s/@]+", line) for line in lines)
    pinned = dict(line.split("==") for line in lines)
    for name in ("mlflow", "dagster", "scikit-learn", "e2i-pipeline"):
        assert pinned[name] == metadata.version(name)
    assert lines == sorted(lines, key=lambda line: line.split("==")[0])
    assert len(client_of(store).get_run(run_id).data.tags["e2i.environment"]) == 32
    assert environment_lock() == Path(file).read_text(encoding="utf-8")
