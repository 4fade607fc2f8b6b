# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""Writes batches of rows into an online store: in bulk where it can, else through Feast's own writer.

A row that is older than what is there (by event time, then by known-at time where the store keeps it) never overwrites
it, since a live push may be ahead of the batch; unless the caller says so. How a store writes in bulk stands beside it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore
from feast.types import from_feast_to_pyarrow_type
from feast.utils import _convert_arrow_to_proto

from e2i_pipeline.resources.feast_stores.expiry import aware, keeping_expired
from e2i_pipeline.resources.feast_stores.latest import CREATED, EVENT

WRITE_ROWS = 20_000
"""Rows per transaction: a reader of the embedded store waits for one of them at most, about half a second."""


@runtime_checkable
class BulkStore(Protocol):
    """An online store that writes batches.

    Attributes:
        senders: How many batches are written at a time, each in a thread of its own, while the next one is made ready:
            it pays where a server does the work. 0 for none aside.
    """

    senders: int

    def writes_in_bulk(self, config: RepoConfig) -> bool:
        """Whether it can, as it is configured."""
        ...

    def bulk_ready(self, config: RepoConfig, view: FeatureView, batch: pa.RecordBatch) -> Any:
        """Makes a batch ready: what `bulk_send` takes.

        Args:
            config: Feast's configuration.
            view: The feature view.
            batch: Join keys, features (a missing one is null), `EVENT`, and `CREATED` where the view has it; at most
                one row per entity.
        """
        ...

    def bulk_send(self, config: RepoConfig, view: FeatureView, ready: Any, overwrite: bool) -> None:
        """Writes it, all of it or nothing where the store has transactions.

        Args:
            config: Feast's configuration.
            view: The feature view.
            ready: The batch.
            overwrite: Whether older rows overwrite newer ones.
        """
        ...


def write(
    store: OnlineStore,
    config: RepoConfig,
    view: FeatureView,
    batches: Iterable[pa.RecordBatch],
    overwrite: bool = False,
) -> Iterator[int]:
    """Writes batches into any of Feast's online stores; see `BulkStore`.

    Yields:
        The rows of each batch, when it is written.
    """
    filled = (batch for batch in batches if batch.num_rows)
    if not (isinstance(store, BulkStore) and store.writes_in_bulk(config)):
        for batch in filled:
            _write_by_feast(store, config, view, batch, overwrite)
            yield batch.num_rows
    elif not store.senders:
        for batch in filled:
            store.bulk_send(config, view, store.bulk_ready(config, view, batch), overwrite)
            yield batch.num_rows
    else:
        yield from _write_aside(store, config, view, filled, overwrite)


def _write_aside(
    store: BulkStore, config: RepoConfig, view: FeatureView, batches: Iterable[pa.RecordBatch], overwrite: bool
) -> Iterator[int]:
    """Batches may be written out of turn; each is yielded when all before it are written, too."""
    going: deque[tuple[Future[None], int]] = deque()

    def first_written() -> int:
        future, rows = going.popleft()
        future.result()
        return rows

    with ThreadPoolExecutor(store.senders) as aside:
        for batch in batches:
            ready = store.bulk_ready(config, view, batch)
            if len(going) == store.senders:
                yield first_written()
            going.append((aside.submit(store.bulk_send, config, view, ready, overwrite), batch.num_rows))
        while going:
            yield first_written()


def _write_by_feast(
    store: OnlineStore, config: RepoConfig, view: FeatureView, batch: pa.RecordBatch, overwrite: bool
) -> None:
    rows = _convert_arrow_to_proto(
        _as_feast_names_it(view, batch), view, {c.name: c.dtype.to_value_type() for c in view.entity_columns}
    )
    if not overwrite:
        # read, then written: Feast's own stores have no better way, and a push may come in between
        with keeping_expired():
            there = store.online_read(config, view, [key for key, *_ in rows], [f.name for f in view.features][:1])
        rows = [row for row, (event, _) in zip(rows, there, strict=True) if not _is_newer(event, row[2])]
    if rows:
        store.online_write_batch(config, view, rows, progress=None)


def _is_newer(there: datetime | None, event: datetime) -> bool:
    return there is not None and aware(there) > aware(event)


def _as_feast_names_it(view: FeatureView, batch: pa.RecordBatch) -> pa.Table:
    """The batch as Feast's conversion wants it: in one chunk, the times under the names of the view's source."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    source = view.batch_source
    event = columns.pop(EVENT)
    created = columns.pop(CREATED, event)
    if source is not None:
        columns[source.timestamp_field] = event
        if source.created_timestamp_column:
            columns[source.created_timestamp_column] = created
    for field in view.features:
        if field.name not in columns:
            columns[field.name] = pa.nulls(batch.num_rows, from_feast_to_pyarrow_type(field.dtype))
    return pa.table(columns)
