"""What the pipeline itself makes of a version: held back after a rollback, and told so; and what follows who serves."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.errors import PromotionBlocked
from e2i_pipeline_tests.registered_models import ANN, BRAND, NAME, NOON, Registered

ROWS = TrainingDatasetRef(
    key="k", name="training_dataset", version="v", brand=BRAND, dataset_key="d", features=(), split_counts={},
    positives={},
)  # fmt: skip
LATER = NOON + timedelta(days=1)


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2 served and was rolled back to version 1."""
    made = Registered.new(tmp_path_factory.mktemp("rolled-back") / "state")
    for key in ("k1", "k2"):
        made.train(key)
    for hours, number in enumerate(("1", "2")):
        made.registry.promote(NAME, number, ANN, "It is better in the clinic.", NOON + timedelta(hours=hours))
    made.registry.rollback(BRAND, ANN, "The field team complains.", NOON + timedelta(hours=2))
    return made.state


@pytest.fixture
def registered(rolled_back: Path, tmp_path: Path) -> Registered:
    return Registered(Path(shutil.copytree(rolled_back, tmp_path / "state")))


def version(registered: Registered, number: str) -> ModelVersion:
    return registered.mlflow.describe(NAME, number).version


def decide_on(registered: Registered, number: str) -> PromotionRef:
    """As the asset does, without a look at rows: who is held back is not compared."""
    candidate = version(registered, number)
    verdicts = registered.registry._verdicts(candidate)
    trained = registered.registry._trained(candidate)
    return registered.promotions.promote(ROWS, trained, candidate, *verdicts, now=LATER)


def test_a_version_that_was_rolled_back_is_not_promoted_again_without_a_person(registered: Registered) -> None:
    before = len(registered.metadata.ledger())
    decided = decide_on(registered, "2")
    assert not decided.is_promoted
    assert decided.champion == version(registered, "1")
    assert decided.reason.startswith("Version 2 was rolled back by ann.lee@example.com on 2026-03-01 14:00 UTC")
    assert f"e2i models promote {NAME} 2" in decided.reason
    assert registered.promotions.still_stands(version(registered, "2"), decided)
    assert len(registered.metadata.ledger()) == before


def test_a_decision_from_before_a_rollback_stands_no_longer(registered: Registered) -> None:
    candidate, champion = version(registered, "2"), version(registered, "1")
    kept = PromotionRef(key="k", brand=BRAND, name=NAME, is_promoted=False, reason="Not better.", champion=champion)
    promoted = kept.model_copy(update={"is_promoted": True, "champion": candidate})
    assert not registered.promotions.still_stands(candidate, kept), "the reason is another one by now"
    assert not registered.promotions.still_stands(candidate, promoted)
    assert registered.promotions.still_stands(champion, kept)


def test_what_is_deployed_follows_who_serves_now(registered: Registered) -> None:
    served = version(registered, "2")
    before = PromotionRef(key="k", brand=BRAND, name=NAME, is_promoted=True, reason="", champion=served)
    now = registered.deployments.as_it_stands(before).champion
    assert now == version(registered, "1")
    registered.registry.change_stage(NAME, "1", "archived", ANN, "Nothing is to serve.", LATER)
    assert registered.deployments.as_it_stands(before).champion is None
    unnamed = before.model_copy(update={"name": ""})
    assert registered.deployments.as_it_stands(unnamed) == unnamed


def test_a_missing_verdict_blocks_and_a_failed_one_is_noted_on_the_version(registered: Registered) -> None:
    registered.train("k3", has_bento=False)
    registered.train("k4", answers=False)
    bento = registered.registry.bentoml.built_for(version(registered, "4"))
    verdict = registered.gate.infrastructure_verdict(bento)
    assert verdict is not None
    evaluation, _ = registered.registry._verdicts(version(registered, "1"))
    for number, given, why in (("3", None, "has no infrastructure verdict"), ("4", verdict, "failed the infra")):
        candidate = version(registered, number)
        trained = registered.registry._trained(candidate)
        with pytest.raises(PromotionBlocked, match=why):
            registered.promotions.promote(ROWS, trained, candidate, evaluation, given, now=LATER)
    tags = [registered.mlflow.describe(NAME, number).tags.get("e2i.infrastructure") for number in "34"]
    assert tags == [None, "failed"]
    registered.deployments.note_verdict(bento, verdict.model_copy(update={"is_passed": True}))
    assert registered.mlflow.describe(NAME, "4").tags["e2i.infrastructure"] == "passed"


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(registered: Registered) -> None:
    registered.registry.change_stage(NAME, "1", "archived", ANN, "Nothing is to serve.", LATER)
    registered.train("k3")
    candidate, before = version(registered, "3"), (registered.shown(), len(registered.metadata.ledger()))
    trained, verdicts = registered.registry._trained(candidate), registered.registry._verdicts(candidate)
    dry = registered.promotions.model_copy(update={"dry_run": True})
    said = dry.promote(ROWS, trained, candidate, *verdicts, now=LATER)
    assert (said.is_promoted, said.champion) == (False, None)
    assert said.reason == ("Dry run, nothing was changed. The evaluation gate is passed, and there is no champion yet.")
    assert (registered.shown(), len(registered.metadata.ledger())) == before
    assert registered.promotions.promote(ROWS, trained, candidate, *verdicts, now=LATER).is_promoted
