"""A decision on a stage is in the ledger once; registry and record come to show it, whoever is killed or interferes."""

import multiprocessing
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.domain.champions import OUTSIDE
from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline_tests import registered_models
from e2i_pipeline_tests.registered_models import ANN, BRAND, NAME, NOON, Registered, act
from e2i_pipeline_tests.resources.mlflow_stores import client_of

registered = registered_models.registered

WHY = "It is better in the clinic."


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions, of which the first one serves."""
    registered = Registered.new(tmp_path_factory.mktemp("written") / "state")
    registered.train("k1")
    registered.train("k2")
    registered.registry.promote(NAME, "1", ANN, WHY, NOON)
    return registered.state


@pytest.fixture(scope="module")
def server() -> Any:
    """Processes that have MLflow imported when they begin."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "e2i_pipeline.metadata.tables", "e2i_pipeline_tests.registered_models"])
    return context


def decisions(registered: Registered) -> list[tuple[str, str, str]]:
    return [(move.kind, move.version, move.actor) for move in registered.metadata.moves(NAME)]


def test_a_move_shows_in_ledger_registry_and_record(registered: Registered) -> None:
    moved = registered.registry.promote(NAME, "2", ANN, WHY, NOON + timedelta(hours=1))
    assert registered.shown() == ({"1": "archived", "2": "production"}, "2", "2", "2")
    assert (moved.version.version, moved.before) == ("2", "1")
    [entry] = [e for e in registered.metadata.ledger() if e["payload"].get("version") == "2"]
    assert (entry["kind"], entry["actor"], entry["reason"]) == ("promotion", ANN, WHY)
    payload = entry["payload"]
    assert (payload["from_stage"], payload["to_stage"], payload["champion_before"]) == (
        "development",
        "production",
        "1",
    )
    assert (payload["training_key"], payload["dataset_version"]) == ("k2", "rows of k2")
    assert payload["model_sha256"] == "files of k2"
    assert set(payload["verdicts"]) == {"evaluation", "infrastructure"}
    assert registered.metadata.verify_ledger() == []


@pytest.mark.parametrize("action", ["promote 2", pytest.param("rollback", marks=pytest.mark.slow)])
def test_a_process_killed_before_any_of_its_changes_leaves_nothing_half_done(
    written: Path, tmp_path: Path, server: Any, action: str
) -> None:
    before = written
    if action == "rollback":
        before = Path(shutil.copytree(written, tmp_path / "three"))
        Registered(before).registry.promote(NAME, "2", ANN, WHY, NOON + timedelta(hours=1))
    old, new, new_before = ("1", "2", "development") if action == "promote 2" else ("2", "1", "archived")
    kept: list[str | None] = []
    for change in range(1, 40):
        state = Path(shutil.copytree(before, tmp_path / f"killed-{change}"))
        process = server.Process(target=act, args=(str(state), action, 2, change))
        process.start()
        process.join()
        registered = Registered(state)
        settled = registered.registry.moves.settle(NAME, NOON + timedelta(hours=3)).version
        kept.append(settled)
        stages = {old: "production", new: new_before} if settled == old else {old: "archived", new: "production"}
        assert registered.shown() == (stages, settled, settled, settled), change
        made = [move for move in registered.metadata.moves(NAME) if (move.version, move.champion_before) == (new, old)]
        assert len(made) == (settled == new)
        assert registered.metadata.verify_ledger() == []
        if process.exitcode == 0:
            break
    assert process.exitcode == 0, "it was never left alone"
    assert kept == [old, *[new] * (len(kept) - 1)], "from the ledger's entry on, the decision stands"
    assert len(kept) > 5


def test_two_who_decide_at_once_leave_one_champion(registered: Registered, server: Any) -> None:
    registered.train("k3")
    racing = [server.Process(target=act, args=(str(registered.state), f"promote {n}", 2, 0)) for n in (2, 3)]
    for process in racing:
        process.start()
    for process in racing:
        process.join()
    assert [process.exitcode for process in racing] == [0, 0]
    first, last = registered.metadata.moves(NAME)[1:]
    assert {first.version, last.version} == {"2", "3"}
    assert (first.champion_before, last.champion_before) == ("1", first.version)
    stages = {"1": "archived", first.version: "archived", last.version: "production"}
    assert registered.shown() == (stages, last.version, last.version, last.version)
    assert registered.metadata.verify_ledger() == []


