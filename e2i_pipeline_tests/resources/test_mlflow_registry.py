"""One version per training, and stages that move along the allowed edges only."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.mlflow_registry import EDGES
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in

NAME = "e2i-Kisqali-conversion"
Trained = Callable[..., ModelVersion]


@pytest.fixture
def store(tmp_path: Path) -> MlflowResource:
    return store_in(tmp_path)


@pytest.fixture
def trained(store: MlflowResource) -> Trained:
    """Registers the one model of a training."""
    models: dict[str, str] = {}

    def register(key: str, brand: str = "Kisqali", model_type: str = "conversion") -> ModelVersion:
        run_id, experiment_id, _ = store.open_run(key, brand, brand, key)
        if run_id not in models:
            models[run_id] = client_of(store).create_logged_model(experiment_id, source_run_id=run_id).model_uri
        return store.register_model(brand, model_type, run_id, models[run_id], key, {"verdict": "passed"}, "why")

    return register


def _state(store: MlflowResource) -> tuple[dict[str, str], dict[str, str]]:
    """Stage by version, and version by alias."""
    stages = {version.version: version.stage for version in store.search_models()}
    aliases = client_of(store).get_registered_model(NAME).aliases
    return stages, {alias: str(version) for alias, version in aliases.items()}


def test_training_is_registered_once_in_development(store: MlflowResource, trained: Trained) -> None:
    first, again, other = trained("k1"), trained("k1"), trained("k2")
    assert first == again
    assert (first.key, first.brand, first.name, first.version) == ("k1", "Kisqali", NAME, "1")
    assert (first.stage, first.model_uri) == ("development", f"models:/{NAME}/1")
    assert first.mlflow_run_id == store.find_run("k1")
    assert other.version == "2"
    kept = client_of(store).get_model_version(NAME, "1")
    assert kept.description == "why"
    assert {"platform": "e2i", "verdict": "passed", "e2i.training_key": "k1"}.items() <= kept.tags.items()


def test_registering_again_leaves_the_stage(store: MlflowResource, trained: Trained) -> None:
    store.transition_model_stage(NAME, trained("k1").version, "production")
    assert trained("k1").stage == "production"


@pytest.mark.parametrize(
    "path",
    [["staging", "shadow", "production", "archived", "production"], ["production"], ["shadow", "archived", "shadow"]],
)
def test_allowed_moves(store: MlflowResource, trained: Trained, path: list[str]) -> None:
    version = trained("k1")
    for stage in path:
        moved = store.transition_model_stage(NAME, version.version, stage)
        assert moved == version.model_copy(update={"stage": stage})
        assert _state(store) == ({"1": stage}, {} if stage == "archived" else {stage: "1"})


@pytest.mark.parametrize(
    ("path", "stage", "message"),
    [
        (["staging"], "development", "in staging and cannot move to development.*to: shadow, production, archived"),
        (["production"], "staging", "From production it may move to: archived"),
        (["production", "archived"], "staging", "From archived it may move to: production"),
        (["shadow", "archived"], "production", r"From archived it may move to: shadow\."),
        (["archived"], "production", "may move to: nothing, since it never held a stage"),
        ([], "None", "may move to: staging, shadow, production, archived"),
    ],
)
def test_refused_moves_change_nothing(
    store: MlflowResource, trained: Trained, path: list[str], stage: str, message: str
) -> None:
    trained("k1")
    for allowed in path:
        store.transition_model_stage(NAME, "1", allowed)
    before = _state(store)
    with pytest.raises(ToolRejected, match=message):
        store.transition_model_stage(NAME, "1", stage)
    assert _state(store) == before


def test_every_stage_has_its_edges() -> None:
    assert set(EDGES) == {"development", "staging", "shadow", "production", "archived"}


def test_newcomer_archives_the_one_before(store: MlflowResource, trained: Trained) -> None:
    trained("k1")
    trained("k2")
    store.transition_model_stage(NAME, "1", "production")
    store.transition_model_stage(NAME, "2", "production")
    assert _state(store) == ({"1": "archived", "2": "production"}, {"production": "2"})
    store.transition_model_stage(NAME, "1", "production")
    assert _state(store) == ({"1": "production", "2": "archived"}, {"production": "1"}), "a rollback"


def test_newcomer_may_leave_the_one_before(store: MlflowResource, trained: Trained) -> None:
    trained("k1")
    trained("k2")
    store.transition_model_stage(NAME, "1", "staging")
    store.transition_model_stage(NAME, "2", "staging", archive_existing=False)
    assert _state(store) == ({"1": "staging", "2": "staging"}, {"staging": "2"})


def test_stage_left_behind_loses_its_alias_only_if_it_holds_it(store: MlflowResource, trained: Trained) -> None:
    trained("k1")
    trained("k2")
    store.transition_model_stage(NAME, "1", "staging")
    store.transition_model_stage(NAME, "2", "staging", archive_existing=False)
    store.transition_model_stage(NAME, "1", "production")
    assert _state(store) == ({"1": "production", "2": "staging"}, {"production": "1", "staging": "2"})


def test_move_that_was_cut_short_is_completed_by_asking_again(store: MlflowResource, trained: Trained) -> None:
    trained("k1")
    trained("k2")
    store.transition_model_stage(NAME, "1", "production")
    client_of(store).set_registered_model_alias(NAME, "production", "2")
    client_of(store).set_model_version_tag(NAME, "2", "e2i.stage", "production")  # and the process was killed
    store.transition_model_stage(NAME, "2", "production")
    assert _state(store) == ({"1": "archived", "2": "production"}, {"production": "2"})


def test_latest_version_by_order_of_stages(store: MlflowResource, trained: Trained) -> None:
    assert store.get_latest_model_version(NAME) is None
    for key in ("k1", "k2", "k3"):
        trained(key)
    assert store.get_latest_model_version(NAME) is None
    latest = store.get_latest_model_version(NAME, ("development",))
    assert latest is not None
    assert latest.version == "3"
    store.transition_model_stage(NAME, "1", "staging")
    assert store.get_latest_model_version(NAME) == trained("k1")
    store.transition_model_stage(NAME, "2", "production")
    assert store.get_latest_model_version(NAME) == trained("k2")
    assert store.get_latest_model_version(NAME, ("shadow",)) is None


def test_search_by_name_and_stage(store: MlflowResource, trained: Trained) -> None:
    trained("k1")
    trained("k2")
    trained("k3", brand="Fabhalta")
    trained("k4", model_type="effect")
    store.transition_model_stage(NAME, "2", "production")
    assert [(v.name, v.version) for v in store.search_models()] == [
        ("e2i-Fabhalta-conversion", "1"), (NAME, "1"), (NAME, "2"), ("e2i-Kisqali-effect", "1"),
    ]  # fmt: skip
    assert [v.version for v in store.search_models("e2i-Kisqali-conv%", ["production"])] == ["2"]
    assert store.search_models("other-%") == []
    with pytest.raises(ToolRejected, match="quote"):
        store.search_models("e2i-' OR '1'='1")


def test_has_version_knows_the_very_training(store: MlflowResource, trained: Trained) -> None:
    version = trained("k1")
    assert store.has_version(version)
    assert not store.has_version(version.model_copy(update={"version": "2"}))
    assert not store.has_version(version.model_copy(update={"key": "of another state folder"}))
    assert not store.has_version(version.model_copy(update={"name": "e2i-nothing"}))


def test_unknown_version_and_unknown_model_are_refused(store: MlflowResource, trained: Trained) -> None:
    trained("k1")
    with pytest.raises(ToolRejected, match="not found"):
        store.transition_model_stage(NAME, "7", "staging")
    with pytest.raises(ToolRejected, match="not found"):
        store.register_model("Kisqali", "conversion", "", "models:/m-0123456789abcdef0123456789abcdef", "k9")


def test_second_version_of_another_machine_gives_way(store: MlflowResource, trained: Trained) -> None:
    version = trained("k1")
    source = client_of(store).get_model_version(NAME, "1").source
    assert source is not None
    tags = {"e2i.training_key": "k1"}
    client_of(store).create_model_version(NAME, source, run_id=version.mlflow_run_id, tags=tags)
    assert trained("k1") == version


def test_a_training_whose_run_was_deleted_gets_a_version_of_its_new_run(
    store: MlflowResource, trained: Trained
) -> None:
    before = trained("k1")
    client_of(store).delete_run(before.mlflow_run_id)
    after = trained("k1")
    assert (after.key, after.version) == (before.key, "2")
    assert after.mlflow_run_id != before.mlflow_run_id
