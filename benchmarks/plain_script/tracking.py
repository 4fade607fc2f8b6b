"""MLflow: the training's run, its model, the registered version and the alias of the one that serves."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.plain_script.data import PROJECT
from benchmarks.plain_script.study import Found
from e2i_pipeline.domain import plots
from e2i_pipeline.domain.algorithms import ScoringModel, dump_model

CARRIED = ("__init__.py", "errors.py", "contracts", "domain")
"""What of the product scoring needs."""

REQUIREMENTS = ("mlflow", "numpy", "pandas", "pydantic", "scikit-learn", "scipy", "skops")
STAGE = "production"

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}


@contextmanager
def tracked_run(folder: Path, brand: str) -> Iterator[None]:
    """The training's run, active inside the block, in a store of its own."""
    os.environ |= _QUIET
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    experiment = mlflow.create_experiment(brand, artifact_location=str(folder / "artifacts"))
    with mlflow.start_run(experiment_id=experiment, run_name=brand):
        yield


def log_study(found: Found) -> None:
    """Logs what the study found, its trials and its picture."""
    import mlflow

    mlflow.log_params({"algorithm": found.algorithm, **found.parameters})
    mlflow.log_metrics({"validation_auc": found.best_value, "trials": float(len(found.history))})
    drawn = [(t["number"], t["value"], t["parameters"]["algorithm"]) for t in found.history if t["value"] is not None]
    log_files({"trials.json": json.dumps(found.history).encode(), "history.png": plots.study_history(drawn)}, "study")
    for trial in found.history:
        _log_trial(trial)


def _log_trial(trial: Mapping[str, Any]) -> None:
    """One trial as a run beneath the active one."""
    import mlflow
    from mlflow.entities import Metric, Param

    client, parent = mlflow.MlflowClient(), mlflow.active_run()
    assert parent is not None
    tags = {"mlflow.parentRunId": parent.info.run_id, "trial": str(trial["number"])}
    run_id = client.create_run(parent.info.experiment_id, tags=tags).info.run_id
    metrics = [Metric("validation_auc", trial["value"], 0, 0)] if trial["value"] is not None else []
    client.log_batch(run_id, metrics, [Param(name, str(value)) for name, value in trial["parameters"].items()])
    client.set_terminated(run_id)


def log_files(files: Mapping[str, bytes], place: str) -> None:
    """Keeps files with the run."""
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            Path(scratch, name).write_bytes(content)
        mlflow.log_artifacts(scratch, place)


def log_model(model: ScoringModel, example: Any, folder: Path) -> str:
    """Logs the model in open formats with the code that scores with it.

    Returns:
        Its URI.
    """
    import mlflow

    files, code = folder / "model", folder / "code"
    files.mkdir()
    for name, content in dump_model(model).items():
        (files / name).write_bytes(content)
    copy_code(code / "e2i_pipeline")
    loader = Path(__file__).with_name("loader.py")
    shutil.copy(loader, code / "plain_loader.py")
    logged = mlflow.pyfunc.log_model(
        name="model",
        loader_module="plain_loader",
        data_path=str(files),
        code_paths=[str(path) for path in sorted(code.iterdir())],
        signature=_signature(example),
        input_example=example,
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
    )
    return logged.model_uri


def copy_code(target: Path) -> None:
    """Copies the part of the product that scoring needs."""
    target.mkdir(parents=True)
    for part in CARRIED:
        source = PROJECT / "e2i_pipeline" / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / part)


def register(uri: str, brand: str, metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Registers the model.

    Returns:
        The version's number.
    """
    import mlflow

    tags = {"stage": "development", "test_auc": f"{metrics['test']['auc']:.4f}"}
    return str(mlflow.register_model(uri, brand, tags=tags).version)


def promote(brand: str, version: str) -> None:
    """Makes a version the one that serves."""
    from mlflow import MlflowClient

    client = MlflowClient()
    client.set_registered_model_alias(brand, STAGE, version)
    client.set_model_version_tag(brand, version, "stage", STAGE)


def model_files(brand: str) -> dict[str, bytes]:
    """The files of the version that serves, from the registry."""
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as scratch:
        found = download_artifacts(f"models:/{brand}@{STAGE}", dst_path=scratch)
        return {path.name: path.read_bytes() for path in (Path(found) / "data" / "model").iterdir()}


def _signature(example: Any) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    texts = set(example.select_dtypes(include="object").columns)
    columns: Any = [ColSpec("string" if name in texts else "double", str(name)) for name in example.columns]
    return ModelSignature(Schema(columns), Schema([TensorSpec(np.dtype("float64"), (-1,))]))
