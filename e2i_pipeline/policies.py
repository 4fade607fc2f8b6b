"""Named policies for retries and for what runs by itself: the only place that builds them.

Retries are for tools that did not answer (`ToolUnavailable`); `failures.py` forbids them for everything else. Which job
runs when stands in `defs/automation.py`.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import dagster as dg

from e2i_pipeline.contracts.base import content_key

ESSENTIAL_TOOL = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For a step that needs a tool to go on: three more tries after about 2, 4 and 8 seconds."""

SCHEDULE_UNTIL_SWITCHED_ON = dg.DefaultScheduleStatus.STOPPED
"""Who opens the UI to look at something does not expect that it trains models at night."""

SENSOR_UNTIL_SWITCHED_ON = dg.DefaultSensorStatus.STOPPED
"""Nor that it trains them now: the first looks would bring every brand up to date."""


class Look(NamedTuple):
    """What a look at the source led to.

    Attributes:
        cursor: What to remember for the next look.
        request: Key of the state that is to be run, unlike any before; empty where nothing is to be run.
        changed: Tables that differ from what was last requested, by name.
        why_not: Why nothing is to be run.
    """

    cursor: str
    request: str
    changed: tuple[str, ...]
    why_not: str


def settled_change(cursor: str | None, fingerprints: Mapping[str, str], now: datetime) -> Look:
    """Decides whether a changed source is to be run: when two looks in a row have seen it the same.

    A file that is still being copied is another one at each look; read too early, it might be taken for whole.

    Args:
        cursor: From the look before; None for the first.
        fingerprints: What identifies the input behind each table, by name.
        now: When; the first look's time is remembered.
    """
    last = json.loads(cursor) if cursor else {"began": now.isoformat(), "seen": {}, "requested": {}, "requests": 0}
    found = dict(sorted(fingerprints.items()))
    changed = tuple(table for table in found if found[table] != last["requested"].get(table))
    if not changed:
        return Look(json.dumps({**last, "seen": found}), "", (), "The source is what it was.")
    if found != last["seen"]:
        why_not = f"Changed: {', '.join(changed)}. It is run when the next look finds it as it is now."
        return Look(json.dumps({**last, "seen": found}), "", changed, why_not)
    # Counted since the first look, as a run key serves once: a source that goes back to what it was is run again, and
    # so is all where a person has reset the cursor.
    number = last["requests"] + 1
    remembered = {**last, "seen": found, "requested": found, "requests": number}
    return Look(json.dumps(remembered), f"{last['began']}-{number}-{content_key(found)}", changed, "")
