"""`e2i models` for effects: the causal gate's verdict holds one back, and there is no Bento to ask or to follow."""

import re
from pathlib import Path

import pytest

from e2i_pipeline_tests import registered_models
from e2i_pipeline_tests.registered_models import ANN, BOB, BRAND, NOON, Command, Registered

NAME = "e2i-Kisqali-effect"
registered, models = registered_models.registered, registered_models.models

SAID = ("--by", ANN, "--reason", "It agrees with the trial.")
BROKEN = "The interval of the average effect holds 0."


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Effect 1 is in use; 2 could be, 3 was refused, 4 was never attacked. A model serves beside them."""
    registered = Registered.new(tmp_path_factory.mktemp("written") / "state")
    registered.train("k1")
    registered.estimate("e1")
    registered.estimate("e2")
    registered.estimate("e3", broken=(BROKEN,))
    registered.estimate("e4", is_attacked=False)
    registered.registry.promote("e2i-Kisqali-conversion", "1", BOB, "The first one that we have.", NOON)
    registered.registry.promote(NAME, "1", BOB, "The first one that we have.", NOON)
    return registered.state


def in_use(registered: Registered) -> tuple[str | None, str | None]:
    """The effect in use according to registry and ledger."""
    return registered.mlflow.holder(NAME, "production"), registered.metadata.standing(NAME).version


def test_effects_are_listed_and_shown_with_the_verdict_of_their_gate(models: Command) -> None:
    lines = models("list", "--pattern", "%-effect").out.splitlines()[1:]
    assert [line.split()[1:5] for line in lines] == [
        ["1", "production", "yes", "passed"],
        *(["2", "development", "passed", "e2"], ["3", "development", "failed", "e3"]),
        ["4", "development", "passed", "e4"],
    ]
    said = models("show", NAME, "3").out
    assert re.search(r"e2i\.effect +failed", said)
    assert "files of e3" in said


def test_an_effect_is_promoted_on_the_causal_gate_s_verdict_alone(models: Command, registered: Registered) -> None:
    done = models("promote", NAME, "2", *SAID)
    assert (done.status, done.err) == (0, "")
    assert f"{NAME} version 2 was promoted from development to production by {ANN}" in done.out
    assert f"whoever loads models:/{NAME}@production gets this version from now on" in done.out
    assert in_use(registered) == ("2", "2")
    assert set(registered.metadata.standing(NAME).last.facts["verdicts"]) == {"effect"}  # type: ignore[union-attr]
    assert registered.metadata.standing("e2i-Kisqali-conversion").version == "1"


@pytest.mark.parametrize(
    ("number", "more", "why"),
    [
        ("3", (), rf"PromotionBlocked: .*was refused by the causal gate, so it was not promoted: {BROKEN}.*--override"),
        ("4", ("--override",), r"PromotionBlocked: .*has no verdict of the causal gate.*Materialize refutation"),
        ("1", (), "ToolRejected: .* is the champion already"),
    ],
)
def test_the_verdict_holds_an_effect_back(
    models: Command, registered: Registered, number: str, more: tuple[str, ...], why: str
) -> None:
    before = len(registered.metadata.ledger())
    done = models("promote", NAME, number, *SAID, *more)
    assert done.status == 1
    assert re.search(why, done.err.replace("\n", " ")), done.err
    assert (in_use(registered), len(registered.metadata.ledger())) == (("1", "1"), before)


def test_a_person_may_answer_for_a_refused_effect(models: Command, registered: Registered) -> None:
    assert models("promote", NAME, "3", *SAID, "--override").status == 0
    assert in_use(registered) == ("3", "3")
    assert f"although: {BROKEN}" in models("show", NAME, "3").out


def test_an_effect_is_rolled_back_and_the_one_of_any_date_is_told(models: Command, registered: Registered) -> None:
    models("promote", NAME, "2", *SAID)
    done = models("rollback", "--effect", "--brand", BRAND, *SAID)
    assert f"{NAME} version 1 was put back from archived to production by {ANN}" in done.out
    assert "Version 2 is not promoted again without a person." in done.out
    assert in_use(registered) == ("1", "1")
    now = models("champion", "--effect").out
    assert now.startswith(f"Champion of {BRAND} now: {NAME} version 1\n")
    assert '"effect"' in now
    assert "e2i-Kisqali-conversion version 1" in models("champion").out
    early = models("champion", "--effect", "--at", "2026-03-01T11:59+00:00")
    assert early.out.startswith(f"No version of {NAME} serves")


def test_an_effect_that_is_taken_out_of_use_leaves_none(models: Command, registered: Registered) -> None:
    done = models("stage", NAME, "1", "archived", *SAID)
    assert f"No effect of {BRAND} is in use any more." in done.out
    assert in_use(registered) == (None, None)
