"""A folder with one file, or one folder of files, per table of a clinical standard, as views in the engine.

Which tables and columns a standard has stands in its `<standard>_tables.py`; what the rows mean stands elsewhere.
"""

import csv
import gzip
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.errors import SourceError
from e2i_pipeline.resources.engine import literal, quoted

if TYPE_CHECKING:
    import duckdb

ENDINGS = (".parquet", ".csv", ".csv.gz")

_DELIMITERS = ",;\t|"

_CREDIBLE_SHARE = 0.01  # of rows after the files were written; with more, it is the files' times that are wrong


class Layout(NamedTuple):
    """The columns read from one table; an optional one that is not there reads as null.

    Attributes:
        required: Columns that must be there.
        optional: Columns that may be.
        is_required: Whether the table must be there.
        renamed: Other names of a column, of older or newer generations of the standard, by the name read here.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    is_required: bool = False
    renamed: Mapping[str, tuple[str, ...]] = {}


class Standard(NamedTuple):
    """A clinical standard on disk.

    Attributes:
        name: As users know it, e.g. `OMOP`.
        prefix: Begins the name of every temporary view of its connector.
        layouts: The tables that are read, by name in lower case.
        reads: What the connector reads, to end a message with.
        is_number: Whether a column, by name, holds whole numbers as text: a tool may have written `8507.0`.
    """

    name: str
    prefix: str
    layouts: Mapping[str, Layout]
    reads: str
    is_number: Callable[[str], bool]


class TableFolder:
    """A folder with one file (or folder of files) per table, as Parquet or CSV; names in any case."""

    def __init__(self, standard: Standard, location: str, null_markers: Sequence[str]) -> None:
        """Remembers where to look; nothing is read yet.

        Args:
            standard: What lies there.
            location: The folder.
            null_markers: Texts that mean null.
        """
        self._standard = standard
        self._folder = Path(location)
        self._null_markers = tuple(null_markers)

    def files(self) -> dict[str, tuple[Path, ...]]:
        """The files behind each table that is there.

        Raises:
            SourceError: The folder or a required table is not there or not readable, or a table is there twice.
        """
        name, layouts = self._standard.name, self._standard.layouts
        required = [table for table, layout in layouts.items() if layout.is_required]
        if not self._folder.is_dir():
            raise SourceError(
                f"The {name} folder {self._folder} is not there, or is no folder. Set E2I_DATA (or source.location) to "
                f"the folder that holds {', '.join(required)} and the other tables as Parquet or CSV."
            )
        try:
            entries = {entry.name.lower(): entry for entry in sorted(self._folder.iterdir())}
        except OSError as err:
            raise SourceError(
                f"The {name} folder {self._folder} cannot be listed: {err.strerror}. Grant this user leave to read it."
            ) from err
        found = {table: files for table in layouts if (files := self._files_of(table, entries))}
        if missing := [table for table in required if table not in found]:
            raise SourceError(
                f"The {name} folder {self._folder} lacks {', '.join(missing)} (it has: {', '.join(found) or 'none'}). "
                f"Bring each as <table>{', <table>'.join(ENDINGS)} or as a folder <table> of such files."
            )
        return found

    def stamps(self) -> list[tuple[str, str, int, int]]:
        """Table, name, size and time of change of each file: what a fingerprint is made of.

        Raises:
            SourceError: As for `files`; also where a file goes away while it is looked at.
        """
        try:
            return [
                (table, file.name, file.stat().st_size, file.stat().st_mtime_ns)
                for table, paths in sorted(self.files().items())
                for file in paths
            ]
        except OSError as err:
            raise SourceError(f"A file in {self._folder} went away while it was looked at. Run again.") from err

    def open(self, connection: "duckdb.DuckDBPyConnection") -> dict[str, tuple[str, ...]]:
        """Makes two views per table: `<prefix><table>`, cleaned, and `<prefix><table>_file`, as it stands in the file.

        Cleaned means: the columns of the layout, all text, trimmed, null markers null, numbers without a decimal part.
        A table that may be absent, and is, becomes a view without rows.

        Returns:
            The columns of each table that is there, in the file's own spelling.

        Raises:
            SourceError: A file cannot be read, or a required column is not there.
        """
        found, delivered = self.files(), dict[str, tuple[str, ...]]()
        prefix = self._standard.prefix
        for table, layout in self._standard.layouts.items():
            reader, columns = self._reader(connection, table, found.get(table, ()))
            named = {name: _column(name, layout, columns) for name in (*layout.required, *layout.optional)}
            missing = [name for name in layout.required if reader and named[name] is None]
            if missing:
                raise SourceError(
                    f"{table} in {self._folder} lacks the column(s) {', '.join(missing)}; it has "
                    f"{', '.join(sorted(columns))}. The connector reads {self._standard.reads}."
                )
            wanted = ", ".join(self._cleaned(name, column) for name, column in named.items())
            origin = f"FROM {reader}" if reader else "WHERE FALSE"
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {prefix}{table} AS SELECT {wanted} {origin}")
            whole = f"SELECT * FROM {reader}" if reader else f"SELECT * FROM {prefix}{table}"
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {prefix}{table}_file AS {whole}")
            if reader:
                delivered[table] = tuple(columns.values())
        return delivered

    def last_written(self) -> float:
        """When the newest file was written, in seconds since the epoch."""
        return max(file.stat().st_mtime for paths in self.files().values() for file in paths)

    def explain(self, table: str, err: Exception) -> str:
        """What it means that the engine failed while it read the rows behind a canonical table, in words.

        The engine's own words are not repeated: they may quote a patient's value.
        """
        names = sorted({file.name for files in self.files().values() for file in files})
        return (
            f"{table} could not be read from the {self._standard.name} files ({', '.join(names)}): "
            f"{type(err).__name__}. See that each file is whole: a CSV has the same number of fields in every line, "
            "one header, and is in UTF-8."
        )

    def _files_of(self, table: str, entries: Mapping[str, Path]) -> tuple[Path, ...]:
        candidates = [entries[name] for name in (table, *(table + ending for ending in ENDINGS)) if name in entries]
        if len(candidates) > 1:
            raise SourceError(
                f"The {self._standard.name} folder {self._folder} holds {table} more than once: "
                f"{', '.join(c.name for c in candidates)}. Leave only one of them."
            )
        if not candidates or candidates[0].is_file():
            return tuple(candidates)
        return tuple(
            file for file in sorted(candidates[0].iterdir()) if file.is_file() and file.name.lower().endswith(ENDINGS)
        )

    def _reader(
        self, connection: "duckdb.DuckDBPyConnection", table: str, files: Sequence[Path]
    ) -> tuple[str, dict[str, str]]:
        """The table function that reads a table, and its columns' own names by lower-case name."""
        import duckdb

        if not files:
            return "", {}
        is_parquet = files[0].name.lower().endswith(".parquet")
        reader = _parquet_reader(files) if is_parquet else _csv_reader(files)
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
        except duckdb.Error as err:
            raise SourceError(
                f"{table} cannot be read from {', '.join(str(file) for file in files)}: "
                f"{type(err).__name__}. See that each file is whole, and Parquet or CSV as its name says."
            ) from None  # the engine quotes what it could not read, and that may be a patient's value
        return reader, {name.lower(): name for name, *_ in described}

    def _cleaned(self, name: str, column: str | None) -> str:
        if column is None:
            return f"CAST(NULL AS VARCHAR) AS {quoted(name)}"
        text = f"trim(CAST({quoted(column)} AS VARCHAR))"
        if self._standard.is_number(name):
            text = f"regexp_replace({text}, '^(-?[0-9]+)[.]0+$', '\\1')"
        if not self._null_markers:
            return f"{text} AS {quoted(name)}"
        markers = ", ".join(literal(marker.strip()) for marker in self._null_markers)
        return f"CASE WHEN {text} NOT IN ({markers}) THEN {text} END AS {quoted(name)}"


