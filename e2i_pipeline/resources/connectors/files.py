"""The user's own files: CSV, JSON or Parquet, one file or one folder per table, in a folder or behind a URL.

With canonical names as they are; with others by the mapping that `source.tables` declares. How a format is read stands
in `file_formats.py`, where files lie in `input_folder.py`.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.mapping import TableMapping
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.mapping import expressions
from e2i_pipeline.domain.mapping_check import check_mappings
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.connectors.file_formats import (
    DELIMITERS,
    ENDINGS,
    columns_of,
    ending_of,
    read_files_sql,
    what_is_wrong,
)
from e2i_pipeline.resources.connectors.input_folder import Entry, InputFile, InputFolder, input_folder
from e2i_pipeline.resources.connectors.mapped import MappedInput, map_input

if TYPE_CHECKING:
    import duckdb

_LISTED = 20  # names of present files in a message
_OF_VALUES = ("InvalidInputException", "OutOfRangeException")
"""What the engine raises where an expression meets a value that it cannot take."""


class FilesConnector:
    """A `Connector` over a folder of files.

    Args:
        location: The folder, or its URL.
        format: `auto` takes any by the file name's ending, `csv`, `json` and `parquet` only the one.
        null_markers: Texts that mean null, in CSV and JSON and in the text columns of Parquet.
        tables: Mapping by canonical table; a table without one has canonical names.
        covariates: Columns beyond the data dictionary that a table may have.

    Raises:
        ConfigurationError: A null marker holds a delimiter, a quote or a line break; a mapping contradicts the data
            dictionary; or the location is a URL that nothing here reads.
    """

    def __init__(
        self,
        location: str | Path,
        format: str = "auto",
        null_markers: Sequence[str] = ("",),
        tables: Mapping[str, TableMapping] | None = None,
        covariates: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._folder: InputFolder = input_folder(location)
        self._formats = ("csv", "parquet", "json") if format == "auto" else (format,)
        self._null_markers = tuple(null_markers)
        self._tables, self._covariates = dict(tables or {}), dict(covariates or {})
        check_mappings(self._tables, self._covariates)
        for mapping in self._tables.values():
            _check_markers(mapping.null_markers or ())
        _check_markers(null_markers)
        self._mapped: dict[str, MappedInput] = {}

    def fingerprint(self, table: str) -> str:
        """Name, size and time of change of each file of the table, and how they are read.

        Raises:
            SourceError: The folder or the files of a required table are not there.
        """
        try:
            files = [(file.name, file.size, file.stamp) for file in self._files(table)]
        except OSError as err:
            raise SourceError(
                f"A file of {table} in {self._folder} went away while it was looked at. Run again."
            ) from err
        mapping = self._tables.get(table)
        if mapping is None:
            return content_key(table, files, self._markers(table))
        return content_key(table, files, self._markers(table), mapping, sorted(self._covariates.get(table, ())))

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str | None:
        """The columns of the table's files, those of CSV and JSON as text, mapped where a mapping is declared.

        Raises:
            SourceError: A file is missing, empty, unreadable, truncated, not UTF-8, or its header names a column twice;
                or it lacks a column that the mapping names.
            ConfigurationError: An expression of the mapping is not one, or does not fit its input.
        """
        files = self._files(table)
        if not files:
            return None
        rows = read_files_sql(connection, self._folder, files, self._markers(table))
        mapping = self._tables.get(table)
        if mapping is None:
            return rows
        where = files[0].address if len(files) == 1 else f"{self._folder}/{self._input(table)}"
        covariates = self._covariates.get(table, ())
        mapped = map_input(connection, table, mapping, rows, columns_of(connection, rows), covariates, where)
        self._mapped[table] = mapped
        return mapped.query

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """Files that may have been cut short in their last value, which nothing else would show, and what did not fit.

        Values that do not fit their type and unknown columns are counted in landing, for all kinds.
        """
        files = [file for file in self._files(table) if file.name.lower().endswith(".csv")]
        cut = sum(self._ends_within_a_line(file) for file in files)
        what = "a CSV file whose last line has no line break: see that it is complete"
        counted = DefectCount(table=table, defect=what, rows=cut, of_rows=len(files), treatment="kept")
        of_mapping = self._mapped[table].defects(connection) if table in self._mapped else ()
        return (*((counted,) if cut else ()), *of_mapping)

    def explain(self, table: str, error: Exception) -> str:
        """What is wrong with the table's files, from an error of the engine, without any value of a row."""
        own = list(expressions(self._mapped[table].mapping)) if table in self._mapped else []
        name = type(error).__name__
        # The engine may cast while it reads CSV, whose columns are texts: no other conversion fails there.
        if own and (name == "ConversionException" or (name in _OF_VALUES and "CSV Error" not in str(error))):
            return (
                f"A value of {table} in {self._folder} is none that an expression of its mapping can take "
                f"({name}); it has {', '.join(own)}. TRY_CAST in place of CAST, and try_strptime in "
                "place of strptime, give null there."
            )
        named = re.search(r"^\s*file = (.+)$", str(error), re.MULTILINE) or re.search(r'in file "(.+?)"', str(error))
        known = {file.address for file in self._files(table)}
        where = next(iter(known)) if len(known) == 1 else f"A file of {table} in {self._folder}"
        where = named[1].strip() if named is not None and named[1].strip() in known else where
        return what_is_wrong(where, error)

    def _input(self, table: str) -> str:
        mapping = self._tables.get(table)
        return table if mapping is None or mapping.given is None else mapping.given

    def _markers(self, table: str) -> tuple[str, ...]:
        mapping = self._tables.get(table)
        return self._null_markers if mapping is None or mapping.null_markers is None else mapping.null_markers

    def _files(self, table: str) -> list[InputFile]:
        entries, name = self._folder.entries(), self._input(table)
        found: dict[str, list[InputFile]] = {}
        if any(_stem(entry, self._formats) == name for entry in entries):
            found = {
                file.base: [file]
                for file in self._folder.files()
                if _stem(Entry(file.base, False), self._formats) == name
            }
        if Entry(name, True) in entries:
            for kind in self._formats:
                parts = [f for f in self._folder.files(name) if ending_of(f.name, (kind,))]
                if parts:
                    found[f"{name}/*.{kind}"] = parts
        if len(found) > 1:
            raise SourceError(
                f"{self._folder} holds {name} more than once: {' and '.join(found)}. Keep one of them, or set "
                "source.files.format to the one that counts."
            )
        if not found and (not TABLES[table].is_optional or table in self._tables):
            raise SourceError(self._nothing_for(table, entries))
        return next(iter(found.values()), [])

    def _nothing_for(self, table: str, entries: Sequence[Entry]) -> str:
        name = self._input(table)
        sought = [
            form for kind in self._formats for form in (f"{name}{ENDINGS[kind][0]}", f"{name}/*{ENDINGS[kind][0]}")
        ]
        present = [f"{entry.name}/" if entry.is_folder else entry.name for entry in entries]
        more = f" and {len(present) - _LISTED} more" if len(present) > _LISTED else ""
        remedy = (
            "Correct source.tables, or add the file."
            if table in self._tables
            else "Add the file, name another in source.tables, or declare the table in source.absent.tables."
        )
        return (
            f"{self._folder} holds no input for {table}: looked for {', '.join(sought)}; found "
            f"{', '.join(present[:_LISTED]) or 'nothing'}{more}. {remedy}"
        )

    def _ends_within_a_line(self, file: InputFile) -> bool:
        with self._folder.open(file) as opened:
            opened.seek(-1, os.SEEK_END)  # it has a header at least
            return opened.read() not in (b"\n", b"\r")


def _stem(entry: Entry, formats: Sequence[str]) -> str | None:
    """The name of a file without the ending of a format; None where it has none, and for a folder."""
    ending = "" if entry.is_folder else ending_of(entry.name, formats)
    return entry.name[: -len(ending)] if ending else None


def _check_markers(null_markers: Sequence[str]) -> None:
    if any(set(marker) & set(f'{DELIMITERS}"\r\n') for marker in null_markers):
        raise ConfigurationError("source.files.null_markers: a marker holds no delimiter, quote or line break.")
