"""A real MLflow store per test, on SQLite: the tables are made once per test process and copied."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from mlflow import MlflowClient

from e2i_pipeline.resources.mlflow import MlflowResource


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
