"""A training's model in MLflow: packed from its files, logged once, read back. Nothing in it is pickled.

The package is MLflow's own format: `mlflow.pyfunc.load_model(uri).predict(frame)` answers with probabilities. It
carries the files, the few modules of ours that score with them (`_CODE`), and pinned requirements. What the files mean
stands in `domain.algorithms`, how they answer in `serving.mlflow_model`.
"""

import hashlib
import json
import logging
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.domain.outside import CARRIED_FILE
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.mlflow_connection import MlflowConnection
from e2i_pipeline.resources.mlflow_glance import Glance, has_files
from e2i_pipeline.resources.mlflow_records import read_files, write_files
from e2i_pipeline.serving.carried import carried_references, outside_modules, pinned, requirements_of

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import ModelSignature

MODEL_NAME = "model"
"""Name of the logged model within its run."""

SCORING_PACKAGES = ("mlflow", "numpy", "pandas", "pydantic", "scikit-learn", "scipy", "skops")
"""Distributions that scoring imports whatever the algorithm; a model pins the versions it was made with."""

CONTENT = "e2i.files_sha256"
"""Tag of a logged model: one hash over its files."""

_FILES = "files"  # MLflow puts the folder of this name under `data/`
_CODE = (
    *("__init__.py", "errors.py", "contracts", "domain"),
    *("serving/__init__.py", "serving/effect.py", "serving/mlflow_model.py"),
)
_LOADER = "e2i_pipeline.serving.mlflow_model"
_PICKLE_NAMES = {".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill"}
_PICKLE_BEGINNINGS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_log = logging.getLogger(__name__)


class MlflowModels(MlflowConnection):
    """Models as MLflow keeps them."""

    def log_model(
        self,
        run_id: str,
        files: Mapping[str, bytes],
        input_example: "pd.DataFrame",
        signature: "ModelSignature | None" = None,
        pip_requirements: Sequence[str] = (),
    ) -> str:
        """Logs a run's model, or finds the one it has.

        Args:
            run_id: The training's run. One that has a finished model keeps it, and a warning says if the files differ.
            files: What `domain.algorithms.dump_model` gives.
            input_example: A row or a few of the raw feature columns. It is stored as readable JSON and shown in the
                UI, so it must be made up or typical, never a patient's own row.
            signature: Names and types of the columns; by default those of `input_example`, each of them required.
            pip_requirements: What loading it needs; by default `scoring_requirements` of its algorithm. MLflow would
                find out by running the model in a new process, which takes a minute.

        Returns:
            The model's URI, `models:/m-...`.

        Raises:
            ToolRejected: A file is a pickle.
        """
        refuse_pickles(files)
        with self._client(f"log the model of run {run_id}") as client, self._locked(f"model-{run_id}"):
            run = client.get_run(run_id)
            found, content = _find_model(client, run), _content(files)
            if found is not None:
                if found.tags.get(CONTENT) != content:
                    _log.warning("run %s keeps the model it has, whose files differ from those given now", run_id)
                return found.model_uri
            model = client.create_logged_model(
                run.info.experiment_id,
                name=MODEL_NAME,
                source_run_id=run_id,
                tags={**self.default_tags, CONTENT: content},
            )
            algorithm = _algorithm(files)
            requirements = list(pip_requirements) or scoring_requirements(algorithm)
            with tempfile.TemporaryDirectory(prefix="e2i-mlflow-") as scratch:
                package = _pack(Path(scratch), model, files, input_example, signature, requirements, algorithm)
                client.log_model_artifacts(model.model_id, str(package))
            _attach(client, run_id, model)
            return model.model_uri

    def has_model(self, uri: str) -> bool:
        """Whether a logged model (`models:/m-...`) is still there, finished and with its files.

        An SQLite store is only looked into, without importing MLflow.
        """
        model_id = uri.removeprefix("models:/")
        if seen := Glance(self.tracking_uri).model(model_id):
            return seen.value is not None and has_files(seen.value)
        with self._client(f"look for {uri}") as client:
            found = _logged_model(client, model_id)
            return found is not None and found.status == "READY" and has_files(found.artifact_location)

    def model_files(self, model: str | ModelVersion) -> dict[str, bytes]:
        """The files of a logged model or a registered version, as `domain.algorithms.load_model` takes them.

        Args:
            model: A URI (`models:/m-...`, `models:/<name>/<version>`, `models:/<name>@<alias>`) or a version.
        """
        uri = model.model_uri if isinstance(model, ModelVersion) else model
        with tempfile.TemporaryDirectory(prefix="e2i-mlflow-") as scratch, self._client(f"read {uri}") as client:
            from mlflow.artifacts import download_artifacts

            source = f"{model_location(client, uri)}/data/{_FILES}"
            return read_files(Path(download_artifacts(source, dst_path=scratch, tracking_uri=self.store_uri)))


