"""Who served when, by the decisions in the ledger alone."""

from datetime import UTC, datetime, timedelta

import pytest

from e2i_pipeline.domain.champions import PROMOTION, ROLLBACK, STAGE_CHANGE, WITHDRAWAL, Move, standing

START = datetime(2026, 3, 1, tzinfo=UTC)


def moves(*said: str) -> list[Move]:
    """Decisions, one a day: `promotion 2`, `rollback 1`, `stage_change 1` (out of service), `withdrawal <entry>`."""
    made: list[Move] = []
    for day, text in enumerate(said):
        kind, _, number = text.partition(" ")
        is_champion = kind in (PROMOTION, ROLLBACK)
        facts = {"withdraws": int(number)} if kind == WITHDRAWAL else {}
        made.append(
            Move(kind, "m", number, "development", "production" if is_champion else "archived", is_champion, "", "ann",
                 True, "why", START + timedelta(days=day), facts, entry=day + 1)
        )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("said", "champion", "served", "held_back"),
    [
        ((), None, (), set()),
        (("promotion 1",), "1", ("1",), set()),
        (("promotion 1", "promotion 2"), "2", ("1", "2"), set()),
        (("promotion 1", "promotion 2", "rollback 1"), "1", ("1",), {"2"}),
        (("promotion 1", "promotion 2", "rollback 1", "promotion 3"), "3", ("1", "3"), {"2"}),
        (("promotion 1", "promotion 2", "rollback 1", "promotion 3", "rollback 1"), "1", ("1",), {"2", "3"}),
        (("promotion 1", "promotion 2", "rollback 1", "promotion 2"), "2", ("1", "2"), set()),
        (("promotion 1", "promotion 2", "promotion 1", "rollback 2"), "2", ("1", "2"), {"1"}),
        (("promotion 1", "promotion 2", "stage_change 2"), None, ("1", "2"), set()),
        (("promotion 1", "promotion 2", "stage_change 2", "rollback 1"), "1", ("1",), {"2"}),
        (("promotion 1", "stage_change 2"), "1", ("1",), set()),
        (("promotion 1", "promotion 2", "withdrawal 2"), "1", ("1",), set()),
    ],
)
def test_what_decisions_come_to(
    said: tuple[str, ...], champion: str | None, served: tuple[str, ...], held_back: set[str]
) -> None:
    found = standing(moves(*said))
    assert (found.version, found.served, set(found.rolled_back)) == (champion, served, held_back)


def test_what_was_decided_later_does_not_count_yet() -> None:
    said = moves("promotion 1", "promotion 2", "rollback 1")
    days = [standing(said, START + timedelta(days=day)).version for day in (-1, 0, 0.5, 1, 2, 99)]
    assert days == [None, "1", "1", "2", "1", "1"]
    assert standing(said, START + timedelta(days=1)).entry == 2


def test_a_decision_that_was_withdrawn_later_never_counted() -> None:
    said = moves("promotion 1", "promotion 2", "withdrawal 2")
    assert standing(said, START + timedelta(days=1)).version == "1"


def test_it_is_said_who_rolled_back_and_how_a_person_promotes_it_again() -> None:
    found = standing(moves("promotion 1", "promotion 2", "rollback 1"))
    assert found.held_back("1") == ""
    held = found.held_back("2")
    assert "Version 2 was rolled back by ann on 2026-03-03 00:00 UTC (ledger entry 3: why)" in held
    assert "e2i models promote m 2 --by" in held
    assert STAGE_CHANGE not in held
