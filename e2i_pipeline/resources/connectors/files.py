"""The user's own files with canonical names: CSV or Parquet, one file or one folder per table.

CSV is read as text with the declared null markers only; the strings `None` and `NA` are data. Nothing is guessed but
the delimiter, from the header line. No message repeats what stands in a row.
"""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.engine import literal, quoted

if TYPE_CHECKING:
    import duckdb

_ENDINGS = {"auto": (".csv", ".parquet"), "csv": (".csv",), "parquet": (".parquet",)}
_DELIMITERS = ",;\t|"
_NO_MARKER = "\x1ae2i"  # DuckDB wants at least one null marker; this text stands in no file
_MEND = "Mend the line; or copy the file again, if it was cut short there."
_BEGINNINGS = {
    b"\xff\xfe": "it begins like UTF-16. Convert the file: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "it begins like UTF-16. Convert the file: iconv -f UTF-16 -t UTF-8",
    b"PK\x03\x04": "it is a ZIP archive or an Excel workbook under that name. Export it as CSV, or unpack it",
    b"\x1f\x8b": "it is a gzip archive under that name. Unpack it",
    b"PAR1": "it is a Parquet file under that name. Name it .parquet",
}
"""What a file begins with that is no CSV in UTF-8, and what to do about it."""

_LISTED = 20  # names of present files in a message


class FilesConnector:
    """A `Connector` over a folder of files.

    Args:
        location: The folder.
        format: `auto` takes CSV and Parquet by the file name's ending, `csv` and `parquet` only the one.
        null_markers: Texts that mean null, in CSV and in the text columns of Parquet.

    Raises:
        ConfigurationError: A null marker holds a delimiter, a quote or a line break.
    """

    def __init__(self, location: str | Path, format: str = "auto", null_markers: Sequence[str] = ("",)) -> None:
        self._root = Path(location).expanduser().absolute()
        self._endings = _ENDINGS[format]
        self._null_markers = tuple(null_markers)
        if any(set(marker) & set(f'{_DELIMITERS}"\r\n') for marker in null_markers):
            raise ConfigurationError("source.files.null_markers: a marker holds no delimiter, quote or line break.")

    def fingerprint(self, table: str) -> str:
        """Name, size and time of change of each file of the table, and how they are read.

        Raises:
            SourceError: The folder or the files of a required table are not there.
        """
        try:
            stats = [(path, path.stat()) for path in self._files(table)]
        except OSError as err:
            raise SourceError(
                f"A file of {table} in {self._root} went away while it was looked at. Run again."
            ) from err
        files = [(str(path.relative_to(self._root)), s.st_size, s.st_mtime_ns) for path, s in stats]
        return content_key(table, files, self._null_markers)

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str | None:
        """All columns of the table's files, those of CSV as text.

        Raises:
            SourceError: A file is missing, empty, unreadable, truncated, not UTF-8, or its header names a column twice.
        """
        files = self._files(table)
        if not files:
            return None
        if files[0].suffix.lower() == ".csv":
            return _csv_sql(files, self._null_markers)
        return _parquet_sql(connection, files, self._null_markers)

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """Files that may have been cut short in their last value, which nothing else would show.

        Values that do not fit and unknown columns are counted in landing, for all kinds.
        """
        files = [file for file in self._files(table) if file.suffix.lower() == ".csv"]
        cut = sum(_ends_within_a_line(file) for file in files)
        what = "a CSV file whose last line has no line break: see that it is complete"
        counted = DefectCount(table=table, defect=what, rows=cut, of_rows=len(files), treatment="kept")
        return (counted,) if cut else ()

    def explain(self, table: str, error: Exception) -> str:
        """What is wrong with the table's files, from an error of the engine, without any value of a row."""
        text = str(error)
        named = re.search(r"^\s*file = (.+)$", text, re.MULTILINE)
        known = {str(path) for path in self._files(table)}
        where = named[1].strip() if named and named[1].strip() in known else f"A file of {table} in {self._root}"
        line = re.search(r"CSV Error on Line: (\d+)", text)
        at = f", line {line[1]}" if line else ""
        width = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
        if "unicode" in text or "utf-8" in text:
            return _not_utf8(f"{where}{at}")
        if width:
            return f"{where}{at}: {width[2]} values where the header names {width[1]} columns. {_MEND}"
        if "unterminated quote" in text:
            return f"{where}{at}: a quote is opened and never closed. {_MEND}"
        return f"{where}{at}: the engine could not read it ({type(error).__name__}). Write the file again."

    def _files(self, table: str) -> list[Path]:
        entries = self._entries()
        found: dict[str, list[Path]] = {}
        for entry in entries:
            if entry.is_file() and entry.stem == table and entry.suffix.lower() in self._endings:
                found[entry.name] = [entry]
            elif entry.is_dir() and entry.name == table:
                for ending in self._endings:
                    if parts := [p for p in _visible(entry) if p.is_file() and p.suffix.lower() == ending]:
                        found[f"{entry.name}/*{ending}"] = parts
        if len(found) > 1:
            raise SourceError(
                f"{self._root} holds {table} more than once: {' and '.join(found)}. Keep one of them, or set "
                "source.files.format to the one that counts."
            )
        if not found and not TABLES[table].is_optional:
            raise SourceError(self._nothing_for(table, entries))
        return next(iter(found.values()), [])

    def _entries(self) -> list[Path]:
        try:
            return _visible(self._root)
        except FileNotFoundError:
            problem = "does not exist"
        except NotADirectoryError:
            problem = "is a file, not a folder"
        except PermissionError:
            problem = "may not be read by this user"
        raise SourceError(f"The source's folder {self._root} {problem}. Set source.location or E2I_DATA.")

    def _nothing_for(self, table: str, entries: Sequence[Path]) -> str:
        sought = [form for ending in self._endings for form in (f"{table}{ending}", f"{table}/*{ending}")]
        present = [f"{p.name}/" if p.is_dir() else p.name for p in entries]
        more = f" and {len(present) - _LISTED} more" if len(present) > _LISTED else ""
        return (
            f"{self._root} holds no input for {table}: looked for {', '.join(sought)}; found "
            f"{', '.join(present[:_LISTED]) or 'nothing'}{more}. Add the file, or declare the table in "
            "source.absent.tables."
        )


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, without hidden entries and the marker files that Spark leaves (`_SUCCESS`)."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))


