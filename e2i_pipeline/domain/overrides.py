"""Overrides of a closed gate: who may answer, with what words, and how people are told.

Only rules and sentences. Where an override is kept, and for what it holds, stands in `resources/records/quality.py`.
"""

import re
from collections.abc import Iterable, Sequence

from e2i_pipeline.contracts.quality import Override, ValidationReport, Verdict
from e2i_pipeline.errors import OverrideRefused

SHORTEST_REASON = 10
"""Characters that a reason needs at least, runs of blanks counted as one."""

LONGEST_ACTOR, LONGEST_REASON = 255, 2_000
"""Characters that the ledger takes of an actor, and that anybody will read of a reason."""

_MAIL = re.compile(r"[^@\s<>\"',;]+@[^@\s<>\"',;]+\.[^@\s<>\"',;.]{2,}")


def checked_actor(actor: str, people: Sequence[str] = (), what: str = "override") -> str:
    """The person who answers, as the ledger is to name them.

    Args:
        actor: What was given.
        people: The configured people, by e-mail address or name; empty lets anybody with an e-mail address answer.
        what: What is to be answered for, for the message.

    Raises:
        OverrideRefused: It names nobody, or nobody who may.
    """
    given = _one_line(actor)
    known = {_one_line(person).casefold(): _one_line(person) for person in people}
    if not given:
        raise OverrideRefused(f"{_a(what)} needs an actor, and none was given. Say who answers for it.")
    if known and given.casefold() not in known:
        raise OverrideRefused(
            f"{given} is not among the {len(known)} people of the setting override.people, who alone may answer for "
            f"{_a(what).lower()}. Nothing was recorded. Ask one of them, or add the name by review."
        )
    if not known and (not _MAIL.fullmatch(given) or len(given) > LONGEST_ACTOR):
        raise OverrideRefused(
            f"The actor of {_a(what).lower()} must be a person, by e-mail address, and {given[:80]!r} is none. Nothing "
            "was recorded. Give your address, or list names in the setting override.people."
        )
    return known.get(given.casefold(), given)


def checked_reason(reason: str, what: str = "override", why: str = "why the table may pass as it is") -> str:
    """The reason, blanks and line ends as single spaces.

    Args:
        reason: What was given.
        what: What is to be answered for, for the message.
        why: What the reason should say, for the message.

    Raises:
        OverrideRefused: It is shorter than `SHORTEST_REASON` or longer than `LONGEST_REASON` characters.
    """
    given = _one_line(reason)
    if not SHORTEST_REASON <= len(given) <= LONGEST_REASON:
        raise OverrideRefused(
            f"{_a(what)} needs a reason of {SHORTEST_REASON} to {LONGEST_REASON:,} characters, and this one has "
            f"{len(given):,}. Nothing was recorded. Say {why}, for whoever reads it later."
        )
    return given


def sentence(override: Override) -> str:
    """An override in one sentence: what, by whom, when, where it is recorded, and why."""
    return (
        f"{override.subject} (version {override.data_version[:12]}) passed the gate by an override of {override.actor} "
        f"on {override.at:%Y-%m-%d %H:%M} UTC, ledger entry {override.entry}: {override.reason}"
    )


def refusal(reports: Iterable[ValidationReport], verdict: Verdict, min_pass_rate: float, brand: str = "") -> str:
    """What a person who meets the closed gate needs: what failed, how often, where to look, what to do.

    Args:
        reports: The audits behind the verdict; none where they are lost.
        verdict: The failing verdict.
        min_pass_rate: The limit, 0..1.
        brand: The brand of a table that each brand has one of.

    Returns:
        Lines of text, the last of which says how to override.
    """
    reports = tuple(reports)
    lines = [*(_counts(report, min_pass_rate) for report in reports), *verdict.reasons]
    lines += dict.fromkeys(f"Data docs: {report.data_docs}" for report in reports if report.data_docs)
    return "\n".join([*lines, way_out(verdict.key.subject, brand)])


def way_out(table: str, brand: str = "") -> str:
    """How a closed gate is overridden.

    Args:
        table: The table.
        brand: Its brand, where each brand has one.
    """
    chosen = f"{table} --brand {brand}" if brand else table
    return (
        "To let it pass as it is, a person has to answer for it, with a reason that goes into the ledger: "
        f'e2i gate override --table {chosen} --actor <your e-mail address> --reason "<why it may pass>", or the job '
        "gate_override in the Dagster UI. It holds for exactly this version, suite and gate configuration."
    )


def _counts(report: ValidationReport, min_pass_rate: float) -> str:
    tested = sum(o.tested_rows for o in report.outcomes)
    unexpected = sum(o.unexpected_rows for o in report.outcomes)
    subject = f"{report.table}[{report.split}]" if report.split else report.table
    return (
        f"{subject} (version {report.data_version[:12]}), suite {report.suite}: {report.failed} of "
        f"{len(report.outcomes)} expectations failed, {report.skipped} were skipped; {unexpected:,} of {tested:,} "
        f"tested rows do not pass, a pass rate of {report.pass_rate:.4f}, and at least {min_pass_rate} is wanted."
    )


def _a(what: str) -> str:
    return f"{'An' if what[0] in 'aeiou' else 'A'} {what}"


def _one_line(text: str) -> str:
    return " ".join(text.replace("\x00", " ").split())
