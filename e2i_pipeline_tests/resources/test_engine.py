"""The engine's one way to write: whole or not at all, under the hash of what was written."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from e2i_pipeline.contracts.references import ColumnInfo
from e2i_pipeline.resources.engine import (
    EngineResource,
    WrittenTable,
    file_sha256,
    literal,
    parquet,
    quoted,
    timestamp,
)
from e2i_pipeline_tests.processes import at_once

ROWS = 300_000  # several row groups, so that threads have something to disagree about
QUERY = f"SELECT hash(i) % 1000 AS bucket, i AS id, repeat('x', CAST(i % 7 AS INTEGER)) AS text FROM range({ROWS}) t(i)"


def write(folder: Path, query: str, threads: int = 0, order_by: tuple[str, ...] = ()) -> WrittenTable:
    engine = EngineResource(temp_dir=str(folder / "spill"), threads=threads)
    with engine.connect() as connection:
        return engine.write(connection, query, folder / "table", order_by)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_table_lies_under_the_hash_of_its_bytes(tmp_path: Path) -> None:
    written = write(tmp_path, "SELECT 2 AS b, 'x' AS a UNION ALL SELECT 1, NULL")

    assert written.version == file_sha256(written.location)
    assert Path(written.location) == tmp_path / "table" / written.version[:32] / "data.parquet"
    assert written.rows == 2
    assert written.columns == (ColumnInfo(name="b", dtype="INTEGER"), ColumnInfo(name="a", dtype="VARCHAR"))
    assert duckdb.sql(f"SELECT b FROM {parquet(written.location)}").fetchall() == [(1,), (2,)]


def test_threads_and_the_order_of_the_input_do_not_reach_the_bytes(tmp_path: Path) -> None:
    written = [
        write(tmp_path / "one", QUERY, threads=1, order_by=("bucket",)),
        write(tmp_path / "two", QUERY, threads=2, order_by=("bucket",)),
        write(tmp_path / "reversed", f"SELECT * FROM ({QUERY}) ORDER BY id DESC", threads=2, order_by=("bucket",)),
    ]

    assert len({table.version for table in written}) == 1
    assert len({Path(table.location).read_bytes() for table in written}) == 1


def test_rows_are_sorted_by_what_is_asked_for_first(tmp_path: Path) -> None:
    written = write(tmp_path, "SELECT i AS id, -i AS other FROM range(9) t(i)", order_by=("other",))

    assert [r for (r,) in duckdb.sql(f"SELECT other FROM {parquet(written.location)}").fetchall()] == [*range(-8, 1)]


def test_writing_the_same_again_leaves_one_copy_untouched(tmp_path: Path) -> None:
    first = write(tmp_path, "SELECT 1 AS a")
    before = Path(first.location).stat()

    again = write(tmp_path, "SELECT 1 AS a")

    assert again == first
    assert Path(again.location).stat().st_ino == before.st_ino
    assert files(tmp_path / "table") == [f"{first.version[:32]}/data.parquet"]


def test_other_content_lies_beside_it(tmp_path: Path) -> None:
    first, second = write(tmp_path, "SELECT 1 AS a"), write(tmp_path, "SELECT 2 AS a")

    assert first.version != second.version
    assert files(tmp_path / "table") == sorted(f"{t.version[:32]}/data.parquet" for t in (first, second))


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    written = write(tmp_path, "SELECT 1 AS a, DATE '2026-01-01' AS day WHERE false")

    assert written.rows == 0
    assert [column.dtype for column in written.columns] == ["INTEGER", "DATE"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT no_such_column FROM range(3)",
        "SELECT * FROM 'no/such/file.parquet'",
        # fails only when the rows are computed, with half of the file written
        f"SELECT i, CASE WHEN i < {ROWS - 1} THEN i ELSE CAST('not a number' || i AS BIGINT) END AS n "
        f"FROM range({ROWS}) t(i)",
    ],
)
def test_a_query_that_fails_leaves_nothing_behind(tmp_path: Path, query: str) -> None:
    kept = write(tmp_path, "SELECT 1 AS a")

    with pytest.raises(duckdb.Error):
        write(tmp_path, query)

    assert [path.name for path in (tmp_path / "table").iterdir()] == [kept.version[:32]]


def test_a_failed_write_does_not_harm_the_connection(tmp_path: Path) -> None:
    engine = EngineResource(temp_dir=str(tmp_path / "spill"))
    with engine.connect() as connection:
        with pytest.raises(duckdb.Error):
            engine.write(connection, "SELECT nothing", tmp_path / "table")
        assert engine.write(connection, "SELECT 1 AS a", tmp_path / "table").rows == 1


def test_processes_that_write_at_once_agree_and_leave_one_table(tmp_path: Path) -> None:
    written = at_once(write, [(tmp_path, "SELECT i AS a FROM range(20000) t(i)")] * 4)

    assert len(set(written)) == 1
    assert files(tmp_path / "table") == [f"{written[0].version[:32]}/data.parquet"]
    assert Path(written[0].location).is_file()


def test_a_folder_that_a_killed_writer_left_is_no_table(tmp_path: Path) -> None:
    written = write(tmp_path, "SELECT 1 AS a")
    Path(written.location).unlink()  # the version's folder without its file, as no rename leaves it

    again = write(tmp_path, "SELECT 1 AS a")

    assert again == written
    assert Path(again.location).is_file()


def test_reading_takes_columns_and_rows(tmp_path: Path) -> None:
    engine = EngineResource(temp_dir=str(tmp_path / "spill"))
    written = write(tmp_path, 'SELECT i AS id, \'x\' || i AS "odd ""name" FROM range(5) t(i)')

    frame = engine.read_pandas(written.location, ['odd "name'], "id >= 3")
    table = engine.read_arrow(written.location)

    pd.testing.assert_frame_equal(frame, pd.DataFrame({'odd "name': ["x3", "x4"]}))
    assert (table.num_rows, table.column_names) == (5, ["id", 'odd "name'])
    assert engine.scalar(f"SELECT max(id) FROM {parquet(written.location)}") == 4
    assert engine.scalar("SELECT 1 WHERE false") is None


def test_every_connection_thinks_in_utc_and_asks_no_network(tmp_path: Path) -> None:
    with EngineResource(temp_dir=str(tmp_path)).connect() as connection:
        settings = "SELECT current_setting('TimeZone'), current_setting('autoinstall_known_extensions')"
        assert connection.execute(settings).fetchone() == ("UTC", False)


def test_a_connection_ends_with_its_block(tmp_path: Path) -> None:
    with EngineResource(temp_dir=str(tmp_path)).connect() as connection:
        pass

    with pytest.raises(duckdb.ConnectionException):
        connection.execute("SELECT 1")


def test_a_texts_quotes_stay_inside_it() -> None:
    text, name = "it's", 'a "b"'

    assert duckdb.sql(f"SELECT {literal(text)} AS {quoted(name)}").fetchall() == [(text,)]
    assert quoted(name) == '"a ""b"""'


