"""The user's own files: what is read, what is refused, and that no message repeats a row."""

import os
from pathlib import Path

import duckdb
import pytest

from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.connectors.files import FilesConnector

HEADER = "engagement_event_id,hcp_id,event_timestamp,channel,response\n"
TOUCHES = HEADER + "t1,H1,2024-01-05 10:00:00,email,None\nt2,H2,2024-01-06 11:00:00,phone,\nt3,NA,,crm,NA\n"


def drop(folder: Path, **files: str | bytes) -> Path:
    """Writes `name__csv="..."` as `name.csv`, and a double underscore before it as a sub-folder."""
    for name, content in files.items():
        path = folder / Path(*name.split("__")[:-1]).with_suffix(f".{name.split('__')[-1]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def read(connector: FilesConnector, table: str = "engagement_events") -> list[dict[str, object]]:
    with duckdb.connect() as connection:
        query = connector.query(connection, table)
        assert query is not None
        return connection.execute(query).to_arrow_table().to_pylist()


def failure(connector: FilesConnector, table: str = "engagement_events") -> str:
    """What the connector says about a file that the engine could not read."""
    with duckdb.connect() as connection:
        query = connector.query(connection, table)
        with pytest.raises(duckdb.Error) as caught:
            connection.execute(f"CREATE TABLE landed AS {query}")
    assert "SECRET" in str(caught.value) or "unicode" in str(caught.value)
    return connector.explain(table, caught.value)


def test_none_and_na_are_data_unless_declared(tmp_path: Path) -> None:
    drop(tmp_path, engagement_events__csv=TOUCHES)
    rows = read(FilesConnector(tmp_path))
    assert [row["response"] for row in rows] == ["None", None, "NA"]
    assert rows[2]["hcp_id"] == "NA"
    assert rows[2]["event_timestamp"] is None
    assert [r["response"] for r in read(FilesConnector(tmp_path, null_markers=["NA"]))] == ["None", "", None]
    assert [r["response"] for r in read(FilesConnector(tmp_path, null_markers=[]))] == ["None", "", "NA"]


def test_parquet_has_the_same_null_markers(tmp_path: Path) -> None:
    duckdb.sql("SELECT 't1' AS engagement_event_id, unnest(['', '?', 'NA']) AS response, 1 AS decile").write_parquet(
        str(tmp_path / "engagement_events.parquet")
    )
    rows = read(FilesConnector(tmp_path, null_markers=["", "?"]))
    assert [row["response"] for row in rows] == [None, None, "NA"]
    assert rows[0]["decile"] == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_follows_the_header(tmp_path: Path, delimiter: str) -> None:
    drop(tmp_path, engagement_events__csv="\ufeff" + TOUCHES.replace(",", delimiter))
    assert read(FilesConnector(tmp_path))[0]["hcp_id"] == "H1"


def test_quotes_line_breaks_and_dressing_are_csv(tmp_path: Path) -> None:
    text = ',engagement_event_id, hcp_id ,response\r\n0,t1,"H ""1""","two\nlines; é"\r\n'
    drop(tmp_path, engagement_events__csv=text)
    assert read(FilesConnector(tmp_path)) == [
        {"unnamed_1": "0", "engagement_event_id": "t1", "hcp_id": 'H "1"', "response": "two\nlines; é"}
    ]


def test_a_folder_is_one_table_whatever_the_order_of_columns(tmp_path: Path) -> None:
    folder = tmp_path / "a [strange] folder"
    drop(
        folder,
        engagement_events__a__csv="hcp_id,channel\nH1,email\n",
        engagement_events__b__csv="channel,hcp_id,brand\nphone,H2,Kisqali\n",
        engagement_events___SUCCESS__csv="",
    )
    assert read(FilesConnector(folder)) == [
        {"hcp_id": "H1", "channel": "email", "brand": None},
        {"hcp_id": "H2", "channel": "phone", "brand": "Kisqali"},
    ]


def test_a_folder_of_parquet_takes_no_column_from_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "brand=Kisqali"
    (folder / "engagement_events").mkdir(parents=True)
    for part in ("1", "2"):
        duckdb.sql(f"SELECT '{part}' AS hcp_id").write_parquet(str(folder / "engagement_events" / f"{part}.parquet"))
    assert read(FilesConnector(folder, "parquet")) == [{"hcp_id": "1"}, {"hcp_id": "2"}]


def test_a_table_with_no_rows_is_a_table(tmp_path: Path) -> None:
    drop(tmp_path, engagement_events__csv=HEADER)
    assert read(FilesConnector(tmp_path)) == []


def test_an_optional_table_may_lack(tmp_path: Path) -> None:
    connector = FilesConnector(tmp_path)
    with duckdb.connect() as connection:
        assert connector.query(connection, "engagement_events") is None
    assert connector.fingerprint("engagement_events")


def test_a_missing_table_names_what_was_sought_and_what_is_there(tmp_path: Path) -> None:
    drop(tmp_path, **{f"file{i:02}__csv": "" for i in range(22)}, events__part__csv="")
    with pytest.raises(SourceError) as caught:
        FilesConnector(tmp_path).fingerprint("hcp_profiles")
    assert str(caught.value) == (
        f"{tmp_path} holds no input for hcp_profiles: looked for hcp_profiles.csv, hcp_profiles/*.csv, "
        "hcp_profiles.parquet, hcp_profiles/*.parquet, hcp_profiles.json, hcp_profiles/*.json; found events/, "
        + ", ".join(f"file{i:02}.csv" for i in range(19))
        + " and 3 more. Add the file, name another in source.tables, or declare the table in source.absent.tables."
    )


def test_a_folder_that_is_none_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none does not exist"):
        FilesConnector(tmp_path / "none").fingerprint("engagement_events")
    drop(tmp_path, some__csv="")
    with pytest.raises(SourceError, match="is a file, not a folder"):
        FilesConnector(tmp_path / "some.csv").fingerprint("engagement_events")


def test_one_table_in_two_forms_is_refused_until_one_is_chosen(tmp_path: Path) -> None:
    drop(tmp_path, engagement_events__csv=TOUCHES, engagement_events__parquet=b"")
    with pytest.raises(SourceError, match=r"more than once: engagement_events\.csv and engagement_events\.parquet"):
        FilesConnector(tmp_path).fingerprint("engagement_events")
    assert len(read(FilesConnector(tmp_path, "csv"))) == 3
    drop(tmp_path, engagement_events__part__csv=TOUCHES)
    with pytest.raises(SourceError, match=r"engagement_events/\*\.csv"):
        FilesConnector(tmp_path, "csv").fingerprint("engagement_events")


@pytest.mark.parametrize("size", [0, 100])
def test_truncated_parquet_is_named_with_its_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "engagement_events.parquet"
    duckdb.sql("SELECT 1 AS hcp_id").write_parquet(str(path))
    path.write_bytes(path.read_bytes()[:size])
    with (
        duckdb.connect() as connection,
        pytest.raises(SourceError, match=rf"engagement_events\.parquet \({size} bytes\) is no complete Parquet"),
    ):
        FilesConnector(tmp_path).query(connection, "engagement_events")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: not even a header"),
        ("hcp_id,channel,HCP_ID\n", r"names a column more than once \(columns 1, 3\)"),
        ('"hcp_id,channel\n', "its header cannot be read"),
        ("hcp_id,caf\u00e9\n".encode("latin-1"), "not UTF-8, the encoding expected"),
        ("hcp_id,channel\n".encode("utf-16"), "it begins like UTF-16. Convert the file: iconv -f UTF-16 -t UTF-8"),
        (b"PK\x03\x04\xff\xfe\xfd", "it is a ZIP archive or an Excel workbook under that name. Export it as CSV"),
        (b"\x1f\x8b\x08\xff", "it is a gzip archive under that name"),
        (b"PAR1\x15\x04\xff", "it is a Parquet file under that name"),
    ],
)
def test_a_header_that_cannot_be_read_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    drop(tmp_path, engagement_events__csv=content)
    with duckdb.connect() as connection, pytest.raises(SourceError, match=r"engagement_events\.csv.*" + message):
        FilesConnector(tmp_path).query(connection, "engagement_events")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"SECRET,SECRET,SECRET\n", ", line 3: 3 values where the header names 2 columns. Mend the line; or copy"),
        (b'"SECRET,H1\n', ", line 3: a quote is opened and never closed. Mend the line; or copy"),
        (b"SECRET\xe9SECRET,H1\n", ", line 3: not UTF-8, the encoding expected."),
    ],
)
def test_an_unreadable_line_is_named_and_not_repeated(tmp_path: Path, row: bytes, message: str) -> None:
    padding = b"x" * 20_000  # so that the header's own block decodes
    content = b"hcp_id,channel\n" + padding + b",email\n" + row
    drop(tmp_path, engagement_events__good__csv="hcp_id,channel\nH1,email\n", engagement_events__bad__csv=content)
    said = failure(FilesConnector(tmp_path))
    assert said.startswith(f"{tmp_path / 'engagement_events' / 'bad.csv'}{message}")
    assert "SECRET" not in said


def test_a_file_that_ends_within_a_line_is_counted(tmp_path: Path) -> None:
    drop(tmp_path, engagement_events__good__csv=TOUCHES, engagement_events__bad__csv=TOUCHES.rstrip("\n"))
    with duckdb.connect() as connection:
        [defect] = FilesConnector(tmp_path).defects(connection, "engagement_events")

    assert (defect.rows, defect.of_rows, defect.treatment) == (1, 2, "kept")
    assert "see that it is complete" in defect.defect


def test_the_fingerprint_follows_the_files_and_the_settings(tmp_path: Path) -> None:
    drop(tmp_path, engagement_events__csv=TOUCHES)
    first = FilesConnector(tmp_path).fingerprint("engagement_events")
    assert FilesConnector(tmp_path).fingerprint("engagement_events") == first
    assert FilesConnector(tmp_path, null_markers=["?"]).fingerprint("engagement_events") != first
    path = tmp_path / "engagement_events.csv"
    os.utime(path, ns=(1, 1))
    assert FilesConnector(tmp_path).fingerprint("engagement_events") != first


def test_a_null_marker_with_a_delimiter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"source\.files\.null_markers"):
        FilesConnector(tmp_path, null_markers=["n;a"])
