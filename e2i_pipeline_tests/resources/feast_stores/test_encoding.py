"""The bytes made by hand are those that Feast and protobuf make."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Bytes, Float64, Int32, Int64, String, UnixTimestamp
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from e2i_pipeline.resources.feast_stores.encoding import encode, rows_of, timestamp_proto
from e2i_pipeline.resources.feast_stores.latest import EVENT

_INT32 = st.integers(-(2**31), 2**31 - 1)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_EXACT = st.integers(-(2**53), 2**53)  # Feast goes through floats where a column of whole numbers has nulls
_FLOAT32 = st.floats(width=32)
_TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001 - UTC without a zone, as in Feast
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)

SCALARS: dict[ValueType, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    ValueType.INT64: (pa.int64(), _EXACT),
    ValueType.INT32: (pa.int32(), _INT32),
    ValueType.DOUBLE: (pa.float64(), st.floats()),
    ValueType.FLOAT: (pa.float32(), _FLOAT32),
    ValueType.STRING: (pa.string(), _TEXT),
    ValueType.BYTES: (pa.binary(), st.binary(min_size=1, max_size=200)),  # Feast takes a column of empty ones for nulls
    ValueType.BOOL: (pa.bool_(), st.booleans()),
    ValueType.UNIX_TIMESTAMP: (pa.timestamp("us"), _TIMES),
}
LISTS: dict[ValueType, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    ValueType.INT64_LIST: (pa.int64(), _INT64),
    ValueType.INT32_LIST: (pa.int32(), _INT32),
    ValueType.DOUBLE_LIST: (pa.float64(), st.floats()),
    ValueType.FLOAT_LIST: (pa.float32(), _FLOAT32),
    ValueType.STRING_LIST: (pa.string(), _TEXT),
    ValueType.BOOL_LIST: (pa.bool_(), st.booleans()),
}


def _check(column: pa.Array, kind: ValueType) -> None:
    protos = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), kind)  # type: ignore[arg-type]
    found = encode(column, kind)
    assert found.each(lambda value, _: value) == [p.SerializeToString() for p in protos]
    assert found.each(lambda _, text: text) == [extract_text_and_num(p, False)[0] for p in protos]


@settings(max_examples=40, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", SCALARS)
def test_a_value_is_feasts_own_bytes(kind: ValueType, data: st.DataObject) -> None:
    arrow, values = SCALARS[kind]
    column = data.draw(st.lists(values, max_size=12))
    _check(pa.array(column, arrow), kind)
    _check(pa.array([*column, None], arrow), kind)


@settings(max_examples=40, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_feasts_own_bytes(kind: ValueType, data: st.DataObject) -> None:
    arrow, items = LISTS[kind]
    column = data.draw(st.lists(st.none() | st.lists(items, max_size=40), max_size=6))
    _check(pa.array(column, pa.list_(arrow)), kind)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([0.0, -0.0, 1.0]), ValueType.DOUBLE),
        (pa.array([1, 2], pa.int32()), ValueType.INT64),
        (pa.array([2**63 - 1, -(2**63)]), ValueType.INT64),
        (pa.array([1.0, float("nan"), 3.0]), ValueType.INT64),
        (pa.array([1, 2]), ValueType.UNIX_TIMESTAMP),
        (
            pa.array([datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("ns", "Asia/Tokyo")),
            ValueType.UNIX_TIMESTAMP,
        ),
        (pa.nulls(3), ValueType.STRING),
        (pa.nulls(3), ValueType.DOUBLE),
        (pa.array([["a", None, ""]], pa.list_(pa.string())), ValueType.STRING_LIST),
        # by Feast's own conversion
        (pa.array([[b"x", b""], None]), ValueType.BYTES_LIST),
        (pa.array(['{"a": 1}', None]), ValueType.JSON),
    ],
)
def test_edges_are_feasts_own_bytes(column: pa.Array, kind: ValueType) -> None:
    _check(column, kind)


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**15), 10**16))
def test_a_time_is_protobufs_own_bytes(microseconds: int) -> None:
    proto = Timestamp()
    proto.FromMicroseconds(microseconds)
    assert timestamp_proto(microseconds) == proto.SerializeToString()


def test_entity_keys_are_feasts_own_bytes() -> None:
    types = {"visit": Int64, "who": String, "day": UnixTimestamp, "code": Bytes, "a_site": Int32}
    rows = {
        "visit": pa.array([1, -5, 2**40]),
        "who": pa.array(["p1", "", "ä" * 100]),
        "day": pa.array([datetime(2024, 1, d, 7, tzinfo=UTC) for d in (1, 2, 3)], pa.timestamp("us", "UTC")),
        "code": pa.array([b"", b"\x00\xff", b"abc"]),
        "a_site": pa.array([7, 8, -9], pa.int32()),
    }
    entities = [Entity(name=n, join_keys=[n], value_type=t.to_value_type()) for n, t in types.items()]
    schema = [*(Field(name=n, dtype=t) for n, t in types.items()), Field(name="share", dtype=Float64)]
    view = FeatureView(name="seen", entities=entities, schema=[*schema, Field(name="touches", dtype=Array(Int64))])
    batch = pa.record_batch({**rows, EVENT: pa.array([0, 1, 2], pa.timestamp("us"))})
    protos = {
        n: python_values_to_proto_values(c.to_numpy(zero_copy_only=False), types[n].to_value_type())
        for n, c in rows.items()
    }  # type: ignore[arg-type]
    wanted = [
        serialize_entity_key(EntityKey(join_keys=list(rows), entity_values=[protos[n][i] for n in rows]), 3)
        for i in range(3)
    ]
    found = rows_of(view, batch)
    assert found.keys == wanted
    assert found.features["touches"].each(lambda value, _: value) == [b""] * 3, "a column that is not there is null"
