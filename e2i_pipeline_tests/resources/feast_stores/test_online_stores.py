"""Feast's online stores as this product writes and reads them, on the real servers: every cell and every status."""

import asyncio
import sqlite3
import uuid
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64
from redis import Redis

from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast_stores.compute import batches, is_plain, source_of
from e2i_pipeline.resources.feast_stores.latest import CREATED, EVENT, latest
from e2i_pipeline.resources.feast_stores.reading_time import reading_at
from e2i_pipeline.resources.feast_stores.writing import write
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.resources.feast_stores.online import (
    FEATURES,
    answers,
    open_store,
    postgres_settings,
    redis_settings,
    repository,
    sqlite_settings,
    view_of,
    write_file,
)
from e2i_pipeline_tests.resources.feast_stores.online_oracle import BEGIN, TTL, Row, expected, random_rows, row_at

postgres, redis, s3 = servers.postgres, servers.redis, servers.s3

Pair = tuple[dict[str, Any], dict[str, Any]]

STORES = ("sqlite", "redis", "postgres")
STEP = timedelta(hours=12)
"""All times of the random histories are multiples of it, so that bounds and the TTL's edge are met exactly."""


@pytest.fixture(params=STORES)
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    """Settings of ours and of Feast's own store, over the same data."""
    if request.param == "sqlite":
        return sqlite_settings(tmp_path)
    server = request.getfixturevalue(request.param)
    return redis_settings(server) if request.param == "redis" else postgres_settings(server)


def _project() -> str:
    return f"p{uuid.uuid4().hex[:10]}"


def _values(found: list[list[tuple[Any, str]]]) -> list[list[Any]]:
    return [[value for value, _ in row] for row in found]


@pytest.mark.parametrize(
    ("bound", "zone", "seed"),
    [("<=", "UTC", 1), ("<", None, 2), pytest.param("<=", "America/New_York", 3, marks=pytest.mark.slow)],
)
def test_every_cell_and_status_is_the_oracles(
    tmp_path: Path, store_settings: Pair, bound: str, zone: str | None, seed: int
) -> None:
    ours, plain, file = repository(tmp_path, _project(), store_settings, ttl=TTL, bound=bound)
    rows = random_rows(seed, entities=60, step=STEP)
    write_file(file, rows, zone)
    who = [f"{seed}-w{number}" for number in range(61)]  # nobody is the last one
    begin = BEGIN - timedelta(days=100)
    for until in (BEGIN + STEP * n for n in (3, 9, 10, 30)):
        ours.materialize(begin, until)
        begin = until
        rows_now = [row_at(rows, w, until, bound) for w in who]
        for now in (until, until + STEP * 11, until + TTL + STEP):
            with reading_at(now):
                assert answers(ours, who) == [expected(row, now) for row in rows_now], f"until {until}, read at {now}"
        # Feast's own reader finds the same; it knows no TTL
        assert _values(answers(plain, who)) == _values([expected(row, None) for row in rows_now])


def test_the_edge_of_the_ttl_is_still_present(tmp_path: Path, store_settings: Pair) -> None:
    ours, _, file = repository(tmp_path, _project(), store_settings, ttl=TTL)
    write_file(file, [_row("w", BEGIN)])
    ours.materialize(BEGIN - STEP, BEGIN + STEP)
    for now, status in ((BEGIN + TTL, "PRESENT"), (BEGIN + TTL + timedelta(microseconds=1), "OUTSIDE_MAX_AGE")):
        with reading_at(now):
            assert {s for _, s in answers(ours, ["w"])[0]} == {status}
            (found,) = ours.provider.online_read(ours.config, ours.get_feature_view("seen"), [_key("w")], ["count"])
            assert (found[1] is not None) == (status == "PRESENT"), "a read without a status has no such row"
    assert {s for _, s in answers(ours, ["w"])[0]} == {"OUTSIDE_MAX_AGE"}, "by the clock, unless it is told"


def test_what_is_written_in_bulk_is_what_feast_writes(tmp_path: Path, store_settings: Pair, request: Any) -> None:
    """Row by row and byte by byte, as the server keeps it."""
    project = _project()
    ours, plain, file = repository(tmp_path, project, store_settings, ttl=TTL)
    write_file(file, random_rows(5, 40, STEP))
    until = BEGIN + STEP * 20
    ours.materialize(BEGIN - timedelta(days=100), until)
    in_bulk = _dump(store_settings[1], project)
    _empty(store_settings[1], project)
    view, config = plain.get_feature_view("seen"), plain.config
    engine = EngineResource(temp_dir=str(tmp_path))
    with engine.connect() as connection:
        entity = plain.get_entity("who")
        query = latest(source_of(view, [entity], config, connection), until)
        assert sum(write(plain.provider.online_store, config, view, batches(connection, query, 7))) > 20
    assert len(in_bulk) > 20
    assert in_bulk == _dump(store_settings[1], project)


