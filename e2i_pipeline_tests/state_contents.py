"""Looks through a state folder for what must never be there. Tests only."""

import pickletools
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path

import duckdb

from e2i_pipeline.resources.engine import parquet, quoted

PICKLE_NAMES = {".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill"}

_FRAMED = re.compile(rb"\x80[\x04\x05]\x95.{4}\x00{4}", re.DOTALL)
"""How a pickle of protocol 4 or 5 begins: its version, and a frame whose length fits into four bytes."""

_SMALL = 200_000
_SQLITE = b"SQLite format 3\0"
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
"""How gzip begins, and zlib at each of its levels."""


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
    """Files in which a text is found: in the values of Parquet, in the bytes of anything else, and in what they pack.

    Zip and gzip archives are opened, rows of SQLite read one by one (a long value is scattered over pages), and what
    is compressed in them, as Dagster's snapshots are, is decompressed.
    """
    sought = re.compile(pattern.encode())
    for path in files(state):
        if path.suffix == ".parquet":
            rows = f"SELECT 1 FROM {parquet(str(path))} t WHERE regexp_matches(CAST(t AS VARCHAR), '{pattern}') LIMIT 1"
            is_found = bool(duckdb.sql(rows).fetchall())
        else:
            is_found = any(sought.search(form) for form in _forms(path))
        if is_found:
            yield str(path.relative_to(state))


def _forms(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield from _unpacked(content)
    if content.startswith(_SQLITE):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            database.text_factory = bytes
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in database.execute(f"SELECT * FROM {quoted(table.decode())}"):
                    for value in row:
                        yield from _unpacked(value if isinstance(value, bytes) else str(value).encode())


def _unpacked(content: bytes) -> Iterator[bytes]:
    """A content as it is, and as it is unpacked, however deep."""
    yield content
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from _unpacked(archive.read(member))
    elif content.startswith(_COMPRESSED):
        with suppress(zlib.error, EOFError):
            yield from _unpacked(zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(content))
