"""What a connector delivers of a drop, as Python rows, and the defects that it counts."""

from typing import Any

import duckdb

from e2i_pipeline.resources.connectors.cohort_connector import CohortConnector

Row = dict[str, Any]
Counts = dict[tuple[str, str], tuple[int, int]]


def read(connection: duckdb.DuckDBPyConnection, source: CohortConnector, table: str, order: str = "ALL") -> list[Row]:
    """The rows of a canonical table."""
    query = source.query(connection, table)
    assert query is not None
    result = connection.execute(f"SELECT * FROM ({query}) ORDER BY {order}")
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def journeys_of(connection: duckdb.DuckDBPyConnection, source: CohortConnector) -> list[Row]:
    """The journeys, by patient and time."""
    return read(connection, source, "patient_journeys", "patient_id, journey_start_date")


def events_of(connection: duckdb.DuckDBPyConnection, source: CohortConnector) -> list[Row]:
    """The events, by patient and time."""
    return read(connection, source, "treatment_events", "patient_id, sequence_number")


def defects_of(source: CohortConnector, canonical: str) -> Counts:
    """Rows and rows looked at, by table and defect; each kind is told once, with what was done about it."""
    with duckdb.connect() as connection:
        source.query(connection, canonical)
        found = source.defects(connection, canonical)
    for defect in found:
        assert defect.treatment.startswith(("kept", "corrected", "left out"))
        assert 0 < defect.rows <= defect.of_rows
    assert len({(d.table, d.defect) for d in found}) == len(found)
    return {(d.table, d.defect): (d.rows, d.of_rows) for d in found}


def usable_events(source: CohortConnector) -> int:
    """How many events are delivered."""
    with duckdb.connect() as connection:
        return len(events_of(connection, source))