def test_an_older_row_never_overwrites_a_newer_one(tmp_path: Path, store_settings: Pair) -> None:
    ours, _, file = repository(tmp_path, _project(), store_settings, ttl=None)
    write_file(file, [_row("ahead", BEGIN, count=1), _row("behind", BEGIN, count=1), _row("new", BEGIN, count=1)])
    _push(ours, _row("ahead", BEGIN + STEP, count=2))
    _push(ours, _row("behind", BEGIN - STEP, count=2))
    ours.materialize(BEGIN - STEP, BEGIN + STEP)
    assert [row[0][0] for row in answers(ours, ["ahead", "behind", "new"])] == [2, 1, 1]
    write_file(file, [_row("new", BEGIN, BEGIN + STEP, count=3)])  # restated: the same event, known later
    ours.materialize(BEGIN, BEGIN + STEP)
    assert answers(ours, ["new"])[0][0][0] == 3
    view = ours.get_feature_view("seen")
    older = _batch(tmp_path, [_row("ahead", BEGIN - STEP * 9, count=4)])
    assert list(write(ours.provider.online_store, ours.config, view, [older])) == [1]
    assert answers(ours, ["ahead"])[0][0][0] == 2
    assert list(write(ours.provider.online_store, ours.config, view, [older], overwrite=True)) == [1]
    assert answers(ours, ["ahead"])[0][0][0] == 4


def test_a_batch_that_begins_with_many_new_rows_overwrites_no_newer_one_either(
    tmp_path: Path, store_settings: Pair
) -> None:
    ours, _, file = repository(tmp_path, _project(), store_settings, ttl=None)
    new = [f"n{number:02d}" for number in range(40)]
    _push(ours, _row("z-ahead", BEGIN + STEP, count=2))
    _push(ours, _row("z-behind", BEGIN - STEP, count=2))
    write_file(file, [_row(who, BEGIN, count=1) for who in (*new, "z-ahead", "z-behind")])
    ours.materialize(BEGIN - STEP, BEGIN + STEP)
    assert [row[0][0] for row in answers(ours, [*new, "z-ahead", "z-behind"])] == [*[1] * len(new), 2, 1]


