# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""Feast's bytes, made from Arrow columns: entity keys (serialization 3) and the ValueProto of each value.

A value is encoded once per batch, however many rows have it. The bytes are those that protobuf itself writes
(https://protobuf.dev/programming-guides/encoding/, numbers of the fields: feast/types/Value.proto); a type that is not
known here goes through Feast's own conversion. Where they are written belongs to the stores.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.protos.feast.types.Value_pb2 import ValueType as KeyType
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from e2i_pipeline.resources.feast_stores.latest import CREATED, EVENT

NULL = b""
"""A ValueProto without a value."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Encoded(NamedTuple):
    """One column of a batch: its different values, and which of them each row has.

    Attributes:
        values: ValueProto of each different value; empty bytes for null.
        texts: What Feast keeps in `value_text` for it.
        index: One number per row.
    """

    values: list[bytes]
    texts: list[str | None]
    index: list[int]

    def each(self, make: Callable[[bytes, str | None], Any]) -> list[Any]:
        """One object per row, made once per different value."""
        made = [make(value, text) for value, text in zip(self.values, self.texts, strict=True)]
        return [made[i] for i in self.index]


class Rows(NamedTuple):
    """A batch as a store writes it, one entry per row.

    Attributes:
        keys: Serialized entity keys.
        event: Event times, UTC, microseconds since 1970.
        created: Known-at times, likewise; None where the view has none.
        features: The view's features by name, in order.
    """

    keys: list[bytes]
    event: list[int]
    created: list[int] | None
    features: dict[str, Encoded]


def settings(config: RepoConfig) -> Any:
    """The online store's settings, of its own type."""
    return config.online_store


def is_versioned(config: RepoConfig) -> bool:
    """Whether each version of a view has a table of its own online."""
    registry: Any = config.registry
    return bool(registry.enable_online_feature_view_versioning)


def rows_of(view: FeatureView, batch: pa.RecordBatch) -> Rows:
    """Encodes a batch.

    Args:
        view: The feature view.
        batch: Join keys, features, `EVENT`, and `CREATED` where the view has it; no null key, no null time.
    """
    created = _microseconds(batch.column(CREATED)) if CREATED in batch.schema.names else None
    features = {f.name: encode(_column(batch, f.name), f.dtype.to_value_type()) for f in view.features}
    return Rows(_keys(view, batch), _microseconds(batch.column(EVENT)), created, features)


def encode(column: pa.Array, kind: ValueType) -> Encoded:
    """Encodes a column of any type that Feast knows; NaN is null, as it is in Feast."""
    known = _KINDS.get(kind)
    typed = _typed(column, known.arrow) if known else None
    if known is None or typed is None:
        protos = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), kind)  # pyright: ignore[reportArgumentType] - as Feast does
        texts = [extract_text_and_num(proto, False)[0] for proto in protos]
        return Encoded([p.SerializeToString() for p in protos], texts, list(range(len(protos))))
    if pa.types.is_list(typed.type):
        return _lists(typed, known)
    distinct = typed.dictionary_encode(null_encoding="encode")
    plain = distinct.dictionary.to_pylist()
    if kind == ValueType.UNIX_TIMESTAMP and _is_time(column):
        plain = [None if v is None else v // 1_000_000 for v in plain]
    texts = [None if v is None or not known.text else known.text(v) for v in plain]
    return Encoded(_scalars(plain, known), texts, distinct.indices.to_pylist())


def _scalars(plain: list[Any], known: "_Kind") -> list[bytes]:
    head, body = known.head, known.body
    null = NULL if known.null is None else head + body(known.null)
    return [null if v is None else head + body(v) for v in plain]


def _lists(typed: pa.ListArray, known: "_Kind") -> Encoded:
    """A list is one length-delimited field: packed numbers, or one field per text."""
    item = known.item
    values = []
    for value in typed.to_pylist():
        if value is None:
            values.append(NULL)
            continue
        made = [item(known.default if v is None else v) for v in value]
        if known.is_packed:
            inside = b"".join(made)
            inside = b"\x0a" + varint(len(inside)) + inside if made else b""
        else:
            inside = b"".join([b"\x0a" + varint(len(m)) + m for m in made])
        values.append(known.head + varint(len(inside)) + inside)
    return Encoded(values, [None] * len(values), list(range(len(values))))


def varint(value: int) -> bytes:
    """A whole number in base 128, lowest digits first; a negative one as 64 bits."""
    if 0 <= value < 0x80:
        return _SMALL[value]
    value &= 0xFFFF_FFFF_FFFF_FFFF
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


_SMALL = [bytes([value]) for value in range(0x80)]


def timestamp_proto(microseconds: int) -> bytes:
    """A moment (microseconds since 1970) as google.protobuf.Timestamp."""
    seconds, rest = divmod(microseconds, 1_000_000)
    made = b"\x08" + varint(seconds) if seconds else b""
    return made + b"\x10" + varint(rest * 1000) if rest else made


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows)


