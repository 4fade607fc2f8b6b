"""How the pipeline fills an online store: forwards, backwards, after a kill, after a loss, beside live pushes."""

import json
import multiprocessing
import os
import signal
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from redis import Redis

from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureTableRef
from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.resources import feast_online
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast_repository import feast_errors
from e2i_pipeline.resources.feast_stores import writing
from e2i_pipeline.resources.feast_stores.reading_time import EVER, reading_at
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.resources.feast_stores.online import (
    FEATURES,
    answers,
    open_store,
    postgres_settings,
    redis_settings,
    sqlite_settings,
    view_of,
    write_file,
)
from e2i_pipeline_tests.resources.feast_stores.online_oracle import BEGIN, Row, expected, random_rows, row_at

postgres, redis = servers.postgres, servers.redis

STEP = timedelta(hours=12)
ENTITIES = 60
GONE = [(None, "PRESENT")] * len(FEATURES)
"""An entity that was served once and has no row any more: its values are null."""


class Filled(NamedTuple):
    """A store with the view `seen`, filled as the pipeline does."""

    store: FeatureStore
    folder: Path

    @property
    def record(self) -> Path:
        """The pipeline's record of fills."""
        return self.folder / "materialized.json"

    def fill(self, rows: list[Row], key: str, until: datetime) -> dict[str, Any]:
        """Fills the store from a table of its own per key; rows, rate and windows."""
        file = self.folder / f"{key}.parquet"
        if not file.is_file():
            write_file(file, rows, None)
        engine = EngineResource(temp_dir=str(self.folder))
        return feast_online.fill(self.store, engine, _registry(key, file), until, self.record).model_dump(mode="json")

    def check(self, rows: list[Row], until: datetime, but: dict[str, list[Any]] | None = None) -> None:
        """Every entity is as the oracle says; those in `but` are as said there."""
        who = [f"1-w{number}" for number in range(ENTITIES)]
        with reading_at(EVER):
            found = dict(zip(who, answers(self.store, who), strict=True))
        for one in who:
            wanted = (but or {}).get(one) or expected(row_at(rows, one, until), None)
            is_gone = wanted[0][1] == "NOT_FOUND" and found[one] == GONE
            assert is_gone or found[one] == wanted, f"{one} at {until}"


def _registry(key: str, file: Path) -> FeatureRegistryRef:
    table = FeatureTableRef(
        key=key, name="seen", location=str(file), version=key, rows=1, columns=(), known_until=None, entity="who"
    )
    return FeatureRegistryRef(
        key=key, project="p", service="s", features=(), tables={"seen": table}, left_out={}, definitions=""
    )


@pytest.fixture(params=("sqlite", "redis", "postgres"))
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Filled:
    """An empty store."""
    if request.param == "sqlite":
        settings, _ = sqlite_settings(tmp_path)
    else:
        server = request.getfixturevalue(request.param)
        settings, _ = redis_settings(server) if request.param == "redis" else postgres_settings(server)
    project = f"p{uuid.uuid4().hex[:10]}"
    (tmp_path / "settings.json").write_text(json.dumps([project, settings]))
    store = open_store(tmp_path, project, settings)
    store.apply([*view_of(tmp_path / "all.parquet", None)])
    return Filled(store, tmp_path)


def test_it_follows_until_forwards_and_backwards_and_the_tables(filled: Filled) -> None:
    rows = random_rows(1, ENTITIES, STEP)
    written = []
    for until in (BEGIN + STEP * n for n in (8, 9, 9, 25, 3, 25)):
        written.append(filled.fill(rows, "a", until))
        filled.check(rows, until)
    assert written[1]["rows"]["seen"] < written[0]["rows"]["seen"], "only what became known since"
    assert written[2] == written[1], "it was filled so already, and says with what"
    window = written[1]["windows"][0]
    assert (window["view"], window["rows"]) == ("seen", written[1]["rows"]["seen"])
    assert [datetime.fromisoformat(window[end]) for end in ("start", "end")] == [BEGIN + STEP * 8, BEGIN + STEP * 9]
    assert len(json.loads(filled.record.read_text())["windows"]) == 5
    # another table: some entities have left, some lost their latest row, some came back
    fewer = [r for i, r in enumerate(rows) if i % 3 and r["who"] not in {f"1-w{n}" for n in range(0, ENTITIES, 4)}]
    until = BEGIN + STEP * 25
    filled.fill(fewer, "b", until)
    filled.check(fewer, until)
    filled.fill(rows, "c", until)
    filled.check(rows, until)