def test_a_moment_is_written_in_utc() -> None:
    moment = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert timestamp(moment) == "TIMESTAMP '2025-12-31 23:30:00.000000'"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == timestamp(datetime(2026, 1, 1))  # noqa: DTZ001 - naive is UTC


def test_an_interrupted_query_is_an_interrupt_and_no_error(tmp_path: Path) -> None:
    # A test run in the background of a shell hands down that an interrupt is ignored. And now and then DuckDB 2.0 waits
    # for a thread that has not heard of the interrupt: so the query has an end.
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from e2i_pipeline.resources.engine import EngineResource
with EngineResource(temp_dir={str(tmp_path)!r}).connect() as connection:
    connection.execute("SELECT 1").fetchone()
    print("at work", flush=True)
    connection.execute("SELECT sum(hash(a.i + b.i)) FROM range(100000) a(i), range(10000) b(i)").fetchone()
"""
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:  # noqa: S603 - our own code
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=600)

    assert said.strip().splitlines()[-1].startswith("KeyboardInterrupt")


@pytest.mark.parametrize("is_private", [False, True])
def test_what_a_private_connection_spills_cannot_be_read(tmp_path: Path, is_private: bool) -> None:
    engine = EngineResource(temp_dir=str(tmp_path / "spill"), memory_limit="60MB")
    with engine.connect(is_private=is_private) as connection:
        connection.execute("CREATE TEMP TABLE t AS SELECT 'PATIENT-' || i AS id, i FROM range(4000000) AS numbers(i)")
        spilled = [file.read_bytes() for file in (tmp_path / "spill").iterdir()]
        assert connection.execute("SELECT count(DISTINCT id) FROM t WHERE i < 1000").fetchone() == (1000,)
    assert spilled
    assert any(b"PATIENT-" in content for content in spilled) is not is_private
