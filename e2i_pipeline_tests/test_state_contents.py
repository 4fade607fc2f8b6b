"""The search that other tests rely on: it finds a text in each form in which the tools keep one."""

import gzip
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import duckdb
import pytest

from e2i_pipeline_tests import state_contents

SOUGHT = "zqnamezq00001n"


def plain(path: Path) -> None:
    path.write_text(f"Error: cannot read {SOUGHT}.")


def zipped_in_gzip(path: Path) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.json", f'["{SOUGHT}"]')
    path.write_bytes(gzip.compress(packed.getvalue()))


def rows_of_parquet(path: Path) -> None:
    duckdb.sql(f"SELECT '{SOUGHT}' AS name FROM range(10)").write_parquet(str(path.with_suffix(".parquet")))


def compressed_in_sqlite(path: Path) -> None:
    _database(path, zlib.compress(f'{{"snapshot": "{SOUGHT}"}}'.encode()))


def scattered_in_sqlite(path: Path) -> None:
    """So long a text goes on from page to page, and the name may be torn apart between two of them."""
    _database(path, "".join(f"{'.' * gap}{SOUGHT[:9]}{SOUGHT[9:]}" if gap == 4073 else "." for gap in range(9000)))


def _database(path: Path, value: object) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE events (id INTEGER, body)")
        database.execute("INSERT INTO events VALUES (1, ?)", (value,))
    database.close()


@pytest.mark.parametrize(
    "write",
    [plain, zipped_in_gzip, rows_of_parquet, compressed_in_sqlite, scattered_in_sqlite],
    ids=lambda f: f.__name__,
)
def test_a_text_is_found_in_whatever_form(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "file")

    assert len(list(state_contents.holding(tmp_path, "zqnamezq[0-9]{5}n"))) == 1
    assert list(state_contents.holding(tmp_path, "zqnamezq[0-9]{6}n")) == []


def test_a_database_that_another_process_has_open_is_left_as_it_is(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "file.db") as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE events (body)")
        database.execute("INSERT INTO events VALUES (?)", (SOUGHT,))
        database.commit()

        found = list(state_contents.holding(tmp_path, SOUGHT))

        assert {"file.db", "file.db-wal"} <= set(found)
        assert (tmp_path / "file.db-wal").stat().st_size > 0
    database.close()
