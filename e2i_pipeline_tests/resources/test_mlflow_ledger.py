"""The ledger's head in MLflow: forward only, along its own chain, and seen without MLflow as its client sees it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.metadata.ledger import LedgerHead
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.mlflow_glance import Glance
from e2i_pipeline.resources.mlflow_ledger import LEDGER_HEAD
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.promotion import PromotionResource
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in, unopened_store_in
from e2i_pipeline_tests.resources.test_metadata import TRAINED

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


@pytest.fixture
def metadata(tmp_path: Path) -> MetadataResource:
    made = MetadataResource(url=f"sqlite:///{tmp_path}/metadata.db", lock_dir=str(tmp_path / "locks"))
    for n in range(3):
        made.append_ledger("note", "a", "b", f"reason {n}", {}, NOON)
    return made


def head(metadata: MetadataResource, sequence: int) -> LedgerHead:
    return LedgerHead(sequence, metadata.ledger()[sequence - 1]["hash"])


def test_the_tag_moves_forward_only(store: MlflowResource, metadata: MetadataResource) -> None:
    run = store.open_run("k1", "Kisqali", "Kisqali", "k1").run_id
    second, third = head(metadata, 2), head(metadata, 3)

    assert store.anchor_ledger(run, second, metadata.holds_entry) == second
    assert store.anchor_ledger(run, third, metadata.holds_entry) == third
    kept = store.anchor_ledger(run, second, metadata.holds_entry)

    assert kept is not None
    assert (kept.sequence, kept.hash) == (third.sequence, third.hash)
    tag = f"3:{third.hash}"
    assert client_of(store).get_experiment_by_name("e2i/Kisqali").tags[LEDGER_HEAD] == tag
    assert Glance(store.tracking_uri).experiment_tags(LEDGER_HEAD, "e2i") == {"e2i/Kisqali": tag}
    assert Glance(store.tracking_uri).experiment_tags(LEDGER_HEAD, "theirs") == {}


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:///{folder}/nothing.txt"])
def test_what_cannot_be_looked_into_is_not_guessed_at(tmp_path: Path, uri: str) -> None:
    (tmp_path / "nothing.txt").write_text("no database", encoding="utf-8")
    assert Glance(uri.format(folder=tmp_path)).experiment_tags(LEDGER_HEAD, "e2i") is None


def test_the_tag_stays_where_the_ledger_lost_what_it_names(store: MlflowResource, metadata: MetadataResource) -> None:
    run = store.open_run("k1", "Kisqali", "Kisqali", "k1").run_id
    lost = LedgerHead(2, "a" * 64)
    store.anchor_ledger(run, lost, lambda _: True)

    assert store.anchor_ledger(run, head(metadata, 3), metadata.holds_entry) is None
    assert client_of(store).get_experiment_by_name("e2i/Kisqali").tags[LEDGER_HEAD] == f"2:{lost.hash}"


def test_a_tag_that_is_no_head_is_left_alone(store: MlflowResource, metadata: MetadataResource) -> None:
    run = store.open_run("k1", "Kisqali", "Kisqali", "k1")
    client_of(store).set_experiment_tag(run.experiment_id, LEDGER_HEAD, "seven")

    with pytest.raises(ToolRejected, match="cannot be read: somebody changed it"):
        store.anchor_ledger(run.run_id, head(metadata, 3), metadata.holds_entry)
    assert client_of(store).get_experiment_by_name("e2i/Kisqali").tags[LEDGER_HEAD] == "seven"


def training(folder: Path, metadata: MetadataResource, mlflow: MlflowResource) -> PromotionResource:
    """The stage with what anchoring needs of it."""
    absent = dict.fromkeys(PromotionResource.model_fields)
    return PromotionResource.model_construct(
        **absent
        | {"metadata": metadata, "mlflow": mlflow, "files": ModelFilesResource(state_dir=str(folder))}
        | {"modelling": ModellingResource.model_construct()}
    )


def test_a_stage_says_where_it_was_noted(tmp_path: Path, store: MlflowResource, metadata: MetadataResource) -> None:
    run = store.open_run("training-1", "Kisqali", "Kisqali", "k1").run_id
    trained = TRAINED.model_copy(update={"mlflow_run_id": run})

    assert training(tmp_path, metadata, store).anchor_ledger(trained) == "entry 3"


def test_a_server_that_does_not_answer_costs_an_anchor_and_no_run(
    tmp_path: Path, metadata: MetadataResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and the next time that MLflow answers its tag covers what was missed."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = unopened_store_in(tmp_path, tracking_uri=f"http://127.0.0.1:{servers.free_port()}")

    said = training(tmp_path, metadata, down).anchor_ledger(TRAINED)

    assert said.startswith("degraded: MLflow at http://127.0.0.1:")
    assert "did not take the ledger's entry 3 as its anchor (ToolUnavailable); the next training hands it on" in said

    metadata.append_ledger("note", "a", "b", "and later", {}, NOON)
    up = store_in(tmp_path)
    run = up.open_run("training-1", "Kisqali", "Kisqali", "k1").run_id
    trained = TRAINED.model_copy(update={"mlflow_run_id": run})
    assert training(tmp_path, metadata, up).anchor_ledger(trained) == "entry 4"
