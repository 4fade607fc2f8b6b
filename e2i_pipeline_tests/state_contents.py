"""Looks through a state folder for what must never be there. Tests only."""

import pickletools
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import duckdb

from e2i_pipeline.resources.engine import parquet

PICKLE_NAMES = {".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill"}

_FRAMED = re.compile(rb"\x80[\x04\x05]\x95.{4}\x00{4}", re.DOTALL)
"""How a pickle of protocol 4 or 5 begins: its version, and a frame whose length fits into four bytes."""

_SMALL = 200_000


def files(state: Path) -> list[Path]:
    """Every file but code, without the made-up source, which stands for what lies outside."""
    found = (path for path in sorted(state.rglob("*")) if path.is_file())
    return [p for p in found if p.relative_to(state).parts[0] != "synthetic" and p.suffix not in (".py", ".pyc")]


def pickles(state: Path) -> list[str]:
    """Files that are a pickle or hold one, by name or by content."""
    return [str(path.relative_to(state)) for path in files(state) if _is_pickle(path.name, path.read_bytes())]


def _is_pickle(name: str, content: bytes) -> bool:
    if Path(name).suffix in PICKLE_NAMES or _FRAMED.search(content):
        return True
    if len(content) > 1 and content[0] == 0x80 and content[1] <= 5 and content.endswith(b"."):
        return True
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return any(_is_pickle(member, archive.read(member)) for member in archive.namelist())
    return len(content) <= _SMALL and _is_old_pickle(content)


def _is_old_pickle(content: bytes) -> bool:
    """Whether the opcodes of protocol 0 or 1 can be read to the last byte."""
    try:
        *_, (_, _, last) = pickletools.genops(content)
    except (ValueError, IndexError):  # no such opcode, or it ends too early
        return False
    return len(content) > 2 and last == len(content) - 1


def columns(state: Path) -> dict[str, set[str]]:
    """The columns of every Parquet file."""
    found = [path for path in files(state) if path.suffix == ".parquet"]
    described = ((path, duckdb.sql(f"DESCRIBE SELECT * FROM {parquet(str(path))}").fetchall()) for path in found)
    return {str(path.relative_to(state)): {name for name, *_ in rows} for path, rows in described}


def holding(state: Path, pattern: str) -> Iterator[str]:
    """Files in which a text is found: in the values of Parquet, in the bytes of anything else."""
    for path in files(state):
        if path.suffix == ".parquet":
            rows = f"SELECT 1 FROM {parquet(str(path))} t WHERE regexp_matches(CAST(t AS VARCHAR), '{pattern}') LIMIT 1"
            is_found = bool(duckdb.sql(rows).fetchall())
        else:
            is_found = re.search(pattern.encode(), path.read_bytes()) is not None
        if is_found:
            yield str(path.relative_to(state))