def test_what_somebody_changed_in_the_registry_is_taken_over_and_told(registered: Registered) -> None:
    registered.mlflow.transition_model_stage(NAME, "2", "production")
    settled = registered.registry.moves.settle(NAME, NOON + timedelta(hours=1))
    assert settled.version == "2"
    assert decisions(registered)[-1] == ("stage_change", "2", OUTSIDE)
    client_of(registered.mlflow).delete_registered_model_alias(NAME, "production")
    assert registered.registry.moves.settle(NAME, NOON + timedelta(hours=2)).version is None
    assert registered.metadata.champion(NAME) is None
    assert len(decisions(registered)) == 3
    assert registered.registry.moves.settle(NAME, NOON + timedelta(hours=3)).version is None
    assert len(decisions(registered)) == 3, "it is told once"


def test_a_decision_that_the_registry_refuses_is_withdrawn(registered: Registered) -> None:
    moves = registered.registry.moves
    standing = registered.metadata.standing(NAME)
    assert standing.champion is not None
    lost = standing.champion._replace(version="2", champion_before="1", from_stage="development")
    registered.metadata.record_move(lost, standing.entry)  # and the process was killed
    client_of(registered.mlflow).delete_model_version(NAME, "2")
    assert moves.settle(NAME, NOON + timedelta(hours=1)).version == "1"
    assert decisions(registered)[-1] == ("withdrawal", "2", ANN)
    assert moves.settle(NAME, NOON + timedelta(hours=2)).version == "1"
    assert len(decisions(registered)) == 3


def test_who_decides_on_what_is_no_longer_so_decides_anew(registered: Registered) -> None:
    seen = registered.metadata.standing(NAME)
    registered.registry.promote(NAME, "2", ANN, WHY, NOON + timedelta(hours=1))
    assert seen.champion is not None
    with pytest.raises(ToolUnavailable, match=r"Another process has decided on e2i-Kisqali-conversion"):
        registered.metadata.record_move(seen.champion, seen.entry)
    assert len(decisions(registered)) == 2


def test_rolling_back_goes_from_champion_to_the_one_before(registered: Registered) -> None:
    registered.registry.promote(NAME, "2", ANN, WHY, NOON + timedelta(hours=1))
    registered.registry.rollback(BRAND, ANN, WHY, NOON + timedelta(hours=2))
    assert registered.shown() == ({"1": "production", "2": "archived"}, "1", "1", "1")
    at = [registered.registry.champion_at(BRAND, NOON + timedelta(hours=h)) for h in (-1, 0, 1, 2)]
    assert [move.version if move else None for move in at] == [None, "1", "2", "1"]
    assert "rolled back by ann.lee@example.com" in registered.metadata.standing(NAME).held_back("2")
    registered.registry.promote(NAME, "2", ANN, WHY, NOON + timedelta(hours=3))
    assert registered.metadata.standing(NAME).held_back("2") == ""


@pytest.mark.parametrize("stage", ["staging", "shadow"])
def test_a_champion_of_another_stage_is_rolled_back_too(written: Path, tmp_path: Path, stage: str) -> None:
    state = Path(shutil.copytree(written, tmp_path / "state"))
    registered = Registered(state, E2I__PROMOTION__STAGE=stage)
    registered.train("k3")
    for hours, number in enumerate(("2", "3"), start=1):
        registered.registry.promote(NAME, number, ANN, WHY, NOON + timedelta(hours=hours))
    moved = registered.registry.rollback(BRAND, ANN, WHY, NOON + timedelta(hours=3))
    assert (moved.version.version, moved.before) == ("2", "3")
    stages, _, recorded, told = registered.shown()
    assert (stages["2"], stages["3"], recorded, told) == (stage, "archived", "2", "2")


def test_who_had_a_stage_that_somebody_else_gets_is_archived_in_the_record_too(registered: Registered) -> None:
    registered.train("k3")
    for number in ("2", "3"):
        registered.registry.change_stage(NAME, number, "shadow", ANN, WHY, NOON + timedelta(hours=1))
    assert registered.shown()[0] == {"1": "production", "2": "archived", "3": "shadow"}
