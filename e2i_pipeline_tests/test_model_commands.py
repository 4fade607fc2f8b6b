"""`e2i models`: what people see of registered versions, and what they may do with them, with whose name and why."""

import re
import shutil
from pathlib import Path

import pytest

from e2i_pipeline_tests import registered_models
from e2i_pipeline_tests.registered_models import ANN, BOB, BRAND, NAME, NOON, Command, Registered

registered, models = registered_models.registered, registered_models.models

SAID = ("--by", ANN, "--reason", "It is better in the clinic.")
UNMET = "AUC 0.55 on test is below 0.60."


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 serves; 2 could, 3 misses a criterion, 4 did not answer, 5 has no Bento."""
    registered = Registered.new(tmp_path_factory.mktemp("written") / "state")
    registered.train("k1")
    registered.train("k2")
    registered.train("k3", unmet=(UNMET,))
    registered.train("k4", answers=False)
    registered.train("k5", has_bento=False)
    registered.registry.promote(NAME, "1", BOB, "The first one that we have.", NOON)
    return registered.state


def test_versions_are_listed_with_stage_and_verdicts(models: Command) -> None:
    head, *lines = models("list").out.splitlines()
    assert head.split()[:4] == ["name", "version", "stage", "serves"]
    assert [line.split()[1:3] for line in lines] == [
        ["1", "production"], *([number, "development"] for number in "2345"),
    ]  # fmt: skip
    assert lines[0].split()[3:5] == ["yes", "passed"]
    assert lines[2].split()[3] == "failed"
    assert "AUC 0.7000" in lines[0]
    assert len(models("list", "--pattern", "e2i-Kis%", "--stage", "production").out.splitlines()) == 2
    nothing = models("list", "--pattern", "other-%", "--stage", "shadow")
    assert (nothing.status, nothing.out) == (1, "No registered version is named like other-% in shadow.\n")


def test_a_version_is_shown_with_its_hashes_and_decisions(models: Command) -> None:
    said = models("show", NAME, "1").out
    assert "files of k1" in said
    assert "rows of k1" in said
    assert f"from development to production by {BOB} on 2026-03-01 12:00 UTC, ledger entry" in said
    assert "No decision on it is in the ledger." in models("show", NAME, "2").out
    assert "not found" in models("show", NAME, "9").err


def test_a_version_is_promoted_and_the_one_before_archived(models: Command, registered: Registered) -> None:
    done = models("promote", NAME, "2", *SAID)
    assert (done.status, done.err) == (0, "")
    assert f"{NAME} version 2 was promoted from development to production by {ANN}" in done.out
    assert f"--select 'deployment,batch_predictions' --partition {BRAND}" in done.out
    stages, *serving = registered.shown()
    assert (stages["1"], stages["2"], serving) == ("archived", "production", ["2", "2", "2"])


@pytest.mark.parametrize(
    ("number", "more", "why"),
    [
        ("3", (), rf"PromotionBlocked: .*does not meet its success criteria.*{UNMET}.*--override"),
        ("4", (), "PromotionBlocked: .* failed the infrastructure gate: It answers otherwise."),
        ("4", ("--override",), "PromotionBlocked: .* failed the infrastructure gate"),
        ("5", ("--override",), "ToolRejected: .* has no whole Bento in the store"),
        ("1", (), "ToolRejected: .* is the champion already"),
    ],
)
def test_verdicts_hold_a_promotion_back(
    models: Command, registered: Registered, number: str, more: tuple[str, ...], why: str
) -> None:
    before = registered.shown(), len(registered.metadata.ledger())
    done = models("promote", NAME, number, *SAID, *more)
    assert done.status == 1
    assert re.search(why, done.err.replace("\n", " ")), done.err
    assert (registered.shown(), len(registered.metadata.ledger())) == before


def test_a_person_may_answer_for_unmet_criteria(models: Command, registered: Registered) -> None:
    assert models("promote", NAME, "3", *SAID, "--override").status == 0
    [entry] = [e for e in registered.metadata.ledger() if e["kind"] == "promotion" and e["payload"]["version"] == "3"]
    assert (entry["actor"], entry["payload"]["overridden"]) == (ANN, [UNMET])
    assert f"although: {UNMET}" in models("show", NAME, "3").out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("promote", NAME, "2", "--by", "ann", "--reason", "It is better."), "actor of a promotion must be a person"),
        (("rollback", "--brand", BRAND, "--by", ANN, "--reason", "bad"), "A rollback needs a reason of 10 to 2,000"),
        (("stage", NAME, "2", "shadow", "--by", "", "--reason", "long enough"), "A stage change needs an actor"),
        (("stage", NAME, "2", "live", *SAID), "There is no stage 'live'. Stages: development, staging, shadow"),
        (("stage", NAME, "2", "production", *SAID), f"e2i models promote {NAME} 2"),
        (("stage", NAME, "2", "development", *SAID), "is in development already"),
        (("stage", NAME, "9", "shadow", *SAID), "not found"),
        (("rollback", "--brand", BRAND, *SAID), "has no earlier champion to go back to: .*only version 1 has served"),
        (("rollback", "--brand", "Aspirin", *SAID), "There is no brand 'Aspirin'. Configured brands: Kisqali"),
        (("champion", "--at", "yesterday"), "'yesterday' is no date: write it as 2026-11-01"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    models: Command, registered: Registered, arguments: tuple[str, ...], why: str
) -> None:
    before = registered.shown(), len(registered.metadata.ledger())
    done = models(*arguments)
    assert done.status == 1
    assert re.search(why, done.err), done.err
    assert (registered.shown(), len(registered.metadata.ledger())) == before


def test_only_configured_people_may(models: Command) -> None:
    done = models("promote", NAME, "2", *SAID, E2I__OVERRIDE__PEOPLE=f"[{BOB}]")
    assert "ann.lee@example.com is not among the 1 people of the setting override.people" in done.err


def test_stages_follow_the_allowed_edges(models: Command, registered: Registered) -> None:
    assert models("stage", NAME, "2", "shadow", *SAID).status == 0
    assert registered.mlflow.holder(NAME, "shadow") == "2"
    assert "in shadow and cannot move to staging" in models("stage", NAME, "2", "staging", *SAID).err
    gone = models("stage", NAME, "1", "archived", *SAID)
    assert "What is deployed follows" in gone.out
    assert registered.shown()[1:] == (None, None, None)
    assert models("champion").status == 1


def test_a_rollback_is_one_command_and_the_champion_of_any_date_one_question(
    models: Command, registered: Registered
) -> None:
    models("promote", NAME, "2", *SAID)
    done = models("rollback", "--brand", BRAND, "--by", BOB, "--reason", "The field team complains.")
    assert f"{NAME} version 1 was put back from archived to production by {BOB}" in done.out
    assert "Version 2 is not promoted again without a person." in done.out
    assert registered.shown()[1:] == ("1", "1", "1")
    now = models("champion", "--brand", BRAND).out
    assert now.startswith(f"Champion of {BRAND} now: {NAME} version 1\n")
    for fact in (BOB, "The field team complains.", "instead of        version 2", "(rollback)", "files of k1"):
        assert fact in now
    for date in ("2026-03-01", "20260301", "2026-03-01T13:00+01:00"):
        assert f"{NAME} version 1\n" in models("champion", "--at", date).out
    early = models("champion", "--at", "2026-03-01T11:59+00:00")
    assert (early.status, early.out.startswith("No version of")) == (1, True)
    assert "was rolled back by bob.roe@example.com" in models("show", NAME, "2").out


def test_a_rollback_to_a_version_without_a_bento_is_refused(models: Command, registered: Registered) -> None:
    models("promote", NAME, "2", *SAID)
    shutil.rmtree(registered.state / "bentoml" / "bentos" / NAME.lower() / "1-made")
    done = models("rollback", "--brand", BRAND, *SAID)
    assert "version 1 has no whole Bento in the store" in done.err
    assert registered.shown()[1:] == ("2", "2", "2")
