"""A clinical standard's folder: every shape of file is read as it stands, and what cannot be is said."""

import gzip
from pathlib import Path

import duckdb
import pytest

from e2i_pipeline.errors import SourceError
from e2i_pipeline.resources.connectors.table_folder import Layout, Standard, TableFolder

STANDARD = Standard(
    name="Test",
    prefix="test_",
    layouts={
        "visits": Layout(required=("id", "start"), optional=("note",), is_required=True, renamed={"start": ("date",)})
    },
    reads="a test",
    is_number=lambda name: name == "id",
)


def rows(connection: duckdb.DuckDBPyConnection, folder: Path) -> list[tuple[str, ...]]:
    TableFolder(STANDARD, str(folder), [""]).open(connection)
    return connection.execute("SELECT id, start, note FROM test_visits ORDER BY ALL").fetchall()


def test_quotes_far_behind_the_beginning_are_read(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lines = [f"{number},2015-01-01,plain" for number in range(30_000)]  # longer than what an engine would sample
    lines.append('99999,2015-01-02,"one, ""two""\nthree"')
    (tmp_path / "visits.csv").write_text("ID,START,NOTE\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert len(rows(connection, tmp_path)) == 30_001
    assert rows(connection, tmp_path)[-1] == ("99999", "2015-01-02", 'one, "two"\nthree')


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_byte_order_mark_and_line_breaks_of_any_kind_are_read(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, delimiter: str
) -> None:
    text = delimiter.join(["Id", "Start", "Note"]) + "\r\n" + delimiter.join(["1.0", " 2015-01-01 ", ""]) + "\r\n"
    (tmp_path / "VISITS.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert rows(connection, tmp_path) == [("1", "2015-01-01", None)]


def test_parts_may_name_and_order_their_columns_each_in_its_way(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    parts = tmp_path / "visits"
    parts.mkdir()
    (parts / "a.csv").write_text("id,start\n1,2015-01-01\n", encoding="utf-8")
    (parts / "b.csv.gz").write_bytes(gzip.compress(b"note,start,id\nx,2015-01-02,2\n"))
    assert rows(connection, tmp_path) == [("1", "2015-01-01", None), ("2", "2015-01-02", "x")]


def test_other_names_of_a_column_are_read(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text("id,DATE\n1,2015-01-01\n", encoding="utf-8")
    assert rows(connection, tmp_path) == [("1", "2015-01-01", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: not even a header"),
        (b"Jane,1980,Jane\n", r"names column\(s\) 1, 3 not at all or twice"),
        (b"id,,start\n", r"names column\(s\) 2 not at all or twice"),
        ("Jäne,id\n".encode("latin-1"), "must be in UTF-8"),
        (b"id,note\n1,Jane\n", r"lacks the column\(s\) start; it has id, note\. The connector reads a test"),
    ],
)
def test_what_cannot_be_read_is_refused_without_its_text(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "visits.csv").write_bytes(content)
    with pytest.raises(SourceError, match=message) as refused:
        rows(connection, tmp_path)
    assert "Jane" not in str(refused.value)
