"""Both databases, empty and fresh for each test."""

from pathlib import Path

import pytest

from e2i_pipeline_tests import servers

postgres = servers.postgres


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; the test runs once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/metadata.db"
    return request.getfixturevalue("postgres").database()
