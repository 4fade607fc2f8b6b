"""Pushes touches as they happen: a patient's online row is read, the touch is added, and the row is written.

What a touch makes of a row stands in `domain/live_touches.py`. `hcp_features` wait for the batch: a rate cannot be
brought forward without the counts behind it; so do configured covariates. The batch remains the source of truth: a
materialization writes what the batch knows, so a touch that it does not hold yet must be pushed again after it.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.feature_sql import Relations
from e2i_pipeline.domain.feature_tables import patients_of_hcps
from e2i_pipeline.domain.features import ENGAGEMENT_FEATURES
from e2i_pipeline.domain.live_touches import Touch, TouchRow, add_touches
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.engine import EngineResource, parquet
from e2i_pipeline.resources.feast_stores.reading_time import EVER, reading_at

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

SOURCE = "engagement_push"
"""The push source of `engagement_features`."""

COLUMNS = ("patient_id", "hcp_id", "channel", "event_timestamp", "known_at")
"""What is told of each touch; one without a patient reaches the patients of its HCP."""

_READ = ("recent_touch_times", "channel_counts")
PREFERRED = "channel_preferences"


class Pushed(NamedTuple):
    """What became of pushed touches.

    Attributes:
        patients: Patients whose row changed.
        added: Touches added, one per patient that it reached.
        repeated: Touches that a row held already.
        left: Touches too old for a row's window, which only the batch can count.
        unreached: Touches that reached nobody: no patient is named, and no journey names the HCP.
        waiting: Stored columns of the view that wait for the batch: configured covariates, which a push cannot compute.
    """

    patients: int
    added: int
    repeated: int
    left: int
    unreached: int
    waiting: tuple[str, ...] = ()


def reached(
    engine: EngineResource, touches: "pd.DataFrame", tables: Mapping[str, TableRef]
) -> tuple[dict[str, list[Touch]], int]:
    """Whom touches reach: the named patient, else the patients whose journeys name the HCP, from then on.

    Args:
        engine: Reads the journeys.
        touches: `COLUMNS`; `patient_id`, `hcp_id` and `channel` may be null, times are UTC (aware, or naive).
        tables: Staged tables by canonical name.

    Returns:
        Touches per patient, and how many touches reached nobody.

    Raises:
        ToolRejected: A column or a time is missing.
    """
    import pandas as pd
    import pyarrow as pa

    missing = [column for column in COLUMNS if column not in touches.columns]
    timeless = 0 if missing else int(touches[["event_timestamp", "known_at"]].isna().any(axis=1).sum())
    if missing or timeless or touches.empty:
        raise ToolRejected(
            f"{len(touches)} touches were to be pushed, {timeless} of them without a time. Missing columns: "
            f"{', '.join(missing) or 'none'}. Give at least one touch, and each of {', '.join(COLUMNS)}."
        )
    times = {c: pd.to_datetime(touches[c], utc=True).dt.tz_localize(None) for c in ("event_timestamp", "known_at")}
    given = touches[list(COLUMNS)].assign(**times, _touch=range(len(touches)))
    texts = ("patient_id", "hcp_id", "channel")
    schema = pa.schema(
        [*((c, pa.string()) for c in texts), *((c, pa.timestamp("us")) for c in times), ("_touch", "int64")]
    )
    present = {name: ref for name, ref in tables.items() if not ref.is_absent}
    relations = Relations(present, {name: parquet(ref.location) for name, ref in present.items()})
    with engine.connect() as connection:
        connection.register("touches", pa.Table.from_pandas(given[schema.names], schema=schema, preserve_index=False))
        rows = connection.execute(_reached_query(relations)).fetchall()
    by_patient: dict[str, list[Touch]] = {}
    for _, patient, channel, event_at, visible in rows:
        touch = Touch(event_at.replace(tzinfo=UTC), visible.replace(tzinfo=UTC), channel)
        by_patient.setdefault(patient, []).append(touch)
    return by_patient, len(touches) - len({row[0] for row in rows})


def push(store: "FeatureStore", by_patient: Mapping[str, list[Touch]], unreached: int, window_days: int) -> Pushed:
    """Adds touches to the online rows of patients, and makes sure that they are there.

    Args:
        store: The open store; nobody else writes these rows meanwhile.
        by_patient: Touches per patient.
        unreached: Touches that reached nobody, to be told.
        window_days: Look-back window of `recent_touches`, in days.

    Raises:
        ToolRejected: The view is not applied with what a push needs, or the online store kept another row.
    """
    import pandas as pd

    if not by_patient:
        return Pushed(0, 0, 0, 0, unreached)
    patients = sorted(by_patient)
    rows, further = _online_rows(store, patients)
    results = {patient: add_touches(rows[patient], by_patient[patient], window_days) for patient in patients}
    changed = {p: added.row for p, added in results.items() if added.row is not None and added.row != rows[p]}
    if changed:
        store.push(SOURCE, pd.DataFrame([_written(p, row, further[p]) for p, row in changed.items()]))
        _require_kept(store, changed)
    repeated, left = (sum(getattr(a, name) for a in results.values()) for name in ("repeated", "left"))
    touches = sum(map(len, by_patient.values()))
    waiting = tuple(further[patients[0]])
    return Pushed(len(changed), touches - repeated - left, repeated, left, unreached, waiting)


def _reached_query(relations: Relations) -> str:
    own = "SELECT _touch, patient_id, channel, event_timestamp, greatest(event_timestamp, known_at) FROM touches"
    query = f"{own} WHERE patient_id IS NOT NULL"
    if not relations.has("patient_journeys", "hcp_id"):
        return query
    return f"""
        {query} UNION ALL
        SELECT t._touch, p.patient_id, t.channel, t.event_timestamp,
            greatest(t.event_timestamp, t.known_at, p.visible) AS visible
        FROM touches AS t JOIN ({patients_of_hcps(relations)}) AS p ON p.hcp_id = t.hcp_id
        WHERE t.patient_id IS NULL
            AND coalesce(p.until > greatest(t.event_timestamp, t.known_at, p.visible), true)"""


def _online_rows(
    store: "FeatureStore", patients: list[str]
) -> tuple[dict[str, TouchRow | None], dict[str, dict[str, Any]]]:
    """The rows as they are served, and what else they hold, as the batch left it.

    What Feast does not serve, when all of a row was known, is its latest event.
    """
    view = store.get_feature_view(ENGAGEMENT_FEATURES)
    lacking = sorted(set(_READ) - {field.name for field in view.features})
    if lacking or view.stream_source is None:
        raise ToolRejected(
            f"The view {ENGAGEMENT_FEATURES} has no {', '.join(lacking) or 'push source'}, so that no touch can be "
            "added to it. Its source must give the channel of a touch; then materialize feature_registry again."
        )
    others = [field.name for field in view.features if field.name not in (*_READ, PREFERRED)]
    references = [f"{ENGAGEMENT_FEATURES}:{name}" for name in (*_READ, *others)]
    asked: list[dict[str, Any]] = [{"patient_id": patient} for patient in patients]
    with reading_at(EVER):  # a row that is no longer served still holds the counts that a touch adds to
        answer = store.get_online_features(references, asked)
    values = answer.to_dict()
    # to_dict gives whole seconds
    stamps = answer.proto.results[list(answer.proto.metadata.feature_names.val).index(_READ[0])].event_timestamps
    rows: dict[str, TouchRow | None] = {}
    for position, patient in enumerate(patients):
        at, times, counts = stamps[position].ToDatetime(tzinfo=UTC), *(values[name][position] for name in _READ)
        rows[patient] = None if times is None or counts is None else TouchRow(at, at, tuple(times), tuple(counts))
    return rows, {patient: {name: values[name][i] for name in others} for i, patient in enumerate(patients)}


def _written(patient: str, row: TouchRow, further: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **further,
        "patient_id": patient,
        "event_timestamp": row.event_at,
        "created_timestamp": row.visible,
        "recent_touch_times": list(row.times),
        PREFERRED: row.preferred,
        "channel_counts": list(row.counts),
    }


def _require_kept(store: "FeatureStore", changed: Mapping[str, TouchRow]) -> None:
    """Reads what was written: a store may pass over a row that is not newer than the one it has, and say nothing."""
    kept, _ = _online_rows(store, list(changed))
    lost = [p for p, row in changed.items() if (found := kept[p]) is None or found[2:] != row[2:]]
    if lost:
        raise ToolRejected(
            f"{len(lost)} of {len(changed)} patients' rows were written to the online store, and are not there. It "
            "keeps rows of the same or a later event time; the next materialization of online_features brings them."
        )
