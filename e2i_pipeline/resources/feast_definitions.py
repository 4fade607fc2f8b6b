"""The resolved definitions: what a run hands to the Feast repository as data (`definitions.json`).

Which features this source can fill, which covariates are configured, and where the tables lie: Parquet files, or tables
of the offline store's own database. It holds no secret. What a feature is stands in `feature_repo/`.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureTableRef
from e2i_pipeline.domain.features import ViewPlan, stored_covariate
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.sqlite_glance import first_row

if TYPE_CHECKING:
    from feast import FeatureView


def resolved(
    key: str,
    service: str,
    plans: Sequence[ViewPlan],
    tables: Mapping[str, FeatureTableRef],
    window_days: int,
    kind: str,
) -> dict[str, Any]:
    """The definitions as the repository reads them.

    Args:
        key: Key of the applied definitions.
        service: Feature service of the model.
        plans: What each view holds.
        tables: The feature table of each view.
        window_days: Look-back window of `recent_touches`, in days.
        kind: What the offline store reads: `file`, `postgres` or `redshift`.
    """
    definitions: dict[str, Any] = {
        "key": key,
        "service": service,
        "offline": kind,
        "touch_window_days": window_days,
        "views": {plan.view: _view(plan, tables[plan.view], kind) for plan in plans},
    }
    # Kept in the registry itself, so that what is applied can be told wherever the registry lies.
    definitions["tags"] = {"e2i/key": key, "e2i/definitions": content_key(definitions)}
    return definitions


def read_resolved(file: Path) -> dict[str, Any]:
    """The definitions as they were last written; an unreadable file is written anew, like a missing one."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def table_name(ref: FeatureTableRef) -> str:
    """Name of a feature table in the offline store's database: of its content, so that it is never changed."""
    return f"e2i_{ref.name}_{ref.version[:16]}"


def require_bounds(views: Sequence["FeatureView"], kind: str) -> None:
    """Refuses views that the offline store would read at times at which they must not be seen.

    Args:
        views: The views to apply.
        kind: What the offline store reads.

    Raises:
        ConfigurationError: A view has the bound `<`, and the store knows `<=` only.
    """
    strict = sorted(view.name for view in views if view.tags.get("bound") == "<")
    if strict and kind != "file":
        raise ConfigurationError(
            f"The views {', '.join(strict)} are declared with the bound <, and the offline store {kind} joins with <= "
            "only, so that a row would be seen at its own time. Nothing was applied. Choose a configuration with the "
            "offline store duckdb (E2I_FEAST_CONFIG), or declare the bound <=."
        )


def is_in_file(file: Path, registry: FeatureRegistryRef) -> bool:
    """Whether a registry's file has the feature service with the key of `registry` among its tags (Feast 0.67)."""
    query = "SELECT feature_service_proto FROM feature_services WHERE project_id = ? AND feature_service_name = ?"
    try:
        row = first_row(file, query, (registry.project, registry.service))
    except sqlite3.Error:
        return False  # applying again is safe, and says what is wrong
    return row is not None and registry.key.encode() in row[0]


def _view(plan: ViewPlan, ref: FeatureTableRef, kind: str) -> dict[str, Any]:
    covariates = [stored for c in plan.covariates for stored in stored_covariate(c)]
    place = {"path": ref.location} if kind == "file" else {"path": ref.location, "table": table_name(ref)}
    columns = [c.name for c in plan.columns]
    return {**place, "event_bound": plan.bound, "columns": columns, "covariates": covariates}