def date_sql(column: str) -> str:
    """A text as a date: ISO dates, timestamps, and eight digits; null where it is none of these."""
    return f"coalesce(TRY_CAST({column} AS DATE), CAST(try_strptime({column}, '%Y%m%d') AS DATE))"


def plausible_days(
    connection: "duckdb.DuckDBPyConnection", folder: TableFolder, starts: Collection[tuple[str, str]], what: str
) -> tuple[date, date]:
    """The last day on which an event can have happened, and the latest day up to it on which one did.

    A file cannot tell of what happened after it was written (a day of grace, for time zones). Where more than one row
    in a hundred claims to, the file's time was set by a copying tool, and is not believed.

    Args:
        connection: The connection with the views of `TableFolder.open`.
        folder: The folder.
        starts: View and column of each event table's dates.
        what: What has dates, for the message.

    Raises:
        SourceError: No event has a date that can be read.
    """
    ceiling = datetime.fromtimestamp(folder.last_written(), tz=UTC).date() + timedelta(days=1)
    dates = " UNION ALL ".join(f"SELECT {date_sql(column)} AS day FROM {view}" for view, column in starts)
    of_days, later, latest, last = connection.execute(
        f"SELECT count(day), count(*) FILTER (day > DATE '{ceiling}'), max(day) FILTER (day <= DATE '{ceiling}'), "
        f"max(day) FROM ({dates})"
    ).fetchone() or (0, 0, None, None)
    if last is None:
        raise SourceError(
            f"No row of {what} has a readable event date. Dates must be ISO (2019-01-31) or eight digits (20190131)."
        )
    if latest is None or later > _CREDIBLE_SHARE * of_days:
        return date.max, last
    return ceiling, latest


