"""Joins through Feast against brute force, over random histories: every cell, for all kinds of views at once."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore, FeatureView, Field
from feast.types import Array, Int64, String, UnixTimestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2i_pipeline_tests.resources.feast_stores.join_oracle import Fact, seen
from e2i_pipeline_tests.resources.feast_stores.stores import CREATED, EVENT, open_store, view

BEGIN_NS = 1_700_000_000_000_000_000 - 4_000  # some rows lie before a whole second
TTL = timedelta(microseconds=4)
TTL_NS = 4_000
ONE, TWO = Field(name="a", dtype=String), Field(name="b", dtype=String)
VALUES = {"value": Int64}
WIDE = {"value": Int64, "moment": UnixTimestamp, "listed": Array(Int64)} | {f"w{i}": Int64 for i in range(9)}


class Kind(NamedTuple):
    """A view, and how the oracle is to read it."""

    name: str
    keys: tuple[str, ...]
    fields: dict[str, Any]
    ttl: timedelta | None
    bound: str | None
    has_created: bool


KINDS = (
    Kind("usual", ("a",), VALUES, TTL, None, True),
    Kind("strict", ("a",), VALUES, TTL, "<", True),
    Kind("forever", ("a",), VALUES, timedelta(0), "<=", True),
    Kind("uncreated", ("a",), VALUES, TTL, None, False),
    Kind("strict_uncreated", ("a",), VALUES, None, "<", False),
    Kind("pair", ("a", "b"), VALUES, TTL, None, True),
    Kind("strict_pair", ("a", "b"), WIDE, None, "<", True),
    Kind("wide", ("a",), WIDE, TTL, None, True),
    Kind("nobody", (), VALUES, TTL, None, True),
)

FILE_TYPES = (("us", None), ("us", "UTC"), ("us", "Europe/Paris"), ("ns", None), ("ms", None))
ROWS_AS = ("naive", "utc", "zoned", "texts", "mixed", "microseconds", "sql")


def draw(chance: random.Random) -> dict[str, Any]:
    """Few entities and few moments, so that ties, restatements and the very edges are the rule."""
    people, places, ticks = ["x", "y", "z", "stranger"], ["u", "v"], range(chance.choice([4, 12, 40]))

    def one(values: Any) -> Any:
        return None if chance.random() < 0.07 else chance.choice(values)

    return {
        "facts": [
            (one(people[:3]), one(places), one(ticks), one(ticks), chance.random() < 0.2)
            for _ in range(chance.randrange(80))
        ],
        "asked": [(one(people), one(places), one(ticks)) for _ in range(chance.randrange(1, 80))],
        "file_type": chance.choice(FILE_TYPES),
        "rows_as": chance.choice(ROWS_AS),
        "is_folder": chance.random() < 0.5,
    }


class World(NamedTuple):
    """The store, and the folder that holds the views' files."""

    store: FeatureStore
    folder: Path


