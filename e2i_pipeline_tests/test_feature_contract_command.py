"""`e2i features contract`: what a model version was trained on, from the state folder, and from the model itself."""

import json
from pathlib import Path

import pandas as pd
import pytest

from e2i_pipeline.cli import main
from e2i_pipeline.config.loader import load_settings, settings
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.feature_contract import CONTRACT_FILE, ContractField, ContractView, FeatureContract
from e2i_pipeline.contracts.references import FeatureSpec, TrainingDatasetRef
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.resources import feast_contracts
from e2i_pipeline_tests.processes import Product
from e2i_pipeline_tests.resources.mlflow_stores import store_in

TRAINING = "0123456789abcdef" * 2
MODEL = "e2i-Kisqali-conversion"


def _contract() -> FeatureContract:
    view = ContractView(
        entity="patient_id",
        ttl_seconds=60,
        bound="<",
        fields=(ContractField(name="risk_score", dtype="Float64"),),
        table="features/patient_features/v/data.parquet",
        table_key="k",
        table_version="v",
    )
    content = {
        "project": "e2i_features",
        "service": "conversion",
        "registry_key": "r",
        "features": (FeatureSpec(name="risk_score", kind="numeric", view="patient_features"),),
        "touch_window_days": 90,
        "views": {"patient_features": view},
        "on_demand": {},
    }
    return FeatureContract(key=content_key(content), **content)


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    """A state folder with one registered model, which carries its contract; nothing else is written down."""
    product = Product(tmp_path / "state")
    mlflow = store_in(product.state)
    run = mlflow.open_run("k", "Kisqali", "Kisqali-treatment_initiated", TRAINING).run_id
    contract = _contract()
    uri = mlflow.log_model(
        run,
        {"model.json": b"{}", CONTRACT_FILE: contract.model_dump_json().encode()},
        pd.DataFrame({"risk_score": [0.5]}),
    )
    version = mlflow.register_model("Kisqali", "conversion", run, uri, TRAINING)
    metadata = build_resources(load_settings(product.environment))["metadata"]
    metadata.record_model(version, metrics={}, fairness={}, run_id="run")  # type: ignore[attr-defined]
    for name, value in product.environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    return product


def _asked(capsys: pytest.CaptureFixture[str], version: str = "1") -> tuple[int, str]:
    capsys.readouterr()
    status = main(["features", "contract", "--model", MODEL, "--version", version])
    settings.cache_clear()
    out, err = capsys.readouterr()
    return status, out or err


def test_it_is_found_in_the_state_folder_and_else_in_the_model(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = _contract()
    status, said = _asked(capsys)
    assert (status, FeatureContract.model_validate(json.loads(said))) == (0, contract), "from the model's files"

    feast_contracts.keep(product.state / "feast", contract)
    used = TrainingDatasetRef(
        key="d", name="training_dataset", version="v", brand="Kisqali", dataset_key="d", features=(), split_counts={},
        positives={}, contract=contract.key,
    )  # fmt: skip
    modelling = build_resources(load_settings(product.environment))["modelling"]
    modelling.note_use(TRAINING, used)  # type: ignore[attr-defined]
    status, said = _asked(capsys)
    assert (status, json.loads(said)["key"]) == (0, contract.key)


def test_a_version_that_is_not_there_is_refused_with_those_that_are(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = _asked(capsys, version="7")
    assert status == 1
    assert f"Registered: {MODEL} version 1" in said
    assert product.state.is_dir()
