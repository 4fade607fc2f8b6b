# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""Feast's Redis online store, written in bulk and read with the TTL; the layout is Feast's.

`feature_store.yaml` names `BulkRedisOnlineStore`. A batch goes out as commands in Redis' own protocol, without waiting
for answers in between (https://redis.io/docs/latest/develop/reference/protocol-spec/). Feast keeps no known-at time
here: of two rows with the same event time the one that is written last stays.
"""

from typing import Any, NamedTuple

import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import _mmh3, compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import StrictStr

from e2i_pipeline.resources.feast_stores.encoding import Rows, is_versioned, rows_of, settings, timestamp_proto
from e2i_pipeline.resources.feast_stores.expiry import ExpiringReads, Row

_ROUND_TRIP = 1_000
"""Commands that go out before their answers are read: neither side's buffer may fill while the other waits."""

_PROBED = 20
"""Rows of a batch that are looked for before it is taken to be new."""

_GET = b"*3\r\n$4\r\nHGET\r\n"

_SET_IF_UNCHANGED = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '-') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
if ARGV[3] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return 1"""
"""Writes a row if its time is still what it was when it was read: what a push wrote in between is looked at again."""


class _Ready(NamedTuple):
    """A batch: the field of a row's time, then each row's key, event time, and its fields with their values."""

    time_field: bytes
    keys: list[bytes]
    events: list[int]
    fields: list[bytes]


class BulkRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Feast's own settings."""

    type: StrictStr = f"{__name__}.BulkRedisOnlineStore"  # pyright: ignore[reportIncompatibleVariableOverride]


class BulkRedisOnlineStore(ExpiringReads, RedisOnlineStore):
    """A Redis server, or the master that a sentinel names."""

    senders = 1

    def writes_in_bulk(self, config: RepoConfig) -> bool:
        """The nodes of a cluster are written to by Feast's own writer, which knows which key is on which."""
        return settings(config).redis_type != RedisType.redis_cluster

    def bulk_ready(self, config: RepoConfig, view: FeatureView, batch: pa.RecordBatch) -> _Ready:
        """The arguments of the commands, in Redis' own protocol."""
        rows = rows_of(view, batch)
        name = compute_versioned_name(view, is_versioned(config))
        time_field = _text(f"_ts:{name}".encode())
        project = config.project.encode()
        keys = [_text(key + project) for key in rows.keys]
        return _Ready(time_field, keys, rows.event, _fields(name, rows, time_field))

    def bulk_send(self, config: RepoConfig, view: FeatureView, ready: _Ready, overwrite: bool) -> None:
        """Writes a batch, row by row each wholly or not at all; see `writing.BulkStore`."""
        time_field, keys, events, fields = ready
        client: Any = self._get_client(settings(config))
        script = client.script_load(_SET_IF_UNCHANGED)
        expires = _text(b"%d" % (settings(config).key_ttl_seconds or 0))
        # EVALSHA, script, number of keys, key, three arguments, then a field and a value each
        head = b"*%d\r\n$7\r\nEVALSHA\r\n" % (9 + 2 * len(view.features))
        head += _text(script if isinstance(script, bytes) else script.encode()) + b"$1\r\n1\r\n"
        pool = client.connection_pool
        connection = pool.get_connection()
        try:
            left = list(range(len(keys)))
            # Where the first ones are new, all are taken for new without asking: one command per row in place of two.
            # The script finds out which are not, and these go the way of all others.
            there = _answers(connection, [_GET + keys[i] + time_field for i in left[:_PROBED]])
            is_new = not any(there)
            while left:
                if is_new:
                    there, is_new = [None] * len(left), False
                else:
                    there = _answers(connection, [_GET + keys[i] + time_field for i in left])
                going = [(i, t) for i, t in zip(left, there, strict=True) if overwrite or not _is_newer(t, events[i])]
                commands = [
                    b"".join((head, keys[i], time_field, _text(b"-" if t is None else t), expires, fields[i]))
                    for i, t in going
                ]
                done = _answers(connection, commands)
                left = [i for (i, _), is_done in zip(going, done, strict=True) if not is_done]
        except BaseException:
            connection.disconnect()  # answers that nobody has read would be taken for those of the next command
            raise
        finally:
            pool.release(connection)

    def _get_features_for_entity(self, values: Any, feature_view: str, requested_features: list[str]) -> Row:
        """As Feast's; but an entity without a row is not there, in place of nulls of the year 1970."""
        time = values[requested_features.index(f"_ts:{feature_view}")]
        if time is None:
            return None, None
        return super()._get_features_for_entity(values, feature_view, requested_features)


def _fields(name: str, rows: Rows, time_field: bytes) -> list[bytes]:
    """Each row's time and features as the last arguments of a command."""
    times = {moment: time_field + _text(timestamp_proto(moment)) for moment in set(rows.event)}
    columns: list[list[bytes]] = [[times[moment] for moment in rows.event]]
    for feature, encoded in rows.features.items():
        field = _text(_mmh3(f"{name}:{feature}"))
        columns.append(encoded.each(lambda value, _, field=field: field + _text(value)))
    return [b"".join(parts) for parts in zip(*columns, strict=True)]


def _text(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _answers(connection: Any, commands: list[bytes]) -> list[Any]:
    """Sends commands and reads one answer each.

    Raises:
        redis.ResponseError: Redis refused one.
    """
    answers: list[Any] = []
    for begin in range(0, len(commands), _ROUND_TRIP):
        sent = commands[begin : begin + _ROUND_TRIP]
        connection.send_packed_command([b"".join(sent)])
        answers += [connection.read_response(disable_decoding=True) for _ in sent]
    return answers


def _is_newer(there: bytes | None, event: int) -> bool:
    if not there:
        return False
    stored = Timestamp.FromString(there)
    return stored.seconds * 1_000_000 + stored.nanos // 1000 > event
