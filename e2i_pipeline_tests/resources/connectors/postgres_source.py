"""A source over an empty database of a real PostgreSQL server, for the tests beside. Tests only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline_tests import servers

postgres = servers.postgres

Make = Callable[..., SourceResource]


@pytest.fixture
def url(postgres: servers.Postgres) -> str:
    """An empty database."""
    return postgres.database()


@pytest.fixture
def make(tmp_path: Path, url: str) -> Make:
    """Makes a source over the database; keyword arguments replace its settings."""

    def source(**given: Any) -> SourceResource:
        settings = {
            "kind": "postgres",
            "state_dir": str(tmp_path / "state"),
            "brands": ["Kisqali"],
            "cohort": {"unit": "patient", "outcome_window_days": 180},
            "known_at": {"kind": "observed", "days": 0, "baseline_lag_days": 0},
            "absent": {"tables": [], "columns": {}},
            "options": {},
            "url": url,
            "engine": EngineResource(temp_dir=str(tmp_path / "spill")),
        }
        return SourceResource(**{**settings, **given})

    return source


def sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Runs statements in a session of its own, and commits; gives the rows of the last."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def rows(reference: TableRef, columns: str, order: str = "ALL") -> list[tuple[Any, ...]]:
    """Rows of a staged table."""
    return duckdb.execute(f"SELECT {columns} FROM '{reference.location}' ORDER BY {order}").fetchall()
