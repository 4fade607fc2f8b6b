"""How CSV, JSON and Parquet files are read: one SELECT statement for the files of an input.

CSV and JSON come as text: nothing is guessed but the delimiter, from the header line, so that `None` and `NA` stay data
and a code `007` stays three digits. No message repeats what stands in a row.
"""

import csv
import gzip
import io
import re
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from e2i_pipeline.domain.mapping import marked_sql
from e2i_pipeline.errors import SourceError
from e2i_pipeline.resources.connectors.input_folder import InputFile, InputFolder
from e2i_pipeline.resources.engine import literal, quoted

if TYPE_CHECKING:
    import duckdb

ENDINGS = {
    "csv": (".csv", ".csv.gz"),
    "parquet": (".parquet",),
    "json": (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz"),
}
"""Endings of file names by format."""

DELIMITERS = ",;\t|"
_NO_MARKER = "\x1ae2i"  # DuckDB wants at least one null marker; this text stands in no file
_MEND = "Mend the line; or copy the file again, if it was cut short there."
_BEGINNINGS = {
    b"\xff\xfe": "it begins like UTF-16. Convert the file: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "it begins like UTF-16. Convert the file: iconv -f UTF-16 -t UTF-8",
    b"PK\x03\x04": "it is a ZIP archive or an Excel workbook under that name. Export it as CSV, or unpack it",
    b"\x1f\x8b": "it is a gzip archive under that name. Unpack it, or name it .csv.gz",
    b"PAR1": "it is a Parquet file under that name. Name it .parquet",
}
"""What a file begins with that is no CSV in UTF-8, and what to do about it."""


def ending_of(name: str, formats: Sequence[str]) -> str:
    """The ending of a file's name that one of the formats has; empty where none has."""
    endings = sorted((ending for each in formats for ending in ENDINGS[each]), key=len, reverse=True)
    return next((ending for ending in endings if name.lower().endswith(ending)), "")


def format_of(ending: str) -> str:
    """The format of an ending."""
    return next(name for name, endings in ENDINGS.items() if ending in endings)


def read_files_sql(
    connection: "duckdb.DuckDBPyConnection",
    folder: InputFolder,
    files: Sequence[InputFile],
    null_markers: Sequence[str],
) -> str:
    """All columns of some files of one format.

    Args:
        connection: Where it will be read.
        folder: Where the files lie.
        files: The files, at least one.
        null_markers: Texts that mean null.

    Raises:
        SourceError: A file is empty, truncated, not UTF-8, or its header names a column twice.
    """
    folder.install(connection)
    kind = format_of(ending_of(files[0].name, tuple(ENDINGS)))
    if kind == "csv":
        return _csv_sql(folder, files, null_markers)
    rows = _parquet_sql(connection, files) if kind == "parquet" else _json_sql(connection, files)
    return marked_sql(rows, columns_of(connection, rows), null_markers)


def columns_of(connection: "duckdb.DuckDBPyConnection", query: str) -> dict[str, str]:
    """The columns of a SELECT statement and their DuckDB types."""
    return {name: dtype for name, dtype, *_ in connection.execute(f"DESCRIBE {query}").fetchall()}


def what_is_wrong(where: str, error: Exception) -> str:
    """What is wrong with files, from an error of the engine, without any value of a row.

    Args:
        where: The file or files, in words.
        error: The error.
    """
    text = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", text) or re.search(r"in (?:record/value|line) (\d+)", text)
    at = f", line {line[1]}" if line else ""
    width = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if "unicode" in text or "utf-8" in text:
        return not_utf8(f"{where}{at}")
    if width:
        return f"{where}{at}: {width[2]} values where the header names {width[1]} columns. {_MEND}"
    if "unterminated quote" in text:
        return f"{where}{at}: a quote is opened and never closed. {_MEND}"
    if "Malformed JSON" in text:
        return f"{where}{at}: no complete JSON. {_MEND}"
    return f"{where}{at}: the engine could not read it ({type(error).__name__}). Write the file again."


def not_utf8(where: str) -> str:
    """What to say of a file in another encoding."""
    return f"{where}: not UTF-8, the encoding expected. Convert the file, e.g. iconv -f WINDOWS-1252 -t UTF-8."


def _csv_sql(folder: InputFolder, files: Sequence[InputFile], null_markers: Sequence[str]) -> str:
    # Files whose headers agree are read together, as long as they follow each other: rows keep their order.
    groups: list[tuple[tuple[str, tuple[str, ...]], list[InputFile]]] = []
    for file in files:
        header = _header(folder, file)
        if not groups or groups[-1][0] != header:
            groups.append((header, []))
        groups[-1][1].append(file)
    markers = ", ".join(map(literal, null_markers or [_NO_MARKER]))
    parts = []
    for (delimiter, names), members in groups:
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
        parts.append(
            f"SELECT * FROM read_csv({_list(members)}, columns={{{columns}}}, auto_detect=false, "
            f"header=true, delim={literal(delimiter)}, quote='\"', escape='\"', nullstr=[{markers}], "
            "hive_partitioning=false)"
        )
    return " UNION ALL BY NAME ".join(parts)


def _header(folder: InputFolder, file: InputFile) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the column names of a CSV file."""
    try:
        with folder.open(file) as opened, _text(file, opened) as text:
            first = text.readline()
            delimiter = max(DELIMITERS, key=first.count)
            rest = iter([first, *([] if first.count('"') % 2 == 0 else text)])
            names = next(csv.reader(rest, delimiter=delimiter, strict=True), [])
    except UnicodeDecodeError:
        raise SourceError(_not_csv(folder, file)) from None
    except (OSError, EOFError, csv.Error) as err:
        raise SourceError(
            f"{file.address}: its header cannot be read ({type(err).__name__}). Write the file again."
        ) from None
    names = [name or f"unnamed_{position}" for position, name in enumerate(map(str.strip, names), 1)]
    if not names:
        raise SourceError(
            f"{file.address} is empty: not even a header. Write the file again, with a line of column names."
        )
    folded = [name.lower() for name in names]
    # By position: a file without a header has a patient's values here.
    if twice := [str(i) for i, name in enumerate(folded, 1) if folded.count(name) > 1]:
        raise SourceError(
            f"{file.address}: its first line names a column more than once (columns {', '.join(twice)}). Rename or "
            "drop one; or add a line of column names, if there is none."
        )
    return delimiter, tuple(names)


def _text(file: InputFile, opened: IO[bytes]) -> io.TextIOWrapper:
    raw = gzip.GzipFile(fileobj=opened) if file.name.lower().endswith(".gz") else opened
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")  # type: ignore[arg-type]


def _not_csv(folder: InputFolder, file: InputFile) -> str:
    with folder.open(file) as opened:
        first = opened.read(4)
    is_packed = file.name.lower().endswith(".gz")
    found = next((what for begin, what in _BEGINNINGS.items() if first.startswith(begin)), "")
    return f"{file.address}: {found}." if found and not is_packed else not_utf8(file.address)


def _json_sql(connection: "duckdb.DuckDBPyConnection", files: Sequence[InputFile]) -> str:
    """Every key of the objects as text, nested ones as JSON text; an array of them or one a line."""
    _refuse_blank(files)
    # All rows are looked at for their keys, and their types then left alone: a guess from some rows breaks on others.
    found = columns_of(connection, f"SELECT * FROM read_json({_list(files)}, sample_size=-1, union_by_name=true)")
    if list(found) == ["json"]:  # the name that the engine gives to what is no object
        raise SourceError(f"{files[0].address}: no JSON objects, one a row. Write the file as a list of objects.")
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in found)
    return f"SELECT * FROM read_json({_list(files)}, columns={{{columns}}}, hive_partitioning=false)"


def _refuse_blank(files: Sequence[InputFile]) -> None:
    if empty := [file.address for file in files if not file.size]:
        raise SourceError(f"{empty[0]} is empty. Write the file again.")


def _parquet_sql(connection: "duckdb.DuckDBPyConnection", files: Sequence[InputFile]) -> str:
    import duckdb

    for file in files:
        try:
            connection.execute(f"DESCRIBE {_read_parquet([file])}")
        except duckdb.Error:
            raise SourceError(
                f"{file.address} ({file.size} bytes) is no complete Parquet file: truncated, or something else under "
                "that name. Write the file again."
            ) from None
    return _read_parquet(files)


def _read_parquet(files: Sequence[InputFile]) -> str:
    return f"SELECT * FROM read_parquet({_list(files)}, union_by_name=true, hive_partitioning=false)"


def _list(files: Sequence[InputFile]) -> str:
    return f"[{', '.join(literal(file.address) for file in files)}]"