def refuse_pickles(files: Mapping[str, bytes]) -> None:
    """Refuses files that only unpickling could read: by their name, and by how a pickle begins.

    Raises:
        ToolRejected: There is one.
    """
    for name, content in files.items():
        if Path(name).suffix.lower() in _PICKLE_NAMES or content.startswith(_PICKLE_BEGINNINGS):
            raise ToolRejected(
                f"The model's file {name} is a pickle, which runs code when it is read. Nothing here is pickled: write "
                f"the estimator in its native format, or with skops."
            )


def scoring_requirements(algorithm: str) -> list[str]:
    """What scoring with a model of this algorithm imports, as pinned requirements; of none, what every model does."""
    return [*(pinned(name) for name in SCORING_PACKAGES), *(requirements_of(algorithm) if algorithm else ())]


def _algorithm(files: Mapping[str, bytes]) -> str:
    """The algorithm that the manifest among a model's files names; empty where it names none."""
    from e2i_pipeline.domain.algorithms import MANIFEST_FILE

    return str(json.loads(files.get(MANIFEST_FILE, b"{}")).get("algorithm", ""))


def model_location(client: "MlflowClient", uri: str) -> str:
    """Where a model's files lie. MLflow would resolve `models:/` itself, but by its global tracking URI."""
    name, _, version = uri.removeprefix("models:/").partition("/")
    if name.startswith("m-") and not version:
        return client.get_logged_model(name).artifact_location
    name, _, alias = name.partition("@")
    if alias:
        version = client.get_model_version_by_alias(name, alias).version
    return client.get_model_version_download_uri(name, version)


def _content(files: Mapping[str, bytes]) -> str:
    lines = sorted(f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in files.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _logged_model(client: "MlflowClient", model_id: str) -> "LoggedModel | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_logged_model(model_id)
    except MlflowException as err:
        if err.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _find_model(client: "MlflowClient", run: "Run") -> "LoggedModel | None":
    """The run's finished model; one that a killed process left unfinished, or that lost its files, is deleted."""
    query = f"source_run_id = '{run.info.run_id}' AND name = '{MODEL_NAME}'"
    for model in client.search_logged_models([run.info.experiment_id], query):
        if model.status == "READY" and has_files(model.artifact_location):
            return model
        client.delete_logged_model(model.model_id)
    return None


def _pack(
    scratch: Path,
    model: "LoggedModel",
    files: Mapping[str, bytes],
    input_example: "pd.DataFrame",
    signature: "ModelSignature | None",
    requirements: list[str],
    algorithm: str,
) -> Path:
    """Writes MLflow's package of the model to a folder. `save_model` is local: it asks no server."""
    import mlflow.pyfunc
    from mlflow.models import Model

    data, code, package = scratch / _FILES, scratch / "code", scratch / "package"
    write_files(data, files)
    _copy_code(code, algorithm)
    mlflow.pyfunc.save_model(
        package,
        loader_module=_LOADER,
        data_path=str(data),
        code_paths=[str(part) for part in sorted(code.iterdir())],
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            run_id=model.source_run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        ),
        signature=signature or _signature(input_example),
        input_example=input_example,
        conda_env=_environment(requirements),
    )
    refuse_pickles(read_files(package))
    return package


def _copy_code(target: Path, algorithm: str) -> None:
    package = Path(__file__).parents[1]
    ours = target / package.name
    for part in _CODE:
        if (package / part).is_dir():
            shutil.copytree(package / part, ours / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (ours / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(package / part, ours / part)
    if references := carried_references(algorithm) if algorithm else "":
        (ours / "domain" / CARRIED_FILE).write_text(references, encoding="utf-8")
        for name, source in outside_modules(algorithm).items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)


def _signature(example: "pd.DataFrame") -> "ModelSignature":
    """Texts are strings, all else is a double: a null is allowed in either, a missing column in neither."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    texts = set(example.select_dtypes(include="object").columns)
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec("string" if name in texts else "double", str(name)) for name in example.columns
    ]
    return ModelSignature(Schema(inputs), Schema([TensorSpec(np.dtype("float64"), (-1,))]))


def _environment(requirements: list[str]) -> dict[str, Any]:
    """The environment that MLflow writes down; given only requirements, it warns where pip itself is not installed."""
    return {
        "name": "e2i",
        "channels": ["conda-forge"],
        "dependencies": [f"python={platform.python_version()}", "pip", {"pip": requirements}],
    }


def _attach(client: "MlflowClient", run_id: str, model: "LoggedModel") -> None:
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, "READY")
