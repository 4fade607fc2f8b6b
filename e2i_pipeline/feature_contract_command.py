"""What `e2i features contract` prints: the feature definitions that a model version was trained on."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.feature_contract import CONTRACT_FILE
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.record_commands import Answer

if TYPE_CHECKING:
    from e2i_pipeline.contracts.feature_contract import FeatureContract


def contract(options: argparse.Namespace, chosen: Settings) -> Answer:
    """The definitions as JSON: from the state folder, else from the model itself.

    Raises:
        ToolRejected: There is no such version, or it carries no definitions.
    """
    from e2i_pipeline.defs.resources import build_resources

    resources: dict[str, Any] = build_resources(chosen)
    rows = resources["metadata"].rows("ml_model_registry", name=options.model, version=options.version)
    if not rows:
        known = sorted(
            f"{row['name']} version {row['version']}" for row in resources["metadata"].rows("ml_model_registry")
        )
        raise ToolRejected(
            f"There is no model {options.model} version {options.version}. Registered: "
            f"{', '.join(known) or 'none yet'}."
        )
    found = _of_training(resources, rows[0]["training_key"]) or _of_model(resources, options.model, options.version)
    return Answer(json.dumps(found.model_dump(mode="json"), indent=2, ensure_ascii=False))


def _of_training(resources: dict[str, Any], training_key: str) -> "FeatureContract | None":
    """What is written down in the state folder; None where it is not."""
    from e2i_pipeline.resources.stages.modelling import used_by_trainings

    feast = resources["feast"]
    for path in used_by_trainings(feast.state_dir, training_key):
        key = json.loads(path.read_text(encoding="utf-8"))["reference"].get("contract")
        if key:
            try:
                return feast.contract(key)
            except ToolRejected:  # the model carries it too
                return None
    return None


def _of_model(resources: dict[str, Any], name: str, version: str) -> "FeatureContract":
    """What the model carries among its files.

    Raises:
        ToolRejected: It carries none: it was trained before contracts were written.
    """
    from e2i_pipeline.resources.feast_contracts import parse

    uri = f"models:/{name}/{version}"
    files = resources["mlflow"].model_files(uri)
    if CONTRACT_FILE not in files:
        raise ToolRejected(
            f"The files of {uri} hold no {CONTRACT_FILE}, and the state folder names none: the model was trained "
            "before feature definitions were written down. Train it again to have them."
        )
    return parse(files[CONTRACT_FILE], f"{CONTRACT_FILE} of {uri}")
