"""What a training rests on, beside its run: the rows, by name, version and columns, and the installed packages.

Nothing is read for it: the reference of the training dataset says all that is told.
"""

import hashlib
import json
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.resources.mlflow_records import MlflowRecords

if TYPE_CHECKING:
    from e2i_pipeline.contracts.references import TrainingDatasetRef

ENVIRONMENT = "e2i.environment"
"""Tag of a run: the hash of its environment lock, so that runs of the same packages are found together."""

LONGEST_DIGEST = 32
"""Characters of the dataset's version that MLflow shows as its digest (it takes 36), as Dagster's data version has."""

_DIST_INFO = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.dist-info")
_TYPES = {"numeric": "double", "boolean": "double", "categorical": "string"}


class MlflowLineage(MlflowRecords):
    """The dataset and the environment of a run."""

    def log_dataset(self, run_id: str, dataset: "TrainingDatasetRef") -> None:
        """Notes the modelling rows as the run's input: name, digest, columns and counts; a second time changes nothing.

        Args:
            run_id: The training's run.
            dataset: The rows.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [{"name": f.name, "type": _TYPES[f.kind], "required": True} for f in dataset.features]
        source = {"asset": "training_dataset", "partition": dataset.brand, "version": dataset.version}
        profile = {"num_rows": dataset.rows, "rows": dataset.split_counts, "positives": dataset.positives}
        named = Dataset(
            name=f"{dataset.name}/{dataset.brand}",
            digest=dataset.version[:LONGEST_DIGEST],
            source_type="e2i",
            source=json.dumps(source),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(profile),
        )
        with self._client(f"note what run {run_id} was trained on") as client:
            client.log_inputs(run_id, [DatasetInput(named, [InputTag("mlflow.data.context", "training")])])

    def log_environment(self, run_id: str) -> None:
        """Keeps the exact versions of all that is installed, as `environment/requirements.lock`, and their hash."""
        lock = environment_lock()
        self.log_files(run_id, {"requirements.lock": lock.encode()}, "environment")
        self.set_tags(run_id, {ENVIRONMENT: hashlib.sha256(lock.encode()).hexdigest()[:LONGEST_DIGEST]})


def environment_lock() -> str:
    """The interpreter as a comment, and each installed distribution with its version, one a line, by name.

    They are read off the names of their `.dist-info` folders (PEP 427), which hold no address and no path of this
    machine; reading each one's metadata would take half a second.
    """
    found: dict[str, str] = {}
    for folder in sys.path:  # the first one wins, as it does in an import
        for info in Path(folder or ".").glob("*.dist-info"):
            if named := _DIST_INFO.fullmatch(info.name):
                found.setdefault(re.sub(r"[-_.]+", "-", named["name"]).lower(), named["version"])
    head = f"# {platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    return "\n".join([head, *(f"{name}=={version}" for name, version in sorted(found.items()))]) + "\n"
