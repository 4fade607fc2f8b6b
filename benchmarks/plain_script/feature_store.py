"""Feast over the feature tables: the repository applied, the online store filled, the point-in-time join."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.plain_script.data import PROJECT, Views
from e2i_pipeline.domain.features import AUXILIARY, covariate_description
from e2i_pipeline.domain.prediction_time import at_prediction_time

REPOSITORY = PROJECT / "feature_repo"
SERVICE = "conversion"
KEYS = ("patient_id", "hcp_id")
BATCH_ROWS = 10_000


def apply(views: Views, chosen: Mapping[str, Any], folder: Path) -> Any:
    """Applies the repository as `feast apply` does.

    Returns:
        The open store.
    """
    definitions = folder / "definitions.json"
    definitions.write_text(json.dumps(_definitions(views, chosen)), encoding="utf-8")
    os.environ |= {
        "FEAST_USAGE": "False",
        "E2I_STATE_DIR": str(folder),
        "E2I_FEATURE_DEFINITIONS": str(definitions),
        "E2I_FEAST_PROJECT": chosen["feast"]["project"],
        "E2I_FEAST_REGISTRY": f"sqlite:///{folder}/registry.db",
        "E2I_FEAST_ONLINE_STORE": str(folder / "online.db"),
    }
    from feast import FeatureStore
    from feast.repo_operations import apply_total

    store = FeatureStore(repo_path=str(REPOSITORY))
    sys.path.insert(0, str(REPOSITORY))
    sys.dont_write_bytecode, before, place = True, sys.dont_write_bytecode, Path.cwd()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            apply_total(store.config, REPOSITORY, skip_source_validation=False)
    finally:
        sys.path.remove(str(REPOSITORY))
        sys.dont_write_bytecode = before
        os.chdir(place)
    store.refresh_registry()
    return store


def fill(store: Any, connection: Any, views: Views, until: datetime) -> dict[str, int]:
    """Fills the online store with each entity's latest row known at `until`.

    Returns:
        Rows by view.
    """
    import pandas as pd

    rows: dict[str, int] = {}
    for view, table in views.tables.items():
        entity = views.plans[view].entity
        latest = connection.execute(
            f"""
            SELECT * FROM '{table.location}' WHERE created_timestamp <= TIMESTAMPTZ '{until.isoformat()}'
            QUALIFY row_number() OVER (
                PARTITION BY {entity} ORDER BY event_timestamp DESC, created_timestamp DESC) = 1
            """
        ).to_arrow_table()
        for begin in range(0, latest.num_rows, BATCH_ROWS):
            batch = latest.slice(begin, BATCH_ROWS).combine_chunks().to_pandas(types_mapper=pd.ArrowDtype)
            store.provider.ingest_df(store.get_feature_view(view), batch)
        start = datetime.fromtimestamp(0, UTC)
        store.registry.apply_materialization(store.get_feature_view(view), store.project, start, until)
        rows[view] = latest.num_rows
    return rows


def training_frame(store: Any, rows: Any, views: Views, chosen: Mapping[str, Any]) -> Any:
    """The rows with what was known of each at its prediction time: Feast's join, then what depends on that time."""
    import pandas as pd

    asked = rows[list(KEYS)].fillna("").astype(str)
    asked["event_timestamp"] = pd.to_datetime(rows["event_timestamp"], utc=True).astype("datetime64[us, UTC]")
    asked["row"] = range(len(asked))
    joined = store.get_historical_features(
        entity_df=asked, features=store.get_feature_service(SERVICE), filter_by_created_timestamp=True
    ).to_df()
    stored = joined.set_index("row").sort_index().drop(columns=[*KEYS, "event_timestamp"])
    stored.index = rows.index
    window = chosen["features"]["touch_window_days"]
    features = at_prediction_time(stored, rows["event_timestamp"], views.features, window)
    for name in AUXILIARY:
        features[name] = pd.to_datetime(stored[name], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    return pd.concat([rows, features], axis=1)


def _definitions(views: Views, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What the repository's modules read: which columns exist, and where their tables lie."""
    return {
        "tags": {},
        "touch_window_days": chosen["features"]["touch_window_days"],
        "views": {
            view: {
                "path": table.location,
                "columns": [column.name for column in views.plans[view].columns],
                "covariates": [
                    {"name": c.name, "dtype": c.dtype, "description": covariate_description(c)}
                    for c in views.plans[view].covariates
                ],
            }
            for view, table in views.tables.items()
        },
    }
