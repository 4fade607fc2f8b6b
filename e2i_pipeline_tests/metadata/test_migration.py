"""The schema comes up, goes down and comes up again, on both databases and with several processes at once."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.metadata.database import Database
from e2i_pipeline.metadata.ledger import GENESIS, chain_findings, entry_hash
from e2i_pipeline.metadata.migration import HEAD, SCRIPTS, downgrade, migrate, revision
from e2i_pipeline.metadata.tables import METADATA
from e2i_pipeline_tests import servers

TABLES = {
    "ml_experiments",
    "ml_data_quality_reports",
    "ml_feature_store",
    "ml_training_runs",
    "ml_test_readings",
    "ml_model_registry",
    "ml_shap_analyses",
    "ml_deployments",
    "ml_observability_spans",
    "ml_gate_verdicts",
    "ml_ledger",
}

_MIGRATE_ON_SIGNAL = """
import sys
from e2i_pipeline.metadata.migration import migrate, revision
print("ready", flush=True)
sys.stdin.readline()
print(*(revision(migrate(url)) for url in sys.argv[1:]), flush=True)
"""


def test_schema_comes_up_goes_down_and_comes_up_again(url: str) -> None:
    database = migrate(url)
    assert set(sa.inspect(database.engine).get_table_names()) == TABLES | {"alembic_version"}
    downgrade(database)
    assert revision(database) is None
    assert set(sa.inspect(database.engine).get_table_names()) == {"alembic_version"}
    assert revision(migrate(url)) == HEAD
    assert set(sa.inspect(database.engine).get_table_names()) == TABLES | {"alembic_version"}


def test_each_revision_comes_up_goes_down_and_comes_up_again(url: str) -> None:
    """One by one, as a person who goes back by a single revision does."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    database = migrate(url)
    schema = _schema(database)
    for script in scripts:
        downgrade(database, to=str(script.down_revision or "base"))
        assert revision(database) == script.down_revision
    assert revision(migrate(url)) == HEAD
    assert _schema(database) == schema


def _schema(database: Database) -> dict[str, list[str]]:
    """Names of the columns, keys and indexes of each table."""
    found = sa.inspect(database.engine)
    parts = (found.get_columns, found.get_indexes, found.get_unique_constraints, found.get_check_constraints)
    return {
        table: sorted(str(each["name"]) for part in parts for each in part(table)) for table in found.get_table_names()
    }


def test_migrated_schema_is_the_one_of_the_models(url: str) -> None:
    with migrate(url).read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_models_are_the_tables_of_the_dictionary() -> None:
    assert set(METADATA.tables) == TABLES


def test_no_column_can_hold_a_pickle() -> None:
    types = {type(column.type) for table in METADATA.tables.values() for column in table.c}
    assert not any(issubclass(t, sa.LargeBinary) for t in types), "a pickle is stored as bytes"


def test_head_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_three_processes_migrate_at_once(tmp_path: Path, postgres: servers.Postgres) -> None:
    urls = [f"sqlite:///{tmp_path}/new/metadata.db", postgres.database()]
    command = [sys.executable, "-c", _MIGRATE_ON_SIGNAL, *urls]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]  # noqa: S603
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out for out, _ in answers] == [f"{HEAD} {HEAD}\n"] * 3, answers


def test_the_chain_holds_through_a_change_of_its_table_and_back(url: str) -> None:
    """An entry of the first version, one of today, and both after a way down and up again."""
    downgrade(database := migrate(url), to="0001")
    _append(database, 1, {"key": "k1"}, about=False)
    migrate(url)
    _append(database, 2, {"key": "k2"}, about=True)
    for _ in range(2):
        rows = database.rows(sa.select(METADATA.tables["ml_ledger"]).order_by("sequence"))
        assert [row["about"] for row in rows] == ["k1", "k2"]
        assert chain_findings(rows) == []
        downgrade(database, to="0001")
        assert "about" not in {column["name"] for column in sa.inspect(database.engine).get_columns("ml_ledger")}
        migrate(url)
    for change in ("UPDATE ml_ledger SET reason = 'x'", "DELETE FROM ml_ledger"):
        with pytest.raises(ToolRejected, match="append-only"), database.write() as connection:
            connection.execute(sa.text(change))


def _append(database: Database, sequence: int, payload: dict[str, str], about: bool) -> None:
    ledger = METADATA.tables["ml_ledger"]
    columns = [column for column in ledger.c if about or column.name != "about"]
    row = {
        **dict.fromkeys(("kind", "subject", "actor", "reason"), "said"),
        "sequence": sequence,
        "payload": payload,
        "at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "dagster_run_id": "",
    }
    with database.write() as connection:
        last = connection.execute(sa.text("SELECT hash FROM ml_ledger ORDER BY sequence DESC")).scalar()
        row |= {"prev_hash": last or GENESIS}
        row |= {"hash": entry_hash(row)} | ({"about": payload["key"]} if about else {})
        table = sa.table("ml_ledger", *(sa.column(c.name, c.type) for c in columns))
        connection.execute(sa.insert(table).values(**row))


def test_current_database_needs_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/metadata.db"
    migrate(url)
    code = (
        "import sys; from e2i_pipeline.metadata.migration import migrate; migrate(sys.argv[1]);"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "False\n"


def test_revision_of_a_newer_program_is_refused(url: str) -> None:
    database = migrate(url)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ToolRejected, match="newer version"):
        migrate(url)


def test_failed_migration_leaves_nothing_behind(url: str) -> None:
    database = migrate(url)
    with pytest.raises(ToolRejected):
        downgrade(database, to="no-such-revision")
    downgrade(database)
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE ml_shap_analyses (id INTEGER)"))
    with pytest.raises((ToolRejected, ToolUnavailable), match="ml_shap_analyses"):
        migrate(url)
    assert revision(database) is None
    assert set(sa.inspect(database.engine).get_table_names()) == {"alembic_version", "ml_shap_analyses"}
