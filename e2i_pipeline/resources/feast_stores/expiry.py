# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""The TTL of a view, honoured when an online store is read.

Feast serves expired values as present, except from vectors computed in advance (feast issue 6821). A value expires as
offline: where its event time lies before the reading time minus the TTL. Through `get_online_features` it is null
then, with Feast's own status OUTSIDE_MAX_AGE; through `online_read`, which knows no status, its row is not there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from feast import FeatureView, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value

from e2i_pipeline.resources.feast_stores.reading_time import EVER, reading_time

Row = tuple[datetime | None, dict[str, Value] | None]
"""A row as Feast's stores read it: event time and values, or None twice where there is none."""

_KEEPS: ContextVar[bool] = ContextVar("keeps_expired", default=False)


def oldest(view: FeatureView, now: datetime) -> datetime:
    """Event times before this one have expired."""
    if not view.ttl or now - EVER <= view.ttl:
        return EVER
    return now - view.ttl


class ExpiringReads(OnlineStore):
    """What is put before one of Feast's stores so that its reads honour the TTL."""

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[Row]:
        """As Feast's, without rows that have expired."""
        return _unexpired(table, super().online_read(config, table, entity_keys, requested_features))

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[Row]:
        """As Feast's, without rows that have expired."""
        return _unexpired(table, await super().online_read_async(config, table, entity_keys, requested_features))

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """What `get_online_features` reads of all views, expired values marked so."""
        begin = len(online_features_response.results)
        with keeping_expired():
            super()._read_features_per_fv(
                config,
                grouped_refs,
                join_key_values,
                entity_name_to_join_key_map,
                online_features_response,
                full_feature_names,
                include_feature_view_version_metadata,
            )
        _mark(grouped_refs, online_features_response, begin)

    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """The same, asynchronously."""
        begin = len(online_features_response.results)
        with keeping_expired():
            await super()._read_features_per_fv_async(
                config,
                grouped_refs,
                join_key_values,
                entity_name_to_join_key_map,
                online_features_response,
                full_feature_names,
                include_feature_view_version_metadata,
            )
        _mark(grouped_refs, online_features_response, begin)


@contextmanager
def keeping_expired() -> Iterator[None]:
    """Reads of rows within leave nothing out."""
    token = _KEEPS.set(True)
    try:
        yield
    finally:
        _KEEPS.reset(token)


def _unexpired(view: FeatureView, rows: list[Row]) -> list[Row]:
    if _KEEPS.get() or not view.ttl:
        return rows
    limit = oldest(view, reading_time())
    return [(None, None) if event is not None and aware(event) < limit else (event, row) for event, row in rows]


def aware(event: datetime) -> datetime:
    """A time of a row: stores keep them in UTC, some without saying so."""
    return event.replace(tzinfo=UTC) if event.tzinfo is None else event


def _mark(grouped: list[tuple[FeatureView, list[str]]], response: GetOnlineFeaturesResponse, begin: int) -> None:
    """Empties what has expired, view by view: all features of a row have the row's event time."""
    now = reading_time()
    for view, requested in grouped:
        # Feast's Redis store adds the row's time to the requested features, and reads it as one more
        end = begin + len(requested)
        if view.ttl and end > begin:
            limit = oldest(view, now)
            seconds, nanos = _parts(limit)
            times = response.results[begin].event_timestamps
            expired = [i for i, t in enumerate(times) if (t.seconds, t.nanos) < (seconds, nanos)]
            for vector in response.results[begin:end] if expired else ():
                for i in expired:
                    if vector.statuses[i] == FieldStatus.PRESENT:
                        vector.values[i].Clear()
                        vector.statuses[i] = FieldStatus.OUTSIDE_MAX_AGE
        begin = end


def _parts(moment: datetime) -> tuple[int, int]:
    since = moment - _EPOCH
    return since.days * 86_400 + since.seconds, since.microseconds * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