def test_each_version_of_a_view_has_its_own_rows(tmp_path: Path, store_settings: Pair) -> None:
    further = {"registry": {"enable_online_feature_view_versioning": True}}
    store = open_store(tmp_path, _project(), store_settings[0], **further)
    file = tmp_path / "seen.parquet"
    write_file(file, [_row("w", BEGIN, count=1)])
    store.apply([*view_of(file, None)])
    store.materialize(BEGIN - STEP, BEGIN)
    narrower = {name: kind for name, kind in FEATURES.items() if name != "channel"}
    store.apply([*view_of(file, None, features=narrower)])
    assert store.get_feature_view("seen").current_version_number
    assert answers(store, ["w"], ["count"]) == [[(None, "NOT_FOUND")]], "nothing was written to the new version yet"
    write_file(file, [_row("w", BEGIN + STEP, count=2)])
    store.materialize(BEGIN - STEP, BEGIN + STEP)
    assert answers(store, ["w"], ["count"]) == [[(2, "PRESENT")]]


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_an_asynchronous_read_honours_the_ttl_too(tmp_path: Path, server: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(server)
    settings = redis_settings(found) if server == "redis" else postgres_settings(found)
    ours, _, file = repository(tmp_path, _project(), settings, ttl=TTL)
    write_file(file, [_row("old", BEGIN), _row("new", BEGIN + STEP)])
    ours.materialize(BEGIN - STEP, BEGIN + STEP)

    async def read() -> list[int]:
        rows = [{"who": who} for who in ("old", "new", "nobody")]
        answer = await ours.get_online_features_async(["seen:count"], rows)
        await ours.provider.close()
        index = list(answer.proto.metadata.feature_names.val).index("count")
        return list(answer.proto.results[index].statuses)

    with reading_at(BEGIN + TTL + STEP):
        assert asyncio.run(read()) == [FieldStatus.OUTSIDE_MAX_AGE, FieldStatus.PRESENT, FieldStatus.NOT_FOUND]


def test_a_store_without_bulk_writes_is_filled_by_its_own(
    tmp_path: Path, s3: servers.S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB, on the server that the tests have for AWS."""
    settings = {"type": "dynamodb", "region": "us-east-1", "endpoint_url": s3.url}
    ours, _, file = repository(tmp_path, _project(), (settings, settings), ttl=TTL)
    rows = random_rows(7, 30, STEP)
    write_file(file, rows)
    who = [f"7-w{number}" for number in range(31)]
    begin = BEGIN - timedelta(days=100)
    for until in (BEGIN + STEP * 6, BEGIN + STEP * 20):
        ours.materialize(begin, until)
        begin = until
        wanted = [expected(row_at(rows, w, until), None) for w in who]
        assert answers(ours, who) == wanted


def test_a_view_that_is_not_a_file_as_it_is_goes_feasts_own_way(tmp_path: Path) -> None:
    ours, _, file = repository(tmp_path, _project(), sqlite_settings(tmp_path), ttl=None)
    view = ours.get_feature_view("seen")
    assert is_plain(view)
    view.offline = True
    assert not is_plain(view)
    ours.apply([view])
    write_file(file, [_row("w", BEGIN, BEGIN + STEP * 4, count=1)])
    ours.materialize(BEGIN - STEP, BEGIN + STEP)
    assert answers(ours, ["w"])[0][0] == (1, "PRESENT"), "Feast itself looks at the event time only"


def test_a_view_without_entities_has_one_row(tmp_path: Path) -> None:
    settings = sqlite_settings(tmp_path)
    store = open_store(tmp_path, _project(), settings[0])
    file = tmp_path / "seen.parquet"
    source = FileSource(name="all", path=str(file), timestamp_field="event_timestamp")
    store.apply([FeatureView(name="seen", entities=[], schema=[Field(name="count", dtype=Int64)], source=source)])
    write_file(
        file, [_row("a", BEGIN, count=1), _row("b", BEGIN + STEP, count=2), _row("c", BEGIN + STEP * 3, count=3)]
    )
    store.materialize(BEGIN - STEP, BEGIN + STEP)
    assert store.get_online_features(["seen:count"], [{"__dummy_id": ""}]).to_dict()["count"] == [2]


def _row(who: str, event: datetime, created: datetime | None = None, **values: Any) -> Row:
    return {"who": who, "event_timestamp": event, "created_timestamp": created or event, "count": 1, **values}


def _key(who: str) -> EntityKey:
    return EntityKey(join_keys=["who"], entity_values=[Value(string_val=who)])


def _push(store: FeatureStore, row: Row) -> None:
    """Writes one row as Feast's push does."""
    row = {**dict.fromkeys(FEATURES), **row}
    frame = pd.DataFrame([{**row, "touches": [1], "since": BEGIN, "is_new": True, "share": 0.5, "channel": "call"}])
    store.write_to_online_store("seen", frame)


def _batch(folder: Path, rows: list[Row]) -> Any:
    file = folder / "batch.parquet"
    write_file(file, rows, None)
    table = pq.read_table(file)
    names = {"event_timestamp": EVENT, "created_timestamp": CREATED}
    return table.rename_columns([names.get(n, n) for n in table.column_names]).combine_chunks().to_batches()[0]


def _dump(settings: dict[str, Any], project: str) -> list[Any]:
    """All that a store keeps of a project, in order."""
    columns = "entity_key, feature_name, value, value_text, vector_value, event_ts, created_ts"
    if settings["type"] == "redis":
        with _redis_client(settings) as client:
            keys = sorted(client.keys(b"*" + project.encode()))
            return [(key, sorted(client.hgetall(key).items())) for key in keys]
    statement = f'SELECT {columns} FROM "{project}_seen" ORDER BY 1, 2'
    if settings["type"] == "sqlite":
        with closing(sqlite3.connect(settings["path"])) as connection:
            return connection.execute(statement).fetchall()
    with _postgres_connection(settings) as connection:
        return connection.execute(statement).fetchall()


def _empty(settings: dict[str, Any], project: str) -> None:
    if settings["type"] == "redis":
        with _redis_client(settings) as client:
            client.delete(*client.keys(b"*" + project.encode()))
        return
    statement = f'DELETE FROM "{project}_seen"'
    if settings["type"] == "sqlite":
        with closing(sqlite3.connect(settings["path"])) as connection, connection:
            connection.execute(statement)
        return
    with _postgres_connection(settings) as connection:
        connection.execute(statement)


def _redis_client(settings: dict[str, Any]) -> Redis:
    host, port = settings["connection_string"].split(":")
    return Redis(host=host, port=int(port))


def _postgres_connection(settings: dict[str, Any]) -> psycopg.Connection:
    names = {"host": "host", "port": "port", "database": "dbname", "user": "user", "password": "password"}
    return psycopg.connect(**{theirs: settings[ours] for ours, theirs in names.items()})
