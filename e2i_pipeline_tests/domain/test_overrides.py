"""Who may override the gate, with what words, and what people read of it."""

from datetime import UTC, datetime

import pytest

from e2i_pipeline.contracts.quality import Override, Verdict, VerdictKey
from e2i_pipeline.domain import overrides
from e2i_pipeline.errors import OverrideRefused
from e2i_pipeline_tests.domain.test_quality import outcome, report

KEY = VerdictKey(subject="patient_journeys", data_version="0123456789abcdef", suite_hash="s", gate_hash="g")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("actor", ["jane.doe@example.com", "  jane.doe@example.com\n", "j+x@sub.example.org"])
def test_a_mail_address_identifies_a_person(actor: str) -> None:
    assert overrides.checked_actor(actor) == actor.strip()


@pytest.mark.parametrize(
    "actor",
    [
        "",
        "  ",
        "jane",
        "data_preparer",
        "jane@",
        "@example.com",
        "jane@localhost",
        "a@b.com, c@d.com",
        "x" * 250 + "@b.com",
    ],
)
def test_anything_else_does_not(actor: str) -> None:
    with pytest.raises(OverrideRefused, match=r"(needs an actor, and none was given|must be a person, by e-mail)"):
        overrides.checked_actor(actor)


def test_where_people_are_named_only_they_may_and_are_called_as_configured() -> None:
    people = ["Jane Doe", "john@example.com"]
    assert overrides.checked_actor("jane  doe", people) == "Jane Doe"
    assert overrides.checked_actor("JOHN@example.com", people) == "john@example.com"
    with pytest.raises(OverrideRefused, match=r"jane\.doe@example\.com is not among the 2 people of the setting"):
        overrides.checked_actor("jane.doe@example.com", people)


@pytest.mark.parametrize(("reason", "kept"), [("ten  chars\n!", "ten chars !"), ("x" * 2_000, "x" * 2_000)])
def test_a_reason_is_a_line_of_words(reason: str, kept: str) -> None:
    assert overrides.checked_reason(reason) == kept


@pytest.mark.parametrize(
    ("reason", "length"), [("", "0"), ("ok", "2"), ("a " + " " * 50 + "b", "3"), ("x" * 2_001, "2,001")]
)
def test_too_few_words_or_too_many_are_no_reason(reason: str, length: str) -> None:
    with pytest.raises(OverrideRefused, match=f"a reason of 10 to 2,000 characters, and this one has {length}"):
        overrides.checked_reason(reason)


def test_the_sentence_says_what_by_whom_when_why_and_where_it_is_recorded() -> None:
    override = Override(
        subject="patient_journeys", data_version="0123456789abcdef", actor="jane@example.com", reason="Known and fine",
        failed=("3 of 12 rows.",), at=NOON, entry=7,
    )  # fmt: skip

    assert overrides.sentence(override) == (
        "patient_journeys (version 0123456789ab) passed the gate by an override of jane@example.com on 2026-03-01 "
        "12:00 UTC, ledger entry 7: Known and fine"
    )


def test_the_refusal_is_all_that_one_needs_and_ends_with_the_way_out() -> None:
    failed = outcome("brand_is_configured", "failed", "critical", tested_rows=10, unexpected_rows=1)
    blocked = report(failed, outcome("x", "skipped"))
    verdict = Verdict(key=KEY, gate="data_quality", is_passed=False, reasons=("1 of 10 rows.",), decided_at=NOON)

    lines = overrides.refusal([blocked], verdict, 0.95).splitlines()

    assert lines == [
        "patient_journeys (version 0123456789ab), suite e2i_patient_journeys: 1 of 2 expectations failed, 1 were "
        "skipped; 1 of 10 tested rows do not pass, a pass rate of 0.9000, and at least 0.95 is wanted.",
        "1 of 10 rows.",
        "Data docs: /docs/page.html",
        "To let it pass as it is, a person has to answer for it, with a reason that goes into the ledger: e2i gate "
        'override --table patient_journeys --actor <your e-mail address> --reason "<why it may pass>", or the job '
        "gate_override in the Dagster UI. It holds for exactly this version, suite and gate configuration.",
    ]
    assert "--table training_dataset --brand Kisqali --actor" in overrides.way_out("training_dataset", "Kisqali")
