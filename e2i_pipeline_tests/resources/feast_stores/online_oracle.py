"""What an online store must answer, in plain Python, and random histories to ask about. Tests only."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from e2i_pipeline_tests.resources.feast_stores.online import FEATURES

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
TTL = timedelta(days=6)

Row = dict[str, Any]


def random_rows(seed: int, entities: int, step: timedelta = timedelta(hours=12)) -> list[Row]:
    """Histories on a coarse grid of times: ties, restatements, late rows, future ones, nulls everywhere."""
    chance = random.Random(seed)  # noqa: S311 - test data
    rows: list[Row] = []
    for number in range(entities):
        for _ in range(chance.randrange(7)):
            event = BEGIN + step * chance.randrange(24)
            created = event + step * chance.choice((-3, 0, 0, 1, 8))
            rows.append(_row(chance, f"{seed}-w{number}", event, created))
    by_moment = {
        (r["who"], r["event_timestamp"], r["created_timestamp"]): r for r in rows
    }  # what is one row is one row
    kept = list(by_moment.values())
    lost = [{**r, chance.choice(("who", "event_timestamp", "created_timestamp")): None} for r in kept[::9]]
    chance.shuffle(kept)
    return [*kept, *lost]


def _row(chance: random.Random, who: str, event: datetime, created: datetime) -> Row:
    def maybe(value: Any) -> Any:
        return None if chance.random() < 0.2 else value

    return {
        "who": who,
        "event_timestamp": event,
        "created_timestamp": created,
        "count": maybe(chance.choice((0, 1, -1, 300, -(2**62)))),
        "share": maybe(chance.choice((0.0, -0.5, 1e300, chance.random()))),
        "channel": maybe(chance.choice(("", "call", "e-mail, täglich", "x" * 200))),
        "is_new": maybe(chance.random() < 0.5),
        "since": maybe(BEGIN - timedelta(days=chance.randrange(30_000))),
        "touches": maybe([chance.choice((0, -7, 2**40)) for _ in range(chance.randrange(4))]),
    }


def row_at(rows: Sequence[Row], who: str, until: datetime, bound: str = "<=") -> Row | None:
    """The last row of an entity that was known at a moment."""
    seen = []
    for row in rows:
        event, created = row["event_timestamp"], row["created_timestamp"]
        if row["who"] == who and event is not None and created is not None:
            visible = max(event, created)
            if visible < until or (bound == "<=" and visible == until):
                seen.append((event, created, row))
    return max(seen, key=lambda one: one[:2])[2] if seen else None


def expected(row: Row | None, now: datetime | None, ttl: timedelta | None = TTL) -> list[tuple[Any, str]]:
    """Value and status of each feature, read at `now`; without it, nothing expires."""
    if row is None:
        return [(None, "NOT_FOUND")] * len(FEATURES)
    if now is not None and ttl and row["event_timestamp"] < now - ttl:
        return [(None, "OUTSIDE_MAX_AGE")] * len(FEATURES)
    return [(row[name], "PRESENT") for name in FEATURES]