def _typed(column: pa.Array, wanted: pa.DataType) -> pa.Array | None:
    """The column in the type that Feast declares; None where it cannot be, which Feast itself then says."""
    try:
        if pa.types.is_floating(column.type):
            is_nan = pc.call_function("is_nan", [column])
            column = pc.call_function("if_else", [is_nan, pa.scalar(None, column.type), column])
        if pa.types.is_int64(wanted) and (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            column = column.cast(pa.timestamp("us")).cast(pa.int64())
        return column if column.type == wanted else column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _microseconds(column: pa.Array) -> list[int]:
    return column.cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()


def _keys(view: FeatureView, batch: pa.RecordBatch) -> list[bytes]:
    """Entity keys as Feast serializes them (version 3): count, names, then type, length and bytes of each value."""
    columns = sorted((c.name, c.dtype.to_value_type()) for c in view.entity_columns)
    head: bytes = struct.pack("<I", len(columns))
    for name, _ in columns:
        text = name.encode()
        head += struct.pack("<II", KeyType.STRING, len(text)) + text
    parts = [_key_values(batch, name, kind) for name, kind in columns]
    if len(parts) == 1:
        return [head + value for value in parts[0]]
    return [head + b"".join(values) for values in zip(*parts, strict=True)]


def _key_values(batch: pa.RecordBatch, name: str, kind: ValueType) -> Iterable[bytes]:
    if name == DUMMY_ENTITY_ID and name not in batch.schema.names:
        return [_key_text("")] * batch.num_rows
    column = batch.column(name)
    if kind == ValueType.STRING:
        return [_key_text(v) for v in column.cast(pa.string()).to_pylist()]
    if kind == ValueType.BYTES:
        return [struct.pack("<II", KeyType.BYTES, len(v)) + v for v in column.cast(pa.binary()).to_pylist()]
    if kind in _KEY_NUMBERS:
        number, form, wanted = _KEY_NUMBERS[kind]
        typed = _typed(column, wanted)
        if typed is not None:
            head, pack = struct.pack("<II", number, struct.calcsize(form)), struct.Struct(form).pack
            scale = 1_000_000 if kind == ValueType.UNIX_TIMESTAMP and _is_time(column) else 1
            return [head + pack(v // scale) for v in typed.to_pylist()]
    raise TypeError(f"Feast has no entity key of type {kind.name}: the join key {name} of {column.type} cannot be one.")


def _key_text(value: str) -> bytes:
    made = value.encode()
    return struct.pack("<II", KeyType.STRING, len(made)) + made


def _is_time(column: pa.Array) -> bool:
    return pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)


_KEY_NUMBERS = {
    ValueType.INT32: (KeyType.INT32, "<i", pa.int32()),
    ValueType.INT64: (KeyType.INT64, "<q", pa.int64()),
    ValueType.UNIX_TIMESTAMP: (KeyType.UNIX_TIMESTAMP, "<q", pa.int64()),
}


def _sized(value: bytes) -> bytes:
    return varint(len(value)) + value


class _Kind(NamedTuple):
    """How a type is encoded: its Arrow type, the head of its field, then the bytes of a value or of an item."""

    arrow: pa.DataType
    head: bytes
    body: Callable[[Any], bytes] = lambda _: b""
    text: Callable[[Any], str] | None = None
    null: Any = None
    item: Callable[[Any], bytes] = lambda _: b""
    default: Any = None
    is_packed: bool = True


def _head(field: int, wire: int) -> bytes:
    return varint(field << 3 | wire)


_double, _float = struct.Struct("<d").pack, struct.Struct("<f").pack


def _utf8(value: str) -> bytes:
    return _sized(value.encode())


# Feast puts a default of the type in place of a null inside a list (feast.type_map._LIST_NONE_DEFAULTS).
_KINDS: dict[ValueType, _Kind] = {
    ValueType.BYTES: _Kind(pa.binary(), _head(1, _BYTES), _sized),
    ValueType.STRING: _Kind(pa.string(), _head(2, _BYTES), _utf8, str),
    ValueType.INT32: _Kind(pa.int32(), _head(3, _VARINT), varint, str),
    ValueType.INT64: _Kind(pa.int64(), _head(4, _VARINT), varint, str),
    ValueType.DOUBLE: _Kind(pa.float64(), _head(5, _FIXED64), _double, str),
    ValueType.FLOAT: _Kind(pa.float32(), _head(6, _FIXED32), _float, str),
    ValueType.BOOL: _Kind(pa.bool_(), _head(7, _VARINT), varint, str),
    # whole seconds; a number in the source is seconds already, and a null is the least number (NumPy's NaT)
    ValueType.UNIX_TIMESTAMP: _Kind(pa.int64(), _head(8, _VARINT), varint, null=-(2**63)),
    ValueType.STRING_LIST: _Kind(
        pa.list_(pa.string()), _head(12, _BYTES), item=str.encode, default="", is_packed=False
    ),
    ValueType.INT32_LIST: _Kind(pa.list_(pa.int32()), _head(13, _BYTES), item=varint, default=0),
    ValueType.INT64_LIST: _Kind(pa.list_(pa.int64()), _head(14, _BYTES), item=varint, default=0),
    ValueType.DOUBLE_LIST: _Kind(pa.list_(pa.float64()), _head(15, _BYTES), item=_double, default=0.0),
    ValueType.FLOAT_LIST: _Kind(pa.list_(pa.float32()), _head(16, _BYTES), item=_float, default=0.0),
    ValueType.BOOL_LIST: _Kind(pa.list_(pa.bool_()), _head(17, _BYTES), item=varint, default=False),
}
