"""The statements that give rows of a feature table without entity rows: the latest per key, or all of a span.

Pure SQL over one relation; who asks, and on which connection, is not known here.
"""

from collections.abc import Sequence
from datetime import datetime

from e2i_pipeline.resources.sql import quoted


def latest_rows(
    relation: str,
    keys: Sequence[str],
    features: Sequence[str],
    event: str,
    created: str | None,
    span: tuple[datetime, datetime],
) -> str:
    """The row per key that counts at the end of a span, if it became visible within it.

    Args:
        relation: The rows, as a table in SQL.
        keys: Join keys; none for a table without entities.
        features: Columns wanted.
        event: Column of the event time.
        created: Column of the known-at time, or None.
        span: From when until when, both included, aware.

    Returns:
        A SELECT statement: keys, features, event time, known-at time where there is one. Of rows with the same times
        the last in the file counts.
    """
    first, last = map(_moment, span)
    times = [event, *([created] if created else [])]
    latest = ", ".join(f"{quoted(time)} DESC" for time in times)
    last_in_file = "file_index DESC, file_row_number DESC"
    visible = f"greatest({', '.join(f'CAST({quoted(time)} AS TIMESTAMPTZ)' for time in times)})"
    given = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in [*keys, *times])
    partition = f"PARTITION BY {', '.join(map(quoted, keys))}" if keys else ""
    return f"""
        SELECT {", ".join(map(quoted, [*keys, *features, *times]))}
        FROM (
            SELECT *, row_number() OVER ({partition} ORDER BY {latest}, {last_in_file}) AS e2i_rank
            FROM {relation} WHERE {given} AND {visible} <= {last})
        WHERE e2i_rank = 1 AND {visible} >= {first}"""


def all_rows(relation: str, columns: Sequence[str], event: str, span: tuple[datetime | None, datetime | None]) -> str:
    """The rows whose event lies in a span, both ends included; None for no end.

    Args:
        relation: The rows, as a table in SQL.
        columns: Columns wanted.
        event: Column of the event time.
        span: From when until when, aware.
    """
    happened = f"CAST({quoted(event)} AS TIMESTAMPTZ)"
    ends = [f"{happened} {sign} {_moment(end)}" for sign, end in zip((">=", "<="), span, strict=True) if end]
    where = f" WHERE {' AND '.join(ends)}" if ends else ""
    return f"SELECT {', '.join(map(quoted, dict.fromkeys(columns)))} FROM {relation}{where}"


def _moment(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.isoformat()}'"
