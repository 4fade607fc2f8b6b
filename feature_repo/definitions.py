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

RESOLVED: dict[str, Any] | None = json.loads(PATH.read_text(encoding="utf-8")) if PATH.is_file() else None

DTYPES = {
    "Array(Int64)": Array(Int64),
    "Bool": Bool,
    "Float64": Float64,
    "Int64": Int64,
    "String": String,
    "UnixTimestamp": UnixTimestamp,
}


def is_available(view: str) -> bool:
    """Whether the source has what the view needs."""
    return RESOLVED is None or view in RESOLVED["views"]


def source_path(view: str) -> str:
    """Path or URL of the view's current feature table."""
    if RESOLVED is not None and view in RESOLVED["views"]:
        return RESOLVED["views"][view]["path"]
    return str(STATE / "features" / view / "data.parquet")


def fields(view: str, static: list[Field]) -> list[Field]:
    """The static fields that this source can fill, then the configured covariates."""
    if RESOLVED is None or view not in RESOLVED["views"]:
        return static
    resolved = RESOLVED["views"][view]
    covariates = [
        Field(name=c["name"], dtype=DTYPES[c["dtype"]], description=c["description"], tags={"origin": "configuration"})
        for c in resolved["covariates"]
    ]
    return [field for field in static if field.name in resolved["columns"]] + covariates


def bound(view: str) -> str:
    """Whether the view sees an event with a time at that time (`<=`) or only afterwards (`<`)."""
    return "<=" if RESOLVED is None else RESOLVED["views"].get(view, {}).get("bound", "<=")


def service_tags() -> dict[str, str]:
    """What identifies the resolved definitions, so that an unchanged repository need not be applied again."""
    return {} if RESOLVED is None else dict(RESOLVED["tags"])
