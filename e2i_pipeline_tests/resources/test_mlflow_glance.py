"""A look into MLflow's own file says what its client says, and imports nothing of it."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.mlflow_glance import Glance, Seen, has_files
from e2i_pipeline.resources.mlflow_registry import PRODUCTION
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in, unopened_store_in

NAME = "e2i-Kisqali-conversion"


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


def _trained(store: MlflowResource, key: str = "k1") -> tuple[ModelVersion, str]:
    """A training's version, and the URI of its logged model."""
    run = store.open_run(key, "Kisqali", "Kisqali", key).run_id
    uri = store.log_model(run, {"model.json": b"{}"}, pd.DataFrame({"risk_score": [0.5]}))
    return store.register_model("Kisqali", "conversion", run, uri, key), uri


def test_a_run_is_found_as_long_as_it_is_active(store: MlflowResource) -> None:
    first, second = (store.open_run(key, "Kisqali", "Kisqali", key).run_id for key in ("k1", "k2"))
    assert (store.find_run("k1"), store.find_run("k2"), store.find_run("k3")) == (first, second, None)

    client_of(store).delete_run(first)
    assert store.find_run("k1") is None
    client_of(store).delete_experiment(store.get_or_create_experiment("Kisqali"))
    assert store.find_run("k2") is None


def test_the_oldest_of_two_runs_counts_and_other_programs_runs_do_not(store: MlflowResource) -> None:
    client, tags = client_of(store), {"e2i.training_key": "k1"}
    ours, foreign = store.get_or_create_experiment("Kisqali"), client.create_experiment("theirs/Kisqali")
    client.create_run(foreign, start_time=1, tags=tags)
    younger = client.create_run(ours, start_time=3, tags=tags).info.run_id
    older = client.create_run(ours, start_time=2, tags=tags).info.run_id
    assert store.find_run("k1") == older

    client.delete_run(older)
    assert store.find_run("k1") == younger


def test_a_version_and_its_stage_are_seen_until_they_are_gone(store: MlflowResource) -> None:
    version, _ = _trained(store)
    assert store.has_version(version)
    assert not store.has_version(version.model_copy(update={"key": "another training"}))
    assert not store.has_version(version.model_copy(update={"version": "2"}))
    assert store.holder(NAME, PRODUCTION) is None

    store.transition_model_stage(NAME, version.version, PRODUCTION)
    assert store.holder(NAME, PRODUCTION) == version.version

    client_of(store).delete_model_version(NAME, version.version)
    assert not store.has_version(version)
    assert store.holder(NAME, PRODUCTION) is None


def test_a_model_is_there_with_its_files_only(store: MlflowResource) -> None:
    _, uri = _trained(store)
    assert store.has_model(uri)
    assert not store.has_model("models:/m-0123456789abcdef0123456789abcdef")

    model = client_of(store).get_logged_model(uri.removeprefix("models:/"))
    shutil.rmtree(model.artifact_location)
    assert not store.has_model(uri)


def test_a_model_that_lost_its_files_is_logged_and_registered_again(store: MlflowResource) -> None:
    version, uri = _trained(store)
    shutil.rmtree(client_of(store).get_logged_model(uri.removeprefix("models:/")).artifact_location)
    again, new_uri = _trained(store)

    assert new_uri != uri
    assert store.has_model(new_uri)
    assert (again.key, again.mlflow_run_id) == (version.key, version.mlflow_run_id)
    assert again.version == "2"


def test_a_store_that_was_never_opened_holds_nothing_and_stays_unopened(tmp_path: Path) -> None:
    store = unopened_store_in(tmp_path)
    assert store.find_run("k1") is None
    assert store.holder(NAME, PRODUCTION) is None
    assert not (tmp_path / "mlflow").exists()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "postgresql://127.0.0.1/mlflow", "sqlite:///a.db?mode=rw"])
def test_anything_but_a_plain_file_is_left_to_mlflow(uri: str) -> None:
    assert Glance(uri).run("tag", "value", "e2i") is None


def test_a_file_with_other_tables_is_left_to_mlflow(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    sqlite3.connect(file).execute("CREATE TABLE runs (id TEXT)").connection.close()
    assert Glance(f"sqlite:///{file}").run("tag", "value", "e2i") is None
    file.write_bytes(b"not a database, and longer than the header of one would have to be" * 20)
    assert Glance(f"sqlite:///{file}").holder(NAME, PRODUCTION) is None


def test_a_missing_file_is_an_answer(tmp_path: Path) -> None:
    assert Glance(f"sqlite:///{tmp_path}/none.db").model("m-1") == Seen(None)


def test_files_on_another_machine_are_taken_to_be_there(tmp_path: Path) -> None:
    assert has_files("s3://bucket/models/m-1/artifacts")
    assert has_files("mlflow-artifacts:/1/models/m-1/artifacts")
    assert not has_files(str(tmp_path))
    assert not has_files(tmp_path.as_uri())
    (tmp_path / "MLmodel").touch()
    assert has_files(str(tmp_path))
    assert has_files(tmp_path.as_uri())


def test_looking_imports_no_mlflow(store: MlflowResource) -> None:
    version, uri = _trained(store)
    program = (
        "import sys\n"
        "from e2i_pipeline.contracts.registry import ModelVersion\n"
        "from e2i_pipeline.resources.mlflow import MlflowResource\n"
        f"store = MlflowResource.model_validate_json({store.model_dump_json()!r})\n"
        f"version = ModelVersion.model_validate_json({version.model_dump_json()!r})\n"
        f"assert store.find_run('k1') == version.mlflow_run_id and store.has_version(version)\n"
        f"assert store.has_model({uri!r}) and store.holder(version.name, 'production') is None\n"
        "assert 'mlflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own interpreter, no shell
