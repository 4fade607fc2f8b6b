"""A year of a database that corrects, delays and deletes, and what is known of it: plain Python. Tests only.

Each day brings rows, some of them late; corrects some with a new known-at time, and some of the last day without one;
deletes some by a tombstone, and some without a trace. What a reader can know of it is what stood in the table at one of
its pulls: `Truth` keeps exactly that, version by version, from the statements themselves.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg2

TABLE = """CREATE TABLE treatment_events (treatment_event_id text PRIMARY KEY, patient_id text, event_date date,
    event_type text, cost numeric(12, 2), created_at timestamptz, deleted_at timestamptz)"""
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(hours=24)
_PULLED_AT = timedelta(hours=23)


class Version(NamedTuple):
    """What a row said, from when on, and until when: key, cost, known at, ended at."""

    key: str
    cost: float
    known_at: datetime
    ended_at: datetime | None


class Row:
    """A row of the table, as it is now, and what of it has been seen."""

    def __init__(self, key: str, cost: float, known_at: datetime) -> None:
        self.key, self.cost, self.known_at = key, cost, known_at
        self.deleted_at: datetime | None = None
        self.seen: dict[datetime, float] = {}


class Year:
    """The database and its truth.

    Args:
        url: An empty database.
        seed: Of all that happens.
        rows_a_day: New rows of a day.
    """

    def __init__(self, url: str, seed: int, rows_a_day: int = 20) -> None:
        self._connection = psycopg2.connect(url)
        self._random, self._rows_a_day = random.Random(seed), rows_a_day  # noqa: S311 - no secret
        self._rows: dict[str, Row] = {}
        self._gone: list[tuple[Row, datetime | None]] = []
        self._count = 0
        self.day = -1
        self._execute(TABLE)
        self._execute("CREATE INDEX ON treatment_events (created_at)")
        self._execute("CREATE TABLE sim_clock AS SELECT timestamptz '2025-01-01' AS at")
        self._flush()

    @property
    def pulled_at(self) -> datetime:
        """When the day's pull takes place."""
        return FIRST + timedelta(days=self.day) + _PULLED_AT

    def next_day(self) -> None:
        """Lets a day pass."""
        self.day += 1
        morning = FIRST + timedelta(days=self.day)
        for _ in range(self._rows_a_day):
            late = timedelta(hours=self._random.uniform(0, 20)) if self._random.random() < 0.1 else timedelta()
            self._insert(self._moment(morning) - late)
        if self._random.random() < 0.3:  # so late that only a reading of all finds it
            self._insert(self._moment(morning) - timedelta(days=self._random.uniform(5, 60)))
        for row in self._some(3):
            self._correct(row, self._moment(morning))
        for row in self._some(2):
            if row.known_at > morning - timedelta(hours=1):
                self._correct(row, row.known_at)
        for row in self._some(1):
            self._bury(row, self._moment(morning))
        for row in self._some(1):
            self._delete(row)
        self._execute("UPDATE sim_clock SET at = %s", self.pulled_at)
        self._flush()

    def was_pulled(self, is_whole: bool) -> None:
        """A pull has come to its end: what stands in the table is known; where all was read, also what is gone."""
        for row in self._rows.values():
            if is_whole or row.known_at >= self._begin or self._since(row.deleted_at):
                row.seen[row.known_at] = row.cost
        if is_whole:
            self._gone = [(row, ended or self.pulled_at) for row, ended in self._gone]
        self._watermark = max(
            [r.known_at for r in self._rows.values()] + [r.deleted_at for r in self._rows.values() if r.deleted_at]
        )

    def versions(self) -> set[Version]:
        """All that is known."""
        found: set[Version] = set()
        ended = [(row, row.deleted_at) for row in self._rows.values()] + self._gone
        for row, deleted_at in ended:
            times = sorted(row.seen)
            for moment, following in zip(times, [*times[1:], None][: len(times)], strict=True):
                ends = [end for end in (following, max(deleted_at, moment) if deleted_at else None) if end]
                found.add(Version(row.key, row.seen[moment], moment, min(ends, default=None)))
        return found

    def view(self, at: datetime) -> dict[str, float]:
        """What was known at a moment: by replaying what became known and what ended, in order."""
        held: dict[str, float] = {}
        versions = self.versions()
        ends = [(v.ended_at, 0, v) for v in versions if v.ended_at is not None]
        for moment, is_begin, version in sorted([*ends, *((v.known_at, 1, v) for v in versions)]):
            if moment > at:
                break
            if is_begin and version.ended_at != version.known_at:
                held[version.key] = version.cost
            elif not is_begin:
                held.pop(version.key, None)
        return held

    def end(self) -> None:
        """Lets go of the database."""
        self._connection.close()

    _watermark: datetime | None = None

    @property
    def _begin(self) -> datetime:
        return self._watermark - OVERLAP if self._watermark else FIRST - timedelta(days=1000)

    def _since(self, moment: datetime | None) -> bool:
        return moment is not None and moment >= self._begin

    def _moment(self, morning: datetime) -> datetime:
        return morning + timedelta(seconds=self._random.randrange(22 * 3600))

    def _some(self, count: int) -> list[Row]:
        living = sorted((row for row in self._rows.values() if not row.deleted_at), key=lambda row: row.key)
        return self._random.sample(living, min(count, len(living)))

    def _insert(self, known_at: datetime) -> None:
        self._count += 1
        row = Row(f"E{self._count}", float(self._random.randrange(1000)), known_at)
        self._rows[row.key] = row
        self._execute(
            "INSERT INTO treatment_events VALUES (%s, %s, %s, 'lab_test', %s, %s)",
            row.key, f"P{self._count % 50}", known_at.date(), row.cost, known_at,
        )  # fmt: skip

    def _correct(self, row: Row, known_at: datetime) -> None:
        row.cost, row.known_at = row.cost + 1, max(known_at, row.known_at)
        self._execute(
            "UPDATE treatment_events SET cost = %s, created_at = %s WHERE treatment_event_id = %s",
            row.cost, row.known_at, row.key,
        )  # fmt: skip

    def _bury(self, row: Row, at: datetime) -> None:
        row.deleted_at = max(at, row.known_at)
        self._execute(
            "UPDATE treatment_events SET deleted_at = %s WHERE treatment_event_id = %s", row.deleted_at, row.key
        )

    def _delete(self, row: Row) -> None:
        self._gone.append((self._rows.pop(row.key), None))
        self._execute("DELETE FROM treatment_events WHERE treatment_event_id = %s", row.key)

    def _execute(self, statement: str, *values: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)

    def _flush(self) -> None:
        """Commits, and has the server count what was done now, and not within a second."""
        self._execute("SELECT pg_stat_force_next_flush()")
        self._connection.commit()
