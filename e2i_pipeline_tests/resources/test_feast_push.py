"""Live touches: visible online at once, and the same rows as the next batch of the same touches gives."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from e2i_pipeline.domain.features import ENGAGEMENT_FEATURES, ENTITIES
from e2i_pipeline.domain.live_touches import COUNTED, Touch, TouchRow, add_touches
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.feast_push import COLUMNS, Pushed
from e2i_pipeline_tests.feature_oracle import BEGIN, CHANNELS, History, Oracle, random_history
from e2i_pipeline_tests.feature_store import UNTIL, WINDOW_DAYS, Store, entity_rows, feast_in, write_views
from e2i_pipeline_tests.staged import stage

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
STORED = [f"{ENGAGEMENT_FEATURES}:{n}" for n in ("recent_touch_times", "channel_preferences", "channel_counts")]
LIVE, WINDOW = 9, 30


def _seen(touch: dict[str, Any]) -> datetime:
    return max(touch["event_timestamp"], touch["known_at"])


@pytest.fixture(scope="module")
def histories() -> tuple[History, list[dict[str, Any]], History]:
    """A history, its last touches in the order in which they became known, and the history without them.

    They come after everything else, some of them late; two of one moment would be one, so each has its own.
    """
    drawn = random_history(seed=5)
    spread: list[dict[str, Any]] = []
    for number, touch in enumerate(drawn.engagement_events):
        is_live = number >= len(drawn.engagement_events) - LIVE
        at = BEGIN + timedelta(days=46, hours=5 * number) if is_live else touch["event_timestamp"]
        known = at + timedelta(hours=number % 4) if is_live else touch["known_at"]
        spread.append(
            {**touch, "event_timestamp": at + timedelta(seconds=number), "known_at": known + timedelta(minutes=number)}
        )
    ordered = sorted(spread, key=_seen)
    return drawn._replace(engagement_events=ordered), ordered[-LIVE:], drawn._replace(engagement_events=ordered[:-LIVE])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, histories: tuple[History, list[dict[str, Any]], History]) -> Store:
    """A store that knows all but the last touches, filled online."""
    history, tmp_path = histories[2], tmp_path_factory.mktemp("state")
    staged = stage(tmp_path, history._asdict())
    feast = feast_in(tmp_path)
    tables = write_views(feast, staged, WINDOW)
    registry = feast.apply(tables)
    feast.materialize(registry, UNTIL)
    return Store(feast, history, staged, tables, registry)


def _online(store: Store) -> dict[str, list[Any]]:
    patients = [{"patient_id": p} for p in ("p0", "p1", "p2", "p3", "p4", "p5", "stranger")]
    return store.feast.get_online_features(patients, STORED)


def test_pushed_rows_are_those_of_the_next_batch(
    store: Store, tmp_path: Path, histories: tuple[History, list[dict[str, Any]], History]
) -> None:
    whole, live, _ = histories
    before = _online(store)
    for touch in live:  # one by one, as they become known
        pushed = store.feast.push_touches(store.registry, pd.DataFrame([touch]), store.staged)
        assert (pushed.repeated, pushed.left) == (0, 0)
    after = _online(store)
    assert after != before
    oracle = Oracle(whole, WINDOW)
    rows = entity_rows(60).assign(event_timestamp=UNTIL)
    found = store.feast.online_frame(store.registry, rows)
    for row in found.itertuples():
        expected = oracle.engagement(row.patient_id, UNTIL)
        assert row.channel_preferences == expected["channel_preferences"], row.patient_id
        assert expected["recent_touches"] is None or row.recent_touches == expected["recent_touches"], row.patient_id

    batch = feast_in(tmp_path / "batch")
    (tmp_path / "batch").mkdir()
    staged = stage(tmp_path / "batch", whole._asdict())
    registry = batch.apply(write_views(batch, staged, WINDOW))
    batch.materialize(registry, UNTIL)
    assert _online(Store(batch, whole, staged, {}, registry)) == after

    again = store.feast.push_touches(store.registry, pd.DataFrame(live), store.staged)
    assert (again.patients, again.added) == (0, 0), "the same touches again change nothing"
    assert _online(store) == after


def test_a_patient_whom_nobody_knew_gets_a_row(store: Store) -> None:
    touch = {"patient_id": "new", "hcp_id": "h0", "channel": "fax", "event_timestamp": NOW, "known_at": NOW}
    pushed = store.feast.push_touches(store.registry, pd.DataFrame([touch]), store.staged)
    assert pushed == Pushed(patients=1, added=1, repeated=0, left=0, unreached=0, waiting=pushed.waiting)
    assert pushed.waiting, "configured covariates of touches are the batch's to compute"
    assert not {"recent_touch_times", "channel_preferences", "channel_counts"} & set(pushed.waiting)
    found = store.feast.get_online_features([{"patient_id": "new"}], STORED)
    assert found["channel_preferences"] == ["other"]
    assert found["channel_counts"] == [[0, 0, 0, 0, 0, 0, 1]]
    assert found["recent_touch_times"] == [[int(NOW.timestamp() * 1e6)]]


def test_what_is_incomplete_or_reaches_nobody_is_told(store: Store) -> None:
    nobody = {"patient_id": None, "hcp_id": "nobody", "channel": "email", "event_timestamp": NOW, "known_at": NOW}
    assert store.feast.push_touches(store.registry, pd.DataFrame([nobody]), store.staged) == Pushed(0, 0, 0, 0, 1)
    assert store.feast.push_touches(store.registry, pd.DataFrame([nobody]), {}).unreached == 1
    for wrong, reason in (
        (pd.DataFrame([{**nobody, "known_at": None}]), "1 of them without a time"),
        (pd.DataFrame([nobody]).drop(columns="channel"), "Missing columns: channel"),
        (pd.DataFrame(columns=list(COLUMNS)), "0 touches were to be pushed"),
    ):
        with pytest.raises(ToolRejected, match=reason):
            store.feast.push_touches(store.registry, wrong, store.staged)


def test_the_anchor_counts_touches_as_the_definitions_do(store: Store) -> None:
    """`channel_counts` of the batch itself, against the plain oracle."""
    assert COUNTED == CHANNELS
    rows = entity_rows(80)
    references = [f"{ENGAGEMENT_FEATURES}:channel_counts", f"{ENGAGEMENT_FEATURES}:channel_preferences"]
    found = store.feast.get_historical_features(rows, references)
    for row in found.itertuples():
        expected = Oracle(store.history, WINDOW_DAYS).channel_counts(row.patient_id, row.event_timestamp)
        counts = None if row.channel_counts is None else list(row.channel_counts)
        assert counts == expected
    assert ENGAGEMENT_FEATURES in ENTITIES


def _at(days: float, channel: str | None = "email", late: float = 0) -> Touch:
    moment = NOW + days * DAY
    return Touch(moment, moment + late * DAY, channel)


def _row(*touches: Touch) -> TouchRow:
    row = add_touches(None, touches, WINDOW_DAYS).row
    assert row is not None
    return row


def test_the_window_ends_where_the_row_became_known() -> None:
    row = _row(_at(0), _at(1))
    moved = add_touches(row, [_at(7)], WINDOW_DAYS).row
    assert moved is not None
    assert len(moved.times) == 2, "a touch exactly as old as the window is out"
    assert moved.counts[COUNTED.index("email")] == 3


def test_a_late_touch_counts_from_when_it_was_known() -> None:
    row = _row(_at(0), _at(5))
    added = add_touches(row, [_at(1, "phone", late=5)], WINDOW_DAYS).row
    assert added is not None
    assert (added.event_at, added.visible) == (NOW + 5 * DAY, NOW + 6 * DAY)
    assert len(added.times) == 3


@pytest.mark.parametrize(
    ("touches", "expected"),
    [
        ([_at(0)], (0, 1, 0)),  # the time that the row knows
        ([_at(2), _at(2)], (1, 1, 0)),  # twice in one push
        ([_at(2), _at(2, "phone")], (2, 0, 0)),  # one moment, two channels
        ([_at(-8)], (0, 0, 1)),  # older than the window: the batch can tell, a row cannot
        ([], (0, 0, 0)),
    ],
)
def test_what_is_known_already_counts_once(touches: list[Touch], expected: tuple[int, int, int]) -> None:
    row = _row(_at(0))
    added = add_touches(row, touches, WINDOW_DAYS)
    assert added.row is not None
    assert (sum(added.row.counts) - sum(row.counts), added.repeated, added.left) == expected


def test_of_equally_frequent_channels_the_first_is_preferred() -> None:
    assert _row(_at(0, "webinar"), _at(1, "crm")).preferred == "crm"
    assert _row(_at(0, None)).preferred is None
    assert add_touches(None, [], WINDOW_DAYS).row is None
