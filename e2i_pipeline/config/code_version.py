"""What version of our own code computed a result: part of every content key, so that changed code recomputes."""

import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


@functools.cache
def code_version(*parts: str) -> str:
    """Hashes the source of some of the package's files.

    Args:
        parts: Paths within the package, e.g. `domain` or `resources/feast.py`; a folder means all modules in it.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        path = _PACKAGE / part
        if not path.exists():
            raise FileNotFoundError(f"There is no {part} in the package.")
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
