"""Values as a metadata database stores them: plain JSON, and scalars that SQLite and PostgreSQL keep alike.

Pure, and free of SQLAlchemy, so that what is to be recorded can be made plain before a database is opened.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel


def plain(value: Any) -> Any:
    """A value as JSON can hold it.

    Args:
        value: Scalars, mappings, sequences, contracts, datetimes, NumPy scalars.

    Returns:
        Nested dicts, lists, strings, numbers, booleans and None; a float that is not finite as None.

    Raises:
        TypeError: A value has no JSON form. Its text is not used instead: a data frame's would carry rows.
    """
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, datetime):
        return value.isoformat()
    value = scalar(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def scalar(value: Any) -> Any:
    """A value as both databases store it alike.

    NumPy's scalars become Python's (psycopg2 would write `np.float64(0.5)` into its SQL), a float that is not finite
    becomes None (SQLite would, PostgreSQL would not), and a text loses its NUL characters (PostgreSQL refuses them).
    """
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.replace("\x00", "") if isinstance(value, str) else value
