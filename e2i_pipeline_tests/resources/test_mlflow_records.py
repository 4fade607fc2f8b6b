"""What is logged to a run stays as it is when it is logged again, and nothing is cut short."""

from pathlib import Path

import pytest

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


@pytest.fixture
def run_id(store: MlflowResource) -> str:
    return store.open_run("k1", "Kisqali", "Kisqali", "run").run_id


def _file(store: MlflowResource, run_id: str, path: str, folder: Path) -> bytes:
    return Path(client_of(store).download_artifacts(run_id, path, str(folder))).read_bytes()


def test_parameters_are_logged_once(store: MlflowResource, run_id: str) -> None:
    store.log_params(run_id, {"max_depth": 3, "learning_rate": 0.1, "early": None})
    store.log_params(run_id, {"max_depth": 3, "subsample": 0.5})
    logged = client_of(store).get_run(run_id).data.params
    assert logged == {"max_depth": "3", "learning_rate": "0.1", "early": "None", "subsample": "0.5"}


def test_changed_parameter_is_refused_and_nothing_else_of_the_call_is_logged(
    store: MlflowResource, run_id: str
) -> None:
    store.log_params(run_id, {"max_depth": 3})
    with pytest.raises(ToolRejected, match=r"max_depth from 3 to 4.*mlflow runs delete --run-id"):
        store.log_batch(run_id, {"max_depth": 4, "new": 1}, {"auc": 0.7})
    data = client_of(store).get_run(run_id).data
    assert (data.params, data.metrics) == ({"max_depth": "3"}, {})


def test_values_that_mlflow_would_cut_are_refused(store: MlflowResource, run_id: str) -> None:
    store.log_params(run_id, {"fits": "x" * 6_000})
    store.set_tags(run_id, {"fits": "x" * 8_000})
    with pytest.raises(ToolRejected, match=r"parameter long has 6,001 characters.*log_files"):
        store.log_params(run_id, {"long": "x" * 6_001})
    with pytest.raises(ToolRejected, match=r"tag long has 8,001 characters"):
        store.set_tags(run_id, {"long": "x" * 8_001})
    with pytest.raises(ToolRejected, match=r"tag long has 8,001 characters"):
        store.open_run("k2", "Kisqali", "Kisqali", "run", {"long": "x" * 8_001})
    assert store.find_run("k2") is None


def test_metrics_keep_their_steps_and_a_repeated_figure_adds_nothing(store: MlflowResource, run_id: str) -> None:
    for step, value in enumerate([0.6, 0.7, 0.7], start=1):
        store.log_metrics(run_id, {"trial_auc": value}, step=step)
    for _ in range(2):
        store.log_metrics(run_id, {"test_auc": 0.7})
    client = client_of(store)
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, "trial_auc")] == [(1, 0.6), (2, 0.7), (3, 0.7)]
    assert [m.value for m in client.get_metric_history(run_id, "test_auc")] == [0.7]


def test_more_than_one_batch(store: MlflowResource, run_id: str) -> None:
    params, metrics = {f"p{i}": i for i in range(250)}, {f"m{i}": float(i) for i in range(1_700)}
    store.log_batch(run_id, params, metrics)
    data = client_of(store).get_run(run_id).data
    assert (len(data.params), len(data.metrics)) == (250, 1_700)


def test_files_keep_their_folders_and_are_replaced(store: MlflowResource, run_id: str, tmp_path: Path) -> None:
    store.log_files(run_id, {"a.txt": b"old", "deep/b.bin": b"\x00\x01"}, "plots")
    store.log_files(run_id, {"a.txt": b"new"}, "plots")
    assert _file(store, run_id, "plots/a.txt", tmp_path) == b"new"
    assert _file(store, run_id, "plots/deep/b.bin", tmp_path) == b"\x00\x01"


def test_unknown_run_is_refused(store: MlflowResource) -> None:
    with pytest.raises(ToolRejected, match="refused to read run nobody: Run with id=nobody not found"):
        store.log_params("nobody", {"a": 1})
