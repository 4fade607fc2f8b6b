"""MLflow out of reach is said quickly and in full, and never with a password."""

import socket
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.resources.mlflow_stores import MlflowServer, store_in, unopened_store_in
from e2i_pipeline_tests.servers import free_port

postgres = servers.postgres


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def served_uri(tmp_path: Path) -> Iterator[str]:
    """MLflow's own server, which keeps the artifacts itself."""
    with MlflowServer(tmp_path) as server:
        yield server.uri


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


@pytest.mark.usefixtures("impatient")
def test_refused_server_is_named_with_the_seconds_waited(tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    store = unopened_store_in(tmp_path, tracking_uri=uri)
    with pytest.raises(ToolUnavailable, match=rf"MLflow at {uri} could not open .* gave up after \d+\.\d s .*refused"):
        store.open_run("k1", "Kisqali", "Kisqali", "run")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "essential",
    [
        lambda store: store.log_params("r", {"a": 1}),
        lambda store: store.log_model("r", {"model.json": b"{}"}, pd.DataFrame({"age": [50.0]})),
        lambda store: store.register_model("Kisqali", "conversion", "r", "models:/m-1", "k1"),
        lambda store: store.transition_model_stage("e2i-Kisqali-conversion", "1", "production"),
    ],
    ids=["parameters", "model", "registration", "stage"],
)
def test_what_a_training_cannot_do_without_fails_as_what_may_be_retried(
    tmp_path: Path, essential: Callable[[MlflowResource], object]
) -> None:
    store = unopened_store_in(tmp_path, tracking_uri=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ToolUnavailable, match=r"The step needs MLflow, so it fails and can be run again"):
        essential(store)


@pytest.mark.usefixtures("impatient")
def test_silent_server_is_given_up(tmp_path: Path, silent_port: int) -> None:
    store = unopened_store_in(tmp_path, tracking_uri=f"http://127.0.0.1:{silent_port}")
    with pytest.raises(ToolUnavailable, match=r"gave up after \d+\.\d s .*(?i:timed out)"):
        store.search_models()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_password_is_in_no_message_and_no_traceback(tmp_path: Path, scheme: str) -> None:
    uri = f"{scheme}://e2i:s3cr%27et@127.0.0.1:{free_port()}/mlflow"
    store = unopened_store_in(tmp_path, tracking_uri=uri)
    with pytest.raises(ToolUnavailable, match=rf"{scheme}://e2i:\*\*\*@127") as caught:
        store.find_run("k1")
    told = "".join(traceback.format_exception(caught.value))
    assert "s3cr" not in told


@pytest.mark.parametrize(
    ("uri", "redacted"),
    [
        ("sqlite:////state/mlflow.db", "sqlite:////state/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("https://me:pass%40word@host/x", "https://me:***@host/x"),
        ("postgresql://host/db?user=me&password=hidden", "postgresql://host/db?user=me&password=***"),
    ],
)
def test_redacted(tmp_path: Path, uri: str, redacted: str) -> None:
    assert unopened_store_in(tmp_path, tracking_uri=uri).redacted() == redacted


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (
            "sqlite:////s/m.db",
            "--backend-store-uri 'sqlite:////s/m.db', then http://127.0.0.1:5000/#/experiments/1/runs/r",
        ),
        ("postgresql://me:hidden@host/db", '--backend-store-uri "$MLFLOW_TRACKING_URI", then http://127.0.0.1:5000/#/'),
        ("https://me:hidden@host:5000/base/", "https://host:5000/base/#/experiments/1/runs/r"),
    ],
)
def test_ui_url(tmp_path: Path, uri: str, shown: str) -> None:
    said = unopened_store_in(tmp_path, tracking_uri=uri).ui_url("r", "1")
    assert shown in said
    assert "hidden" not in said


def test_store_of_another_mlflow_is_refused_with_the_way_out(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
    connection.close()
    with pytest.raises(ToolRejected, match=r"out-of-date database schema.*mlflow db upgrade"):
        store.search_models()


def test_folder_that_cannot_be_made_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "mlflow").write_text("a file where the folder should be")
    with pytest.raises(ToolUnavailable, match=r"FileExistsError|NotADirectoryError"):
        unopened_store_in(tmp_path).search_models()


def _whole_flow(store: MlflowResource) -> None:
    with store.run("k1", "Kisqali", "Kisqali", "run") as run:
        store.log_batch(run.run_id, {"max_depth": 3}, {"auc": 0.7})
        store.log_files(run.run_id, {"a.txt": b"a"}, "plots")
        store.log_trials(run.run_id, [{"number": 0, "state": "COMPLETE", "value": 0.7, "parameters": {"C": 1.0}}])
        assert store.tracking_state(run.run_id) == "complete"
        uri = store.log_model(run.run_id, {"model.json": b"{}"}, pd.DataFrame({"age": [50.0]}))
    assert store.find_run("k1") == run.run_id
    version = store.register_model("Kisqali", "conversion", run.run_id, uri, "k1")
    assert store.register_model("Kisqali", "conversion", run.run_id, uri, "k1") == version
    assert store.has_version(version)
    moved = store.transition_model_stage(version.name, version.version, "production")
    assert store.get_latest_model_version(version.name) == moved
    assert store.search_models() == [moved]
    assert store.model_files(moved) == {"model.json": b"{}"}


def test_the_whole_flow_on_postgresql(tmp_path: Path, postgres: servers.Postgres) -> None:
    store = unopened_store_in(tmp_path, tracking_uri=postgres.database())
    _whole_flow(store)
    assert store.redacted().startswith("postgresql://e2i:***@127.0.0.1")


@pytest.mark.slow
def test_the_whole_flow_on_a_server(tmp_path: Path, served_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    _whole_flow(unopened_store_in(tmp_path, tracking_uri=served_uri, artifact_root=""))
    assert list(tmp_path.glob("kept/*/models/*/artifacts/MLmodel"))
    assert capsys.readouterr().out == ""


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from e2i_pipeline_tests.resources.mlflow_stores import unopened_store_in
unopened_store_in(Path({str(tmp_path)!r})).search_models()
"""
    folder = tmp_path / "mlflow"
    with subprocess.Popen([sys.executable, "-c", code]) as process:  # noqa: S603 - our own code
        while not any(path.stat().st_size for path in folder.glob(".mlflow.db.*")):
            assert process.poll() is None, "the store was made before it was looked for"
        process.kill()

    assert not (folder / "mlflow.db").exists()
    assert unopened_store_in(tmp_path).search_models() == []
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["mlflow.db"]
