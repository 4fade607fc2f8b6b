"""Files behind a URL and files of other formats: the same rows as from a folder, never a mixture of versions."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pytest

from e2i_pipeline.errors import ConfigurationError, SourceError, ToolUnavailable
from e2i_pipeline.resources.connectors.files import FilesConnector
from e2i_pipeline.resources.connectors.input_folder import input_folder
from e2i_pipeline_tests.servers import S3

TOUCHES = "engagement_event_id,hcp_id,response\n" + "".join(f"t{i},H{i % 7},None\n" for i in range(5000))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    server = S3()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.bucket()}/drops/today"


def put(url: str, content: bytes) -> None:
    fs, path = fsspec.core.url_to_fs(url, skip_instance_cache=True)
    fs.pipe(path, content)


def read(location: str | Path, table: str = "engagement_events", **options: Any) -> list[dict[str, Any]]:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        query = FilesConnector(location, **options).query(connection, table)
        assert query is not None
        return connection.execute(query).to_arrow_table().to_pylist()


def parquet_bytes(tmp_path: Path) -> bytes:
    path = tmp_path / "made.parquet"
    duckdb.sql("SELECT 't' || i AS engagement_event_id, 'None' AS response FROM range(3000) t(i)").write_parquet(
        str(path)
    )
    return path.read_bytes()


def test_s3_holds_a_drop_like_a_folder_does(bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/engagement_events.csv", TOUCHES.encode())
    put(f"{bucket}/_SUCCESS", b"")
    put(f"{bucket}/hcp_profiles/1.parquet", parquet_bytes(tmp_path))
    put(f"{bucket}/hcp_profiles/2.parquet", parquet_bytes(tmp_path))
    rows = read(bucket)
    assert len(rows) == 5000
    assert rows[4999] == {"engagement_event_id": "t4999", "hcp_id": "H1", "response": "None"}
    assert len(read(f"{bucket}/", "hcp_profiles")) == 6000
    with pytest.raises(
        SourceError, match=r"no input for treatment_events.*found engagement_events\.csv, hcp_profiles/"
    ):
        read(bucket, "treatment_events")


def test_a_changed_object_changes_the_fingerprint(bucket: str) -> None:
    put(f"{bucket}/engagement_events.csv", TOUCHES.encode())
    source = FilesConnector(bucket)
    before = source.fingerprint("engagement_events")
    assert source.fingerprint("engagement_events") == before
    put(f"{bucket}/engagement_events.csv", TOUCHES.replace("None", "none").encode())  # as long as before
    assert source.fingerprint("engagement_events") != before


@pytest.mark.parametrize("place", ["missing", "bucket"])
def test_a_place_in_s3_that_is_not_there_is_said_so(bucket: str, place: str) -> None:
    url = f"{bucket}/none" if place == "missing" else "s3://no-such-bucket-anywhere/drop"
    with pytest.raises(SourceError, match=rf"The source's folder {url} does not exist"):
        FilesConnector(url).fingerprint("engagement_events")


def test_a_store_that_does_not_answer_may_be_tried_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ToolUnavailable, match="did not answer as it should"):
        FilesConnector(bucket).fingerprint("engagement_events")


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a drop"
    folder.mkdir()
    (folder / "engagement_events.csv").write_text(TOUCHES)
    assert len(read(folder.as_uri())) == 5000
    assert str(input_folder(folder.as_uri())) == str(folder)


def test_memory_is_a_place_too() -> None:
    put("memory://drop-a/engagement_events.csv.gz", gzip.compress(TOUCHES.encode()))
    assert len(read("memory://drop-a")) == 5000


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://key:SECRET@bucket/drop", "credentials in it"),
        ("nosuch://bucket/drop", "no file system here reads nosuch://"),
        ("gs://bucket/drop", "Install gcsfs"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        FilesConnector(url)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("form", ["array", "lines", "gz"])
def test_json_is_text_whatever_its_form(tmp_path: Path, form: str) -> None:
    rows = [
        {"engagement_event_id": "007", "hcp_id": 12, "response": "None", "codes": ["a", "b"]},
        {"engagement_event_id": "008", "hcp_id": 1.50, "response": None, "seen": True},
        {"engagement_event_id": "009", "hcp_id": "2024-01-05", "response": "", "late": "NA"},
    ]
    lines = "\n".join(map(json.dumps, rows))
    name, content = {
        "array": ("engagement_events.json", json.dumps(rows).encode()),
        "lines": ("engagement_events.ndjson", lines.encode()),
        "gz": ("engagement_events.jsonl.gz", gzip.compress(lines.encode())),
    }[form]
    (tmp_path / name).write_bytes(content)
    first, second, third = read(tmp_path)
    assert first == {
        "engagement_event_id": "007",
        "hcp_id": "12",
        "response": "None",
        "codes": '["a","b"]',
        "seen": None,
        "late": None,
    }
    assert (second["hcp_id"], second["response"], second["seen"]) == ("1.5", None, "true")
    assert (third["hcp_id"], third["response"], third["late"]) == ("2024-01-05", None, "NA")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("engagement_events.json", b"", "is empty"),
        ("engagement_events.json", b'[{"hcp_id": "SECRET"}, {"hcp_id": ', "no complete JSON"),
        ("engagement_events.json", b'["SECRET", "b"]', "no JSON objects"),
        ("engagement_events.csv.gz", b"hcp_id\nSECRET\n", "its header cannot be read"),
        ("engagement_events.csv.gz", gzip.compress(TOUCHES.encode())[:2000], "could not read it|header cannot be read"),
    ],
)
def test_a_broken_file_is_named_without_its_values(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    source = FilesConnector(tmp_path)
    with duckdb.connect() as connection:
        try:
            query = source.query(connection, "engagement_events")
            connection.execute(f"CREATE TABLE landed AS {query}")
            said = "read"
        except SourceError as err:
            said = str(err)
        except duckdb.Error as err:
            said = source.explain("engagement_events", err)
    assert any(part in said for part in message.split("|"))
    assert name in said
    assert "SECRET" not in said
