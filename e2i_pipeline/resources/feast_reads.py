"""Reads Feast: the point-in-time join, the online store, and what a model sees of either.

Both ways give the same stored columns for the same rows; `with_features` then computes what depends on the prediction
time. Opening the store and naming failures belongs to `feast.py`.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.references import FeatureRegistryRef
from e2i_pipeline.domain.features import AUXILIARY
from e2i_pipeline.domain.prediction_time import at_prediction_time
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.feast_stores.reading_time import EVER, reading_at

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from feast import FeatureService, FeatureStore

TIME = "event_timestamp"
"""Column of the prediction time in entity rows."""

PREDICTION_TIME = "prediction_time"
"""What on-demand views ask for; a historical row without it is predicted at its own time."""

READ_ROWS = 1_000
"""Rows per online read: SQLite takes a limited number of keys in one statement."""

_ROW = "_e2i_row"
_NOBODY = ""  # stands for a missing id: Feast refuses null keys online, and no pseudonym is empty


def wanted(store: "FeatureStore", features: str | list[str]) -> "FeatureService | list[str]":
    """A feature service by its name, or the references as they are."""
    return store.get_feature_service(features) if isinstance(features, str) else features


def request_columns(store: "FeatureStore", features: str | list[str]) -> list[str]:
    """The columns that on-demand views among the features ask of the request, in order."""
    asked = wanted(store, features)
    if isinstance(asked, list):
        views = {reference.split(":")[0] for reference in asked}
    else:
        views = {projection.name for projection in asked.feature_view_projections}
    found = [view for view in store.list_on_demand_feature_views() if view.name in views]
    return list(dict.fromkeys(name for view in found for name in view.get_request_data_schema()))


def entity_rows(rows: "pd.DataFrame", registry: FeatureRegistryRef) -> "pd.DataFrame":
    """The columns that Feast needs to know of the rows."""
    keys = [*dict.fromkeys(t.entity for t in registry.tables.values() if not t.is_absent), TIME]
    produced = {*(f.name for f in registry.features), *AUXILIARY}
    missing, clash = [k for k in keys if k not in rows.columns], sorted(produced & set(rows.columns))
    timeless = int(rows[TIME].isna().sum()) if TIME in rows.columns else len(rows)
    if missing or clash or timeless or rows.empty:
        raise ToolRejected(
            f"Features were asked for {len(rows)} rows, {timeless} of them without a prediction time. Missing columns: "
            f"{', '.join(missing) or 'none'}. Columns that are features already: {', '.join(clash) or 'none'}. Give at "
            "least one row, every key, every time, and no feature."
        )
    return rows[keys]


def historical_frame(
    store: "FeatureStore", entity_df: "pd.DataFrame", features: str | list[str], full_feature_names: bool
) -> "pd.DataFrame":
    """Feast's point-in-time join, cut by event time and by known-at time; see `FeastResource`.

    Raises:
        ToolRejected: Feast returns other rows than were asked for, or a column is named like a feature.
    """
    import numpy as np
    import pandas as pd

    keys = [e.join_key for e in store.list_entities() if e.join_key in entity_df.columns]
    asked = entity_df[keys].fillna(_NOBODY).astype(str)
    asked[TIME] = pd.to_datetime(entity_df[TIME], utc=True).astype("datetime64[us, UTC]")
    asked[_ROW] = np.arange(len(asked))
    requested = request_columns(store, features)
    for name in requested:
        if name in entity_df.columns:
            asked[name] = entity_df[name].array
        elif name == PREDICTION_TIME:
            asked[name] = asked[TIME]
    found = store.get_historical_features(
        entity_df=asked,
        features=wanted(store, features),
        full_feature_names=full_feature_names,
        filter_by_created_timestamp=True,
    ).to_df()
    found = found.set_index(_ROW).sort_index().drop(columns=[*keys, TIME, *(n for n in requested if n in found)])
    clash = sorted(set(found.columns) & set(entity_df.columns))
    if clash or not np.array_equal(found.index, np.arange(len(entity_df))):
        what = f"columns that are features too ({', '.join(clash)})" if clash else f"{len(found)} answers"
        raise ToolRejected(
            f"Historical features were asked for {len(entity_df)} rows, and there are {what}. Rename such columns; if "
            "rows were lost, the Feast configuration must name another offline store: Feast's `file` drops some."
        )
    found.index = entity_df.index
    return pd.concat([entity_df, found], axis=1)


class OnlineRows(NamedTuple):
    """What the online store holds of rows.

    Attributes:
        frame: One column per stored column, or per feature, with the index of the rows.
        ahead: Per view, which rows (a boolean each) hold an event later than the row's time: pushed live, or filled for
            a later moment. What they held at the row's time cannot be told.
    """

    frame: "pd.DataFrame"
    ahead: "dict[str, np.ndarray]"


def online_rows(store: "FeatureStore", service: "FeatureService", rows: "pd.DataFrame") -> OnlineRows:
    """Reads stored values; what has outlived its view's TTL at the row's time is null.

    Args:
        store: The open store.
        service: What to read.
        rows: Join keys and the time of each row (UTC).

    Returns:
        The stored columns.
    """
    import numpy as np
    import pandas as pd

    keys = [e.join_key for e in store.list_entities() if e.join_key in rows.columns]
    asked = [dict(zip(keys, row, strict=True)) for row in rows[keys].fillna(_NOBODY).astype(str).to_numpy()]
    answers: dict[str, list[Any]] = {}
    events: dict[str, list[int]] = {}
    with reading_at(EVER):  # each row has a time of its own, so the TTL is applied here
        for begin in range(0, len(asked), READ_ROWS):
            answer = store.get_online_features(features=service, entity_rows=asked[begin : begin + READ_ROWS])
            for name, values in answer.to_dict().items():
                answers.setdefault(name, []).extend(values)
            for name, vector in zip(answer.proto.metadata.feature_names.val, answer.proto.results, strict=True):
                times = vector.event_timestamps  # Feast's own `to_dict` leaves out the parts of a second
                events.setdefault(name, []).extend(t.seconds * 1_000_000 + t.nanos // 1000 for t in times)
    now = pd.to_datetime(rows[TIME], utc=True).astype("datetime64[us, UTC]").astype("int64").to_numpy()
    columns: dict[str, list[Any]] = {}
    ahead: dict[str, np.ndarray] = {}
    for projection in service.feature_view_projections:
        ttl = store.get_feature_view(projection.name).ttl
        ahead[projection.name] = np.array(events[projection.features[0].name]) > now
        for name in (feature.name for feature in projection.features):
            limit = np.array(events[name]) + ttl // timedelta(microseconds=1) if ttl else np.inf
            is_kept = np.broadcast_to(now <= limit, len(rows))
            columns[name] = [v if kept else None for v, kept in zip(answers[name], is_kept, strict=True)]
    found = {n: pd.Series(v, index=rows.index, dtype=object) for n, v in columns.items()}
    return OnlineRows(pd.DataFrame(found, index=rows.index), ahead)


def with_features(
    rows: "pd.DataFrame", stored: "pd.DataFrame", registry: FeatureRegistryRef, touch_window_days: int
) -> "pd.DataFrame":
    """The rows, their features at the prediction time, and the auxiliary dates."""
    import pandas as pd

    features = at_prediction_time(stored, rows[TIME], registry.features, touch_window_days)
    for name in AUXILIARY:
        if name in stored.columns:
            features[name] = pd.to_datetime(stored[name], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    return pd.concat([rows, features], axis=1)
