"""What a point-in-time join must give, row by row in plain Python, without any engine."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Fact(NamedTuple):
    """A row of a feature table: times in nanoseconds since 1970, and any value."""

    keys: tuple[Any, ...]
    event: int | None
    created: int | None
    value: Any


def seen(
    facts: Sequence[Fact], keys: tuple[Any, ...], at: int | None, ttl: int | None, is_strict: bool, has_created: bool
) -> Fact | None:
    """The row that counts for an entity at a time, None for none.

    Args:
        facts: The rows, in the order of the file: of rows with the same times the last counts.
        keys: Join keys asked for.
        at: The time (ns).
        ttl: Age (ns) beyond which a row has expired; None or 0 for never.
        is_strict: Whether a row must have become visible before `at`, not at it.
        has_created: Whether the table has a known-at time.
    """
    best: tuple[int, int, int] | None = None
    for position, fact in enumerate(facts):
        if at is None or None in keys or fact.keys != keys or fact.event is None:
            continue
        created = fact.created if has_created else fact.event
        if created is None:
            continue
        visible = max(fact.event, created)
        rank = (fact.event, created, position)
        if (visible < at or (visible == at and not is_strict)) and (best is None or rank > best):
            best = rank
    if best is None or at is None or (ttl and best[0] < at - ttl):
        return None
    return facts[best[2]]