def test_a_live_push_that_is_ahead_stays_until_until_goes_back(filled: Filled) -> None:
    rows = [r for r in random_rows(1, ENTITIES, STEP) if r["who"] != "1-w3"]
    until = BEGIN + STEP * 30
    known = [{**r, "created_timestamp": r["event_timestamp"]} for r in rows if r["event_timestamp"]]
    times = {"event_timestamp": BEGIN, "created_timestamp": BEGIN}
    mine = {**dict.fromkeys(FEATURES), "who": "1-w3", **times, "count": 1}
    filled.fill([*known, mine], "a", until)
    pushed = {"count": 99, "share": 0.5, "channel": "call", "is_new": True, "since": BEGIN, "touches": [1]}
    ahead = {"who": "1-w3", "event_timestamp": until + STEP, "created_timestamp": until + STEP, **pushed}
    filled.store.write_to_online_store("seen", pd.DataFrame([ahead]))
    other = {**mine, "count": 2, "event_timestamp": BEGIN + STEP, "created_timestamp": BEGIN + STEP}
    filled.fill([*known, mine, other], "b", until + STEP)
    live = {"1-w3": [(value, "PRESENT") for value in pushed.values()]}
    filled.check([*known, mine, other], until + STEP, but=live)
    filled.fill([*known, mine, other], "b", until)
    filled.check([*known, mine, other], until)


@pytest.mark.parametrize(
    ("filled", "goes_on"),
    [
        ("sqlite", "the same"),
        ("sqlite", "back"),
        ("redis", "the same"),
        ("postgres", "the same"),
        pytest.param("sqlite", "further", marks=pytest.mark.slow),
        *(pytest.param(s, g, marks=pytest.mark.slow) for s in ("redis", "postgres") for g in ("further", "back")),
    ],
    indirect=["filled"],
)
def test_after_a_kill_the_next_run_ends_in_the_same_state(filled: Filled, goes_on: str) -> None:
    rows = random_rows(1, ENTITIES, STEP)
    first, second = BEGIN + STEP * 6, BEGIN + STEP * 25
    filled.fill(rows, "a", first)
    _killed(filled.folder, second, after=2)
    books = json.loads(filled.record.read_text())
    assert books["under_way"]["until"] == second.isoformat()
    before = books["under_way"]["views"]["seen"]["rows"]
    until = {"the same": second, "further": second + STEP, "back": first}[goes_on]
    done = filled.fill(rows, "a", until)
    filled.check(rows, until)
    assert "under_way" not in json.loads(filled.record.read_text())
    if goes_on == "the same":
        wanted = len({r["who"] for r in rows if _is_new(rows, r["who"], first, second)})
        assert 0 < before < done["rows"]["seen"] == wanted, "what was written before the kill was not written again"


def _is_new(rows: list[Row], who: str | None, first: datetime, second: datetime) -> bool:
    row = row_at(rows, who, second) if who else None
    return bool(row) and max(row["event_timestamp"], row["created_timestamp"]) >= first


def _killed(folder: Path, until: datetime, after: int) -> None:
    """Fills in a process that is killed when it has written some batches, the last one not yet in the record."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([__name__])  # importing Feast is most of what this takes
    process = forks.Process(target=_fill_and_die, args=(folder, until, after))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _fill_and_die(folder: Path, until: datetime, after: int) -> None:
    project, settings = json.loads((folder / "settings.json").read_text())
    store = open_store(folder, project, settings)
    online = store.provider.online_store
    sends = online.bulk_send
    written = []

    def bulk_send(*arguments: Any) -> None:
        sends(*arguments)
        written.append(1)
        if len(written) > after:
            os.kill(os.getpid(), signal.SIGKILL)

    online.bulk_send = bulk_send
    writing.WRITE_ROWS = 7
    Filled(store, folder).fill([], "a", until)


def test_a_server_that_was_emptied_is_noticed(tmp_path: Path, redis: servers.Redis) -> None:
    settings, _ = redis_settings(redis)
    project = f"p{uuid.uuid4().hex[:10]}"
    store = open_store(tmp_path, project, settings)
    store.apply([*view_of(tmp_path / "all.parquet", None)])
    filled = Filled(store, tmp_path)
    rows = random_rows(1, ENTITIES, STEP)
    filled.fill(rows, "a", BEGIN + STEP * 25)
    engine = EngineResource(temp_dir=str(tmp_path))
    last = feast_online.last_fill(filled.record)
    assert feast_online.holds(store, engine, last)
    with Redis(port=redis.port) as client:
        client.delete(*client.keys(b"*" + project.encode()))
    assert not feast_online.holds(store, engine, last)


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path, kind: str) -> None:
    port = servers.free_port()
    where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "database": "d", "user": "u", "password": "p"}
    online = {"redis": {"connection_string": f"127.0.0.1:{port}"}, "postgres": {**where, "sslmode": "disable"}}[kind]
    store = open_store(tmp_path, "p", {"type": kind, **online}, engine="local")
    _, view = view_of(tmp_path / "all.parquet", None)
    key = EntityKey(join_keys=["who"], entity_values=[Value(string_val="w")])
    with pytest.raises(ToolUnavailable, match="Feast could not read it"), feast_errors("read it", "Look."):
        store.provider.online_read(store.config, view, [key], ["count"])


@pytest.mark.parametrize(
    "text", ["", "{}", '{"key": "a"}', '{"under_way": {"key": "a"}}', '{"key": "a", "until": "soon"}']
)
def test_a_record_that_cannot_be_read_says_what_to_do(tmp_path: Path, text: str) -> None:
    record = tmp_path / "materialized.json"
    record.write_text(text)
    with pytest.raises(ToolRejected, match="Delete it together with the online store"):
        feast_online.last_fill(record)
