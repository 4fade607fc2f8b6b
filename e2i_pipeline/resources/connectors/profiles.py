"""What lies in a folder of files, column by column: types, counts and forms, without a value of a row.

The one exception are the codes of columns with few of them, each standing in many rows: a person has to map them.
"""

from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.profiles import ColumnProfile, InputProfile, Kind
from e2i_pipeline.contracts.synonyms import AMBIGUOUS_MARKERS, DATE_FORMATS, NULL_MARKERS
from e2i_pipeline.domain.privacy import direct_kind
from e2i_pipeline.errors import SourceError
from e2i_pipeline.resources.connectors.file_formats import (
    ENDINGS,
    columns_of,
    ending_of,
    read_files_sql,
    what_is_wrong,
)
from e2i_pipeline.resources.connectors.input_folder import InputFile, InputFolder, input_folder
from e2i_pipeline.resources.engine import literal, quoted

if TYPE_CHECKING:
    import duckdb

ROWS = 200_000
"""Rows of an input that are looked at."""

_MOST_CODES = 20
_FEWEST_ROWS = 10  # of a code that is shown: what fewer rows have may say who they are
_BAND = r"[\[(<>=]*\s*\d+\s*(?:-|to)\s*\d+\s*[\])]?|[<>]=?\s*\d+|\d+\s*\+"


def profile_folder(connection: "duckdb.DuckDBPyConnection", location: str) -> tuple[InputProfile, ...]:
    """Profiles each input of a folder: a file, or a folder of files of one format.

    Args:
        connection: A connection of the engine.
        location: The folder, or its URL.

    Raises:
        SourceError: It is not there, holds no such file, or one cannot be read.
    """
    import duckdb

    folder, found = input_folder(location), []
    for name, files in _inputs(folder).items():
        try:
            found.append(_profile(connection, name, read_files_sql(connection, folder, files, [""])))
        except duckdb.Error as err:
            raise SourceError(what_is_wrong(files[0].address, err)) from None
    if not found:
        endings = ", ".join(ending for each in ENDINGS.values() for ending in each)
        raise SourceError(f"{folder} holds no file that ends in {endings}. Name the folder of your tables.")
    return tuple(found)


def _inputs(folder: InputFolder) -> dict[str, list[InputFile]]:
    formats = tuple(ENDINGS)
    found: dict[str, list[InputFile]] = {}
    for file in folder.files():
        if ending := ending_of(file.base, formats):
            found.setdefault(file.base[: -len(ending)], [file])
    for entry in folder.entries():
        if entry.is_folder:
            for each in formats:
                files = [file for file in folder.files(entry.name) if ending_of(file.name, (each,))]
                if files:
                    found.setdefault(entry.name, files)
    return dict(sorted(found.items()))


def _profile(connection: "duckdb.DuckDBPyConnection", name: str, query: str) -> InputProfile:
    columns = columns_of(connection, query)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE e2i_profiled AS SELECT * FROM ({query}) LIMIT {ROWS}")
    (rows,) = connection.execute("SELECT count(*) FROM e2i_profiled").fetchone() or (0,)
    profiles = tuple(_column(connection, each, dtype) for each, dtype in columns.items())
    connection.execute("DROP TABLE e2i_profiled")
    return InputProfile(name=name, rows=rows, is_sample=rows == ROWS, columns=profiles)


def _column(connection: "duckdb.DuckDBPyConnection", name: str, dtype: str) -> ColumnProfile:
    text = f"CAST({quoted(name)} AS VARCHAR)"
    likely = ", ".join(map(literal, NULL_MARKERS))
    given = f"CASE WHEN trim({text}) NOT IN ({likely}, '') THEN trim({text}) END"
    markers = (*NULL_MARKERS, *AMBIGUOUS_MARKERS)
    counts = {
        "given": "count(v)",
        "distinct": "count(DISTINCT v)",
        "whole": r"count_if(regexp_full_match(v, '[-+]?\d+'))",
        "leading": r"count_if(regexp_full_match(v, '0\d+'))",
        "numbers": "count(TRY_CAST(v AS DOUBLE))",
        "times": "count_if(regexp_matches(v, '^\\d{4}-\\d\\d?-\\d\\d?') AND TRY_CAST(v AS TIMESTAMP) IS NOT NULL)",
        "bands": f"count_if(regexp_full_match(v, {literal(_BAND)}))",
        **{f"format {form}": f"count(try_strptime(v, {literal(form)}))" for form in DATE_FORMATS},
        **{f"marker {marker}": f"count_if(t = {literal(marker)})" for marker in markers},
    }
    looked_at = f"SELECT {given} AS v, trim({text}) AS t FROM e2i_profiled"
    row = connection.execute(f"SELECT {', '.join(counts.values())} FROM ({looked_at})").fetchone()
    of = dict(zip(counts, row or (0,) * len(counts), strict=True))
    is_shown = 0 < of["distinct"] <= _MOST_CODES and not direct_kind(name)
    return ColumnProfile(
        name=name,
        dtype=dtype,
        given=of["given"],
        distinct=of["distinct"],
        kind=_kind(of),
        formats=_formats(of),
        markers={marker: of[f"marker {marker}"] for marker in markers if of[f"marker {marker}"]},
        codes=_codes(connection, given) if is_shown else (),
    )


def _kind(of: dict[str, Any]) -> Kind:
    if not of["given"]:
        return "empty"
    if of["times"] == of["given"]:
        return "date"
    if of["numbers"] == of["given"] and "%Y%m%d" in _formats(of):
        return "formatted"  # eight digits that are a date in nearly all rows are no number
    if of["numbers"] == of["given"] and not of["leading"]:
        return "whole" if of["whole"] == of["given"] else "number"
    if of["bands"] >= 0.9 * of["given"]:
        return "band"
    return "formatted" if _formats(of) else "text"


def _formats(of: dict[str, Any]) -> tuple[str, ...]:
    """The forms that nearly all values have, where they are no plain numbers; eight digits may be a date."""
    if of["times"] or not of["given"]:
        return ()
    return tuple(form for form in DATE_FORMATS if of[f"format {form}"] >= 0.98 * of["given"])


def _codes(connection: "duckdb.DuckDBPyConnection", given: str) -> tuple[str, ...]:
    rows = connection.execute(
        f"SELECT v, count(*) FROM (SELECT {given} AS v FROM e2i_profiled) WHERE v IS NOT NULL GROUP BY v ORDER BY v"
    ).fetchall()
    return tuple(code for code, _ in rows) if all(count >= _FEWEST_ROWS for _, count in rows) else ()
