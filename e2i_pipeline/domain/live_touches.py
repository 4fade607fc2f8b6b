"""What a touch that has just happened makes of a patient's row of `engagement_features`.

The same row as the next batch computes from the same touches (`feature_tables.py`); a test holds the two equal. How the
row is read and written stands in `resources/feast_push.py`.

A row does not keep ids of touches. So that a touch that is pushed twice counts once, a time that the row's window holds
already is taken for the touch that is known. A touch older than the window cannot be told from one that is counted
already: it is left to the batch.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from e2i_pipeline.domain.feature_tables import CHANNELS, OTHER_CHANNEL
from e2i_pipeline.domain.prediction_time import MICROSECONDS_PER_DAY

COUNTED = (*CHANNELS, OTHER_CHANNEL)
"""The channels in the order of `channel_counts`; the first of the most frequent ones is preferred."""


class Touch(NamedTuple):
    """A touch that reached a patient.

    Attributes:
        event_at: When it happened (UTC).
        visible: From when on it is known to have reached the patient (UTC), not before `event_at`.
        channel: Its channel; None for one that is not known.
    """

    event_at: datetime
    visible: datetime
    channel: str | None


class TouchRow(NamedTuple):
    """A patient's row.

    Attributes:
        event_at: The latest event behind it (UTC).
        visible: When all of it was known (UTC).
        times: Times of the touches in the window before `visible`, in microseconds since 1970 (UTC), in order.
        counts: Touches so far per channel, in the order of `COUNTED`.
    """

    event_at: datetime
    visible: datetime
    times: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def preferred(self) -> str | None:
        """The most frequent channel; None where there was no touch by a known one."""
        most = max(self.counts)
        return COUNTED[self.counts.index(most)] if most else None


class Added(NamedTuple):
    """What became of some touches: the row after them, and how many were known already or are left to the batch."""

    row: TouchRow | None
    repeated: int
    left: int


def add_touches(row: TouchRow | None, touches: Sequence[Touch], window_days: int) -> Added:
    """Adds touches to a patient's row.

    Args:
        row: The row so far; None for a patient without one.
        touches: Any order; the same time and channel twice is one touch.
        window_days: Look-back window of `recent_touches`, in days.

    Returns:
        The row after them: the same one where nothing was added, None where there is none still.
    """
    window = window_days * MICROSECONDS_PER_DAY
    distinct = dict.fromkeys(sorted(touches, key=lambda t: (t.visible, t.event_at, t.channel or "")))
    seen: set[tuple[datetime, str | None]] = set()
    before = row
    known = frozenset(before.times) if before else frozenset[int]()
    repeated, left = len(touches) - len(distinct), 0
    for touch in distinct:
        at = _microseconds(touch.event_at)
        if at in known or (touch.event_at, touch.channel) in seen:
            repeated += 1
        elif before is not None and at <= _microseconds(before.visible) - window:
            left += 1
        else:
            seen.add((touch.event_at, touch.channel))
            row = _with(row, touch, at, window)
    return Added(row, repeated, left)


def _with(row: TouchRow | None, touch: Touch, at: int, window: int) -> TouchRow:
    visible = max(touch.visible, row.visible) if row else touch.visible
    times = sorted((*(row.times if row else ()), at))
    counts = list(row.counts if row else [0] * len(COUNTED))
    if touch.channel is not None:
        counts[COUNTED.index(touch.channel if touch.channel in CHANNELS else OTHER_CHANNEL)] += 1
    return TouchRow(
        event_at=max(touch.event_at, row.event_at) if row else touch.event_at,
        visible=visible,
        times=tuple(time for time in times if time > _microseconds(visible) - window),
        counts=tuple(counts),
    )


def _microseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
