"""A real MLflow store per test, on SQLite: the tables are made once per test process and copied."""

import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import httpx
from mlflow import MlflowClient

from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline_tests.servers import free_port


def store_in(folder: Path, **fields: object) -> MlflowResource:
    """A store with its tables made, empty, in a folder of its own."""
    (folder / "mlflow").mkdir()
    shutil.copy(_empty_database(), folder / "mlflow" / "mlflow.db")
    return unopened_store_in(folder, **fields)


def unopened_store_in(folder: Path, **fields: object) -> MlflowResource:
    """A store that nobody has opened yet: there is no database and no folder."""
    defaults = {
        "tracking_uri": f"sqlite:///{folder}/mlflow/mlflow.db",
        "artifact_root": f"{folder}/mlflow/the artifacts",
        "lock_dir": f"{folder}/locks",
        "default_tags": {"platform": "e2i", "environment": "development"},
    }
    return MlflowResource(**{**defaults, **fields})


def client_of(store: MlflowResource) -> MlflowClient:
    """MLflow's own view of a store."""
    return MlflowClient(tracking_uri=store.tracking_uri, registry_uri=store.tracking_uri)


@functools.cache
def _empty_database() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="e2i-mlflow-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    unopened_store_in(folder).search_models()
    return folder / "mlflow" / "mlflow.db"


class MlflowServer:
    """MLflow's own server on loopback, which keeps the artifacts itself; it may be stopped and started again.

    Attributes:
        uri: Its address, the same each time it is started.
    """

    def __init__(self, folder: Path, store: str = "") -> None:
        """Names the folder that it works in, and its database where that is not a new one in there."""
        self._folder, self._port, self._store = folder, free_port(), store or f"sqlite:///{folder}/s.db"
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = ["--port", str(self._port), "--workers", "1", "--artifacts-destination", str(self._folder / "kept")]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self._store, *options],
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder, start_new_session=True,
        )  # fmt: skip
        while not self._answers():
            assert self._process.poll() is None, "the server ended before it answered"
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it at once; may be called twice."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.uri}/health", timeout=5).is_success
        except httpx.TransportError:
            return False