def _views(folder: Path) -> list[FeatureView]:
    keys = {"a": ONE, "b": TWO}
    return [
        view(
            kind.name,
            folder / ("created" if kind.has_created else "uncreated"),
            [keys[key] for key in kind.keys],
            kind.fields,
            kind.ttl,
            CREATED if kind.has_created else "",
            tags={"bound": kind.bound} if kind.bound else {},
        )
        for kind in KINDS
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """All kinds of views, applied once; each example writes their files anew."""
    folder = tmp_path_factory.mktemp("joins")
    return World(open_store(folder, _views(folder)), folder)


def _unit(file_type: tuple[str, str | None]) -> int:
    return {"ns": 500, "us": 1_000, "ms": 1_000_000}[file_type[0]]


def _facts(drawn: list[Any], file_type: tuple[str, str | None]) -> list[tuple[Any, ...]]:
    """Keys, event and known-at time in nanoseconds, and a value of its own per row."""
    step = _unit(file_type)
    base = BEGIN_NS // step * step

    def ns(ticks: int | None) -> int | None:
        return None if ticks is None else base + ticks * step

    return [(a, b, ns(e), ns(c), None if is_null else n) for n, (a, b, e, c, is_null) in enumerate(drawn)]


def _write(folder: Path, facts: list[tuple[Any, ...]], file_type: tuple[str, str | None], is_folder: bool) -> None:
    times = pa.timestamp(*file_type)
    per_unit = {"ns": 1, "us": 1_000, "ms": 1_000_000}[file_type[0]]

    def column(index: int) -> pa.Array:
        return pa.array([None if f[index] is None else f[index] // per_unit for f in facts], pa.int64()).cast(times)

    numbers = pa.array([f[4] for f in facts], pa.int64())
    columns = {
        "a": pa.array([f[0] for f in facts], pa.string()),
        "b": pa.array([f[1] for f in facts], pa.string()),
        EVENT: column(2),
        "value": numbers,
        "moment": pa.array(
            [None if n.as_py() is None else n.as_py() * 1_000_000 for n in numbers], pa.timestamp("us", "UTC")
        ),
        "listed": pa.array([None if n.as_py() is None else [n.as_py(), 0] for n in numbers], pa.list_(pa.int64())),
        **{f"w{i}": numbers for i in range(9)},
    }
    half = len(facts) // 2 if is_folder else 0
    for name, table in {"created": pa.table({**columns, CREATED: column(3)}), "uncreated": pa.table(columns)}.items():
        (folder / name).mkdir(exist_ok=True)
        pq.write_table(table[half:], folder / name / "part-2.parquet")
        first = folder / name / "part-1.parquet"
        pq.write_table(table[:half], first) if is_folder else first.unlink(missing_ok=True)


def _moments(ticks: list[int | None], rows_as: str, file_type: tuple[str, str | None]) -> list[int | None]:
    """Times asked for, in nanoseconds, as fine as the form of the rows can say them."""
    step = _unit(file_type) if rows_as in ("naive", "utc", "zoned") else max(1_000, _unit(file_type))
    base = BEGIN_NS // _unit(file_type) * _unit(file_type)
    if file_type[0] == "us" and rows_as in ("naive", "utc", "zoned"):
        step = 500  # rows finer than the file
    return [
        None if t is None else (base + t * step) // (1 if step == 500 else 1_000) * (1 if step == 500 else 1_000)
        for t in ticks
    ]


def _rows(keys: list[tuple[Any, Any]], moments: list[int | None], rows_as: str, folder: Path) -> pd.DataFrame | str:
    frame = pd.DataFrame({"a": [a for a, _ in keys], "b": [b for _, b in keys], "label": range(len(keys))}).astype(
        {"a": object, "b": object}
    )
    utc = pd.Series(pd.array(moments, dtype="Int64")).astype("datetime64[ns]")
    if rows_as == "naive":
        frame[EVENT] = utc
    elif rows_as in ("utc", "zoned"):
        frame[EVENT] = utc.dt.tz_localize("UTC").dt.tz_convert("UTC" if rows_as == "utc" else "America/New_York")
    elif rows_as == "microseconds":
        frame[EVENT] = utc.astype("datetime64[us]")
    else:
        zones = [ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York"), UTC]
        aware = [
            None if m is None else datetime.fromtimestamp(m // 10**9, UTC).replace(microsecond=m % 10**9 // 1000)
            for m in moments
        ]
        local = [None if m is None else m.astimezone(zones[i % 3]) for i, m in enumerate(aware)]
        given = (
            [None if m is None else m.isoformat(timespec="microseconds") for m in local]
            if rows_as == "texts"
            else local
        )
        frame[EVENT] = pd.Series(given, dtype=object)
        if rows_as == "sql":
            frame[EVENT] = utc.astype("datetime64[us]").dt.tz_localize("UTC")
            frame.to_parquet(folder / "rows.parquet", index=False)
            return f"SELECT a, b, label, {EVENT} FROM read_parquet('{folder}/rows.parquet') ORDER BY label;"
    return frame


def _is_wrong(name: str, got: Any, expected: Any) -> bool:
    if name == "moment" and expected is not None:
        expected = datetime.fromtimestamp(expected, UTC)
    if name == "listed" and expected is not None:
        expected = [expected, 0]
    return got != expected


def check(world: World, drawn: dict[str, Any]) -> None:
    """Asserts that every cell of the join is what brute force says."""
    facts = _facts(drawn["facts"], drawn["file_type"])
    _write(world.folder, facts, drawn["file_type"], drawn["is_folder"])
    keys = [(a, b) for a, b, _ in drawn["asked"]]
    moments = _moments([t for _, _, t in drawn["asked"]], drawn["rows_as"], drawn["file_type"])
    rows = _rows(keys, moments, drawn["rows_as"], world.folder)
    references = [f"{kind.name}:{field}" for kind in KINDS for field in kind.fields]
    found = world.store.get_historical_features(rows, references, full_feature_names=True).to_arrow().to_pylist()
    assert [row["label"] for row in found] == list(range(len(keys)))
    assert [(row["a"], row["b"]) for row in found] == keys
    wrong = []
    for kind in KINDS:
        index = [("a", "b").index(key) for key in kind.keys]
        table = [Fact(tuple(f[i] for i in index), f[2], f[3], f[4]) for f in facts]
        for row, key, at in zip(found, keys, moments, strict=True):
            ttl = TTL_NS if kind.ttl == TTL else None
            best = seen(table, tuple(key[i] for i in index), at, ttl, kind.bound == "<", kind.has_created)
            for field in kind.fields:
                expected = best and best.value
                if _is_wrong(field, row[f"{kind.name}__{field}"], expected):
                    wrong.append((kind.name, field, key, at, row[f"{kind.name}__{field}"], expected))
    assert not wrong, f"{len(wrong)} wrong cells, such as {wrong[0]}"


CHECKS = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@pytest.mark.parametrize("seed", range(12))
def test_every_cell_of_a_join_is_what_brute_force_says(world: World, seed: int) -> None:
    check(world, draw(random.Random(seed)))  # noqa: S311 - test data


@pytest.mark.slow
@settings(max_examples=600, deadline=None, suppress_health_check=CHECKS)
@given(chance=st.randoms(use_true_random=False))
def test_every_cell_of_many_joins_is_what_brute_force_says(world: World, chance: random.Random) -> None:
    check(world, draw(chance))
