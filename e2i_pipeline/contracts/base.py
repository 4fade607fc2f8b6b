"""The base of every contract: frozen, closed, and the same bytes for the same content.

What a contract is: data that one stage hands to another, or that outlives a run. Behaviour belongs in `domain`.
"""

import hashlib
import json
from typing import Any, cast

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A frozen value that refuses unknown fields."""

    # Built at first use: the definitions name all contracts and use few.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Reference(Contract):
    """A contract that an asset may return: it points to what a tool keeps, and is stored as JSON.

    Attributes:
        key: Hash of everything that determined the content; equal keys mean equal content.
    """

    key: str


def content_key(*parts: Any) -> str:
    """Hashes values into a key of 32 hexadecimal digits, the same in every process and on every machine.

    Args:
        parts: JSON values or contracts. Mappings are ordered by key; the order of sequences counts.

    Returns:
        The first 128 bits of the SHA-256 of the canonical JSON of `parts`.
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_plain, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (set, frozenset)):
        return sorted(cast(set[Any], value))
    return str(value)
