# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""What the pipeline resolved: which features exist in this source, where their tables lie, which covariates it adds.

The pipeline writes it as JSON before it applies this repository. Without the file all static definitions stand, over
tables that are not there yet: enough for `feast plan`. What a feature is stands in `views.py`, not here.
"""

import json
import os
from pathlib import Path
from typing import Any

from feast import Field
from feast.types import Array, Bool, Float64, Int64, String, UnixTimestamp

STATE = Path(os.environ.get("E2I_STATE_DIR") or Path(__file__).resolve().parent.parent / ".e2i")
PATH = Path(os.environ.get("E2I_FEATURE_DEFINITIONS") or STATE / "feast" / "definitions.json")


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


RESOLVED = _read(PATH)
PINS = _read(PATH.parent / "pins.json") or {}
"""Pinned services by name, each with the version of every view, see `services.py`."""

OFFLINE_KINDS = ("file", "postgres", "redshift")

DTYPES = {
    "Array(Float64)": Array(Float64),
    "Array(Int64)": Array(Int64),
    "Array(String)": Array(String),
    "Bool": Bool,
    "Float64": Float64,
    "Int64": Int64,
    "String": String,
    "UnixTimestamp": UnixTimestamp,
}


def is_available(view: str) -> bool:
    """Whether the source has what the view needs."""
    return RESOLVED is None or view in RESOLVED["views"]


def has_columns(view: str, columns: list[str]) -> bool:
    """Whether the source can fill these columns of the view."""
    return RESOLVED is None or all(name in RESOLVED["views"].get(view, {}).get("columns", ()) for name in columns)


def offline_kind() -> str:
    """Which kind of source the offline store of the chosen configuration reads: see `OFFLINE_KINDS`.

    Raises:
        ValueError: Without resolved definitions, E2I_FEAST_OFFLINE says something else.
    """
    kind = (RESOLVED or {}).get("offline") or os.environ.get("E2I_FEAST_OFFLINE") or "file"
    if kind not in OFFLINE_KINDS:
        raise ValueError(f"E2I_FEAST_OFFLINE={kind}: choose one of {', '.join(OFFLINE_KINDS)}.")
    return kind


def source_path(view: str) -> str:
    """Path or URL of the view's current feature table."""
    if RESOLVED is not None and view in RESOLVED["views"]:
        return RESOLVED["views"][view]["path"]
    return str(STATE / "features" / view / "data.parquet")


def source_table(view: str) -> str:
    """Name of the view's current feature table in the offline store's database."""
    if RESOLVED is not None and view in RESOLVED["views"]:
        return RESOLVED["views"][view].get("table") or view
    return view


def bound(view: str, static: str) -> str:
    """Whether a row is seen at its own time (`<=`) or only after it (`<`)."""
    return (RESOLVED or {"views": {}})["views"].get(view, {}).get("bound") or static


def event_bound(view: str) -> str:
    """Whether the view's table shows an event with a time at that time (`<=`) or only afterwards (`<`)."""
    return (RESOLVED or {"views": {}})["views"].get(view, {}).get("event_bound") or "<="


def touch_window_days() -> int:
    """Look-back window of `recent_touches`, in days."""
    return 90 if RESOLVED is None else int(RESOLVED["touch_window_days"])


def fields(view: str, static: list[Field]) -> list[Field]:
    """The static fields that this source can fill, then the configured covariates."""
    if RESOLVED is None or view not in RESOLVED["views"]:
        return static
    resolved = RESOLVED["views"][view]
    covariates = [
        Field(
            name=c["name"],
            dtype=DTYPES[c["dtype"]],
            description=c["description"],
            tags={"origin": "configuration", **c["tags"]},
        )
        for c in resolved["covariates"]
    ]
    return [field for field in static if field.name in resolved["columns"]] + covariates


def service_tags() -> dict[str, str]:
    """What identifies the resolved definitions, so that an unchanged repository need not be applied again."""
    return {} if RESOLVED is None else dict(RESOLVED["tags"])
