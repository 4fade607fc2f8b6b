"""`examples/postgres.yaml` as a user runs it: the whole graph, on a real server, as a user who may only read."""

from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pyarrow as pa
import pytest

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.processes import PROJECT, Product

postgres = servers.postgres

_TYPES = {
    "VARCHAR[]": "text[]",
    "DATE": "date",
    "TIMESTAMP": "timestamptz",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "DOUBLE": "double precision",
    "BOOLEAN": "boolean",
}
PASSWORD = "a-readers-password"  # noqa: S105 - of a server that is gone with the test


@pytest.mark.parametrize(
    "is_whole",
    [pytest.param(False, id="up to the training rows"), pytest.param(True, id="whole", marks=pytest.mark.slow)],
)
def test_the_example_runs_as_a_user_who_may_only_read(
    postgres: servers.Postgres, tmp_path: Path, is_whole: bool
) -> None:
    owner = postgres.database()
    world = generate(("Kisqali",), 7, 1500, 180, "confounded")
    for name, table in world.tables.items():
        _fill(owner, name, table)
    server, _, database = owner.rpartition("@")[2].partition("/")
    _run(
        owner,
        f"CREATE ROLE example_reader LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA public TO example_reader; "
        f"GRANT SELECT ON {', '.join(TABLES)} TO example_reader",
    )
    product = Product(
        tmp_path / "state",
        E2I_CONFIG=str(PROJECT / "examples" / "postgres.yaml"),
        E2I_SOURCE_URL=f"postgresql://example_reader:{PASSWORD}@{server}/{database}",
        E2I__BRANDS="[Kisqali]",
        E2I__OPTUNA__SEARCH__N_TRIALS="3",
    )
    done = product.e2i("run", "--brand", "Kisqali") if is_whole else product.materialize("*training_dataset", "Kisqali")
    assert done.status == 0, done.text[-5000:]
    assert PASSWORD not in done.text
    holding = [p for p in product.state.rglob("*") if p.is_file() and PASSWORD.encode() in p.read_bytes()]
    assert holding == []
    for name, table in world.tables.items():
        (staged,) = (product.state / "staging" / name).glob("*/data.parquet")
        counted = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(staged)]).fetchall()
        assert counted == [(table.num_rows,)], name
        assert len(list((product.state / "history" / name).glob("*/000001/rows.parquet"))) == 1
    last = "batch_predictions" if is_whole else "training_dataset"
    assert (product.state / "references" / "current" / last / "Kisqali.json").is_file()


def _fill(url: str, name: str, table: pa.Table) -> None:
    """Makes a table of the database of an Arrow table."""
    with duckdb.connect() as engine:
        engine.register("world", table)
        described = [(column, dtype) for column, dtype, *_ in engine.execute("DESCRIBE world").fetchall()]
        values = ", ".join(_text(column, dtype) for column, dtype in described)
        rows = engine.execute(f"SELECT {values} FROM world").fetchall()
    typed = ", ".join(f'"{column}" {_TYPES.get(dtype, "text")}' for column, dtype in described)
    _run(url, f"CREATE TABLE {name} ({typed})")
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        marks = f"({', '.join(['%s'] * len(described))})"
        lines = [cursor.mogrify(marks, row).decode() for row in rows]
        cursor.execute(f"INSERT INTO {name} VALUES {', '.join(lines)}")
    connection.close()


def _text(column: str, dtype: str) -> str:
    return f'"{column}"' if dtype.endswith("[]") else f'"{column}"::VARCHAR'


def _run(url: str, statement: str) -> None:
    connection: Any = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()