def _csv_sql(files: Iterable[Path], null_markers: Sequence[str]) -> str:
    groups: dict[tuple[str, tuple[str, ...]], list[Path]] = {}
    for file in files:
        groups.setdefault(_header(file), []).append(file)
    markers = ", ".join(map(literal, null_markers or [_NO_MARKER]))
    parts = []
    for (delimiter, names), members in groups.items():
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
        parts.append(
            f"SELECT * FROM read_csv([{', '.join(map(literal, members))}], columns={{{columns}}}, auto_detect=false, "
            f"header=true, delim={literal(delimiter)}, quote='\"', escape='\"', nullstr=[{markers}], "
            "hive_partitioning=false)"
        )
    return " UNION ALL BY NAME ".join(parts)


def _header(file: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the column names of a CSV file."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            first = text.readline()
            delimiter = max(_DELIMITERS, key=first.count)
            text.seek(0)
            names = next(csv.reader(text, delimiter=delimiter, strict=True), [])
    except UnicodeDecodeError:
        raise SourceError(_not_csv(file)) from None
    except (OSError, csv.Error) as err:
        raise SourceError(f"{file}: its header cannot be read ({type(err).__name__}). Write the file again.") from None
    names = [name or f"unnamed_{position}" for position, name in enumerate(map(str.strip, names), 1)]
    if not names:
        raise SourceError(f"{file} is empty: not even a header. Write the file again, with a line of column names.")
    folded = [name.lower() for name in names]
    # By position: a file without a header has a patient's values here.
    if twice := [str(i) for i, name in enumerate(folded, 1) if folded.count(name) > 1]:
        raise SourceError(
            f"{file}: its first line names a column more than once (columns {', '.join(twice)}). Rename or drop one; "
            "or add a line of column names, if there is none."
        )
    return delimiter, tuple(names)


def _not_csv(file: Path) -> str:
    with file.open("rb") as opened:
        first = opened.read(4)
    found = next((what for begin, what in _BEGINNINGS.items() if first.startswith(begin)), "")
    return f"{file}: {found}." if found else _not_utf8(str(file))


def _ends_within_a_line(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(-1, os.SEEK_END)  # it has a header at least
        return opened.read() not in (b"\n", b"\r")


def _not_utf8(where: str) -> str:
    return f"{where}: not UTF-8, the encoding expected. Convert the file, e.g. iconv -f WINDOWS-1252 -t UTF-8."


def _parquet_sql(connection: "duckdb.DuckDBPyConnection", files: Sequence[Path], null_markers: Sequence[str]) -> str:
    import duckdb

    for file in files:
        try:
            connection.execute(f"DESCRIBE {_read_parquet([file])}")
        except duckdb.Error:
            raise SourceError(
                f"{file} ({file.stat().st_size} bytes) is no complete Parquet file: truncated, or something else under "
                "that name. Write the file again."
            ) from None
    everything = _read_parquet(files)
    markers = ", ".join(map(literal, null_markers))
    texts = [name for name, dtype, *_ in connection.execute(f"DESCRIBE {everything}").fetchall() if dtype == "VARCHAR"]
    if not markers or not texts:
        return everything
    replaced = ", ".join(f"CASE WHEN {quoted(n)} NOT IN ({markers}) THEN {quoted(n)} END AS {quoted(n)}" for n in texts)
    return f"SELECT * REPLACE ({replaced}) FROM ({everything})"


def _read_parquet(files: Sequence[Path]) -> str:
    listed = ", ".join(map(literal, files))
    return f"SELECT * FROM read_parquet([{listed}], union_by_name=true, hive_partitioning=false)"
