"""A logged model answers with the model's own probabilities, anywhere, and holds no pickle."""

import functools
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.algorithms import ScoringModel, dump_model, fit_model, load_model
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.mlflow_models import scoring_requirements
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in

FEATURES = (
    FeatureSpec(name="age", kind="numeric", view="v"),
    FeatureSpec(name="is_academic", kind="boolean", view="v"),
    FeatureSpec(name="region", kind="categorical", view="v"),
)


@functools.cache
def _rows() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    region = rng.choice(["north", "south"], 200).astype(object)
    region[::11] = None
    age = rng.normal(50, 10, 200)
    age[::7] = np.nan
    return pd.DataFrame({"age": age, "is_academic": rng.integers(0, 2, 200).astype(float), "region": region})


@functools.cache
def _model(algorithm: str) -> ScoringModel:
    target = np.random.default_rng(8).integers(0, 2, 200)
    parameters = {"C": 1.0} if algorithm == "logistic_regression" else {"n_estimators": 10}
    return fit_model(
        algorithm, parameters, _rows(), target, FEATURES,
        training_key="k1", brand="Kisqali", horizon_days=180, seed=1, threads=1,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


@pytest.fixture
def run_id(store: MlflowResource) -> str:
    return store.open_run("k1", "Kisqali", "Kisqali", "run").run_id


@pytest.fixture
def as_a_user_of_mlflow(store: MlflowResource) -> Iterator[None]:
    """MLflow pointed at the store, as its users do it."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store.tracking_uri)
    yield
    mlflow.set_tracking_uri(before)


def _log(store: MlflowResource, run_id: str, algorithm: str = "xgboost") -> str:
    return store.log_model(run_id, dump_model(_model(algorithm)), _rows().head(1))


def _package(store: MlflowResource, uri: str) -> Path:
    return Path(client_of(store).get_logged_model(uri.removeprefix("models:/")).artifact_location)


@pytest.mark.usefixtures("as_a_user_of_mlflow")
@pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm", "catboost", "random_forest", "logistic_regression"])
def test_pyfunc_answers_with_the_models_own_probabilities(store: MlflowResource, run_id: str, algorithm: str) -> None:
    loaded = mlflow.pyfunc.load_model(_log(store, run_id, algorithm))
    answered = loaded.predict(_rows())
    assert answered.shape == (200,)
    assert answered.dtype == np.float64
    np.testing.assert_array_equal(answered, _model(algorithm).predict(_rows()))


@pytest.mark.usefixtures("as_a_user_of_mlflow")
def test_signature_takes_nulls_and_refuses_a_missing_column(store: MlflowResource, run_id: str) -> None:
    loaded = mlflow.pyfunc.load_model(_log(store, run_id))
    nulls = pd.DataFrame({"age": [np.nan], "is_academic": [np.nan], "region": [None]}).astype({"region": object})
    assert 0 < loaded.predict(nulls)[0] < 1
    with pytest.raises(MlflowException, match=r"missing inputs \['region'\]"):
        loaded.predict(_rows().drop(columns="region"))


def test_package_holds_no_pickle_and_pins_what_it_needs(store: MlflowResource, run_id: str) -> None:
    folder = _package(store, _log(store, run_id))
    files = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    assert {"MLmodel", "data/files/model.json", "data/files/booster.ubj", "input_example.json"} <= set(files)
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib", ".pyc"))]
    assert not [name for name, content in files.items() if content[:2] in (b"\x80\x02", b"\x80\x04", b"\x80\x05")]
    assert files["requirements.txt"].decode().split() == scoring_requirements("xgboost")
    assert f"scikit-learn=={__import__('sklearn').__version__}" in scoring_requirements("xgboost")


@pytest.mark.parametrize(
    ("name", "content"), [("model.pkl", b"{}"), ("estimator.skops", pickle.dumps({"a": 1})), ("m.joblib", b"")]
)
def test_pickle_is_refused(store: MlflowResource, run_id: str, name: str, content: bytes) -> None:
    with pytest.raises(ToolRejected, match=f"{name} is a pickle"):
        store.log_model(run_id, {"model.json": b"{}", name: content}, _rows().head(1))
    assert not client_of(store).search_logged_models([store.get_or_create_experiment("Kisqali")])


def test_run_has_one_model(store: MlflowResource, run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    first = _log(store, run_id)
    assert _log(store, run_id) == first
    assert "differ" not in caplog.text
    assert _log(store, run_id, "logistic_regression") == first
    assert "keeps the model it has, whose files differ" in caplog.text
    outputs = client_of(store).get_run(run_id).outputs
    assert outputs is not None
    assert [output.model_id for output in outputs.model_outputs] == [first.removeprefix("models:/")]


def test_model_that_a_killed_process_left_unfinished_is_replaced(store: MlflowResource, run_id: str) -> None:
    experiment = store.get_or_create_experiment("Kisqali")
    client = client_of(store)
    left = client.create_logged_model(experiment, name="model", source_run_id=run_id)
    uri = _log(store, run_id)
    assert [m.model_uri for m in client.search_logged_models([experiment])] == [uri]
    assert uri != left.model_uri


def test_files_come_back_by_uri_version_and_alias(store: MlflowResource, run_id: str) -> None:
    files = dump_model(_model("xgboost"))
    uri = _log(store, run_id)
    version = store.register_model("Kisqali", "conversion", run_id, uri, "k1")
    store.transition_model_stage(version.name, version.version, "production")
    for model in (uri, version, version.model_uri, f"models:/{version.name}@production"):
        assert store.model_files(model) == files
    assert load_model(store.model_files(version)).predict(_rows()).shape == (200,)


@pytest.mark.parametrize(
    "uri", ["models:/m-0123456789abcdef0123456789abcdef", "models:/e2i-nothing/1", "models:/e2i-nothing@production"]
)
def test_unknown_model_is_refused(store: MlflowResource, uri: str) -> None:
    with pytest.raises(ToolRejected, match=f"refused to read {uri}: .* not found"):
        store.model_files(uri)


def test_model_whose_files_are_gone_is_refused(store: MlflowResource, run_id: str) -> None:
    uri = _log(store, run_id)
    shutil.rmtree(_package(store, uri))
    with pytest.raises(ToolRejected, match=f"(?s)refused to read {uri}: .*No such artifact: 'files'"):
        store.model_files(uri)


def test_mlflows_global_state_stays_as_it_was(
    store: MlflowResource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    mlflow.set_tracking_uri(f"sqlite:///{elsewhere}/of-the-user.db")
    try:
        run_id = store.open_run("k1", "Kisqali", "Kisqali", "run").run_id
        version = store.register_model("Kisqali", "conversion", run_id, _log(store, run_id), "k1")
        store.model_files(version)
        assert mlflow.get_tracking_uri() == f"sqlite:///{elsewhere}/of-the-user.db"
        assert mlflow.active_run() is None
        assert list(elsewhere.iterdir()) == []
    finally:
        mlflow.set_tracking_uri("")


_ELSEWHERE = """
import json, sys
from pathlib import Path
sys.path = [p for p in sys.path if not (Path(p or ".") / "e2i_pipeline").is_dir()]
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
import e2i_pipeline
print(json.dumps([e2i_pipeline.__file__, model.predict(pd.read_json(sys.stdin, dtype=False)).tolist()]))
"""


def test_model_loads_where_this_package_is_not_installed(store: MlflowResource, run_id: str, tmp_path: Path) -> None:
    folder = _package(store, _log(store, run_id))
    rows = _rows().iloc[[1, 2]].reset_index(drop=True)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-I", "-c", _ELSEWHERE, str(folder)],
        input=rows.to_json(), capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place, answered = json.loads(done.stdout.splitlines()[-1])
    assert place.startswith(str(folder))
    np.testing.assert_array_equal(answered, _model("xgboost").predict(rows))