def _parquet_reader(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(map(literal, files))}], union_by_name = true)"


def _csv_reader(files: Sequence[Path]) -> str:
    """The files as one relation of texts; nothing is left for the engine to guess from a sample that may mislead it."""
    groups: dict[tuple[str, tuple[str, ...]], list[Path]] = {}
    for file in files:
        groups.setdefault(_header(file), []).append(file)
    parts = []
    for (delimiter, names), members in groups.items():
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
        parts.append(
            f"SELECT * FROM read_csv([{', '.join(map(literal, members))}], columns = {{{columns}}}, "
            f"auto_detect = false, header = true, delim = {literal(delimiter)}, quote = '\"', escape = '\"')"
        )
    return f"({' UNION ALL BY NAME '.join(parts)})"


def _header(file: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the column names of a CSV file.

    Raises:
        SourceError: It has no header in UTF-8, or one that names a column twice.
    """
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    try:
        with opened(file, "rt", encoding="utf-8-sig", newline="") as text:
            line = text.readline()
    except (OSError, EOFError, UnicodeDecodeError) as err:
        raise SourceError(
            f"{file}: its header cannot be read ({type(err).__name__}). A CSV file must be in UTF-8, and whole."
        ) from None
    delimiter = max(_DELIMITERS, key=line.count)
    names = [name.strip() for row in csv.reader([line], delimiter=delimiter) for name in row]
    folded = [name.lower() for name in names]
    # By position: a file without a header has a patient's values here.
    if odd := [str(i) for i, name in enumerate(folded, 1) if not name or folded.count(name) > 1]:
        raise SourceError(
            f"{file}: its first line names column(s) {', '.join(odd)} not at all or twice. Give each column one name."
        )
    if not names:
        raise SourceError(f"{file} is empty: not even a header. Write the file again, with a line of column names.")
    return delimiter, tuple(names)


def _column(name: str, layout: Layout, columns: Mapping[str, str]) -> str | None:
    """The file's own name of a column, under which name soever it goes there."""
    return next((columns[n] for n in (name, *layout.renamed.get(name, ())) if n in columns), None)
