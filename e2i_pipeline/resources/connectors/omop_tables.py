"""The OMOP Common Data Model 5.x on disk: which tables and columns the connector reads, and how files become views.

What the rows mean, who enters the cohort and what is left out stands in `omop.py`; what is counted in
`omop_defects.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.errors import SourceError
from e2i_pipeline.resources.engine import literal, quoted

if TYPE_CHECKING:
    import duckdb

PREFIX = "omop_"
"""Begins the name of every temporary view and table of this connector."""


class Layout(NamedTuple):
    """The columns read from one table; an optional one that is not there reads as null."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    is_required: bool = False


class Clinical(NamedTuple):
    """One clinical table, and the canonical event type of its rows.

    Attributes:
        table: OMOP table.
        event_type: Canonical event type.
        key: Primary key.
        concept: Column of the standard concept.
        source_concept: Column of the source concept.
        source_value: Column of the source code; empty where it holds an identifier instead.
        start: Column of the event date.
        end: Column of the end date; empty where the table has none.
    """

    table: str
    event_type: str
    key: str
    concept: str
    source_concept: str
    source_value: str
    start: str
    end: str


CLINICAL: dict[str, Clinical] = {
    table.table: table
    for table in (
        Clinical(
            table="condition_occurrence",
            event_type="diagnosis",
            key="condition_occurrence_id",
            concept="condition_concept_id",
            source_concept="condition_source_concept_id",
            source_value="condition_source_value",
            start="condition_start_date",
            end="condition_end_date",
        ),
        Clinical(
            table="drug_exposure",
            event_type="prescription",
            key="drug_exposure_id",
            concept="drug_concept_id",
            source_concept="drug_source_concept_id",
            source_value="drug_source_value",
            start="drug_exposure_start_date",
            end="drug_exposure_end_date",
        ),
        Clinical(
            table="visit_occurrence",
            event_type="consultation",
            key="visit_occurrence_id",
            concept="visit_concept_id",
            source_concept="visit_source_concept_id",
            source_value="",  # the source system's own number of the visit: an identifier, and no code
            start="visit_start_date",
            end="visit_end_date",
        ),
        Clinical(
            table="procedure_occurrence",
            event_type="procedure",
            key="procedure_occurrence_id",
            concept="procedure_concept_id",
            source_concept="procedure_source_concept_id",
            source_value="procedure_source_value",
            start="procedure_date",
            end="procedure_end_date",
        ),
        Clinical(
            table="measurement",
            event_type="lab_test",
            key="measurement_id",
            concept="measurement_concept_id",
            source_concept="measurement_source_concept_id",
            source_value="measurement_source_value",
            start="measurement_date",
            end="",
        ),
    )
}
"""The clinical tables by name, in the order in which they are reported."""


def _layout(table: Clinical, is_required: bool) -> Layout:
    optional = (table.end, table.source_concept, table.source_value, "provider_id")
    visit = () if table.table == "visit_occurrence" else ("visit_occurrence_id",)
    return Layout(
        required=(table.key, "person_id", table.concept, table.start),
        optional=(*filter(None, optional), *visit),
        is_required=is_required,
    )


LAYOUTS: dict[str, Layout] = {
    "person": Layout(
        required=("person_id", "year_of_birth", "gender_concept_id"),
        optional=("month_of_birth", "day_of_birth", "gender_source_value", "provider_id"),
        is_required=True,
    ),
    "observation_period": Layout(
        required=("person_id", "observation_period_start_date", "observation_period_end_date"), is_required=True
    ),
    **{
        name: _layout(table, name in ("condition_occurrence", "drug_exposure", "visit_occurrence"))
        for name, table in CLINICAL.items()
    },
    "provider": Layout(required=("provider_id",), optional=("specialty_concept_id", "specialty_source_value")),
    "death": Layout(required=("person_id", "death_date")),
    "concept": Layout(required=("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code")),
}
"""The tables that are read, by name. What identifies a person by itself (`birth_datetime`, `npi`, a name) is not read;
year, month and day of birth are, for the age in whole years, and go no further."""

_ENDINGS = (".parquet", ".csv", ".csv.gz")


class OmopFolder:
    """A folder with one file (or folder of files) per OMOP table, as Parquet or CSV; names in any case."""

    def __init__(self, location: str, null_markers: Sequence[str]) -> None:
        """Remembers where to look; nothing is read yet.

        Args:
            location: The folder.
            null_markers: Texts that mean null.
        """
        self._folder = Path(location)
        self._null_markers = tuple(null_markers)

    def files(self) -> dict[str, tuple[Path, ...]]:
        """The files behind each table that is there.

        Raises:
            SourceError: The folder or a required table is not there or not readable, or a table is there twice.
        """
        if not self._folder.is_dir():
            raise SourceError(
                f"The OMOP folder {self._folder} is not there, or is no folder. Set E2I_DATA (or source.location) to "
                "the folder that holds person, visit_occurrence and the other tables as Parquet or CSV."
            )
        try:
            entries = {entry.name.lower(): entry for entry in sorted(self._folder.iterdir())}
        except OSError as err:
            raise SourceError(
                f"The OMOP folder {self._folder} cannot be listed: {err.strerror}. Grant this user leave to read it."
            ) from err
        found = {table: files for table in LAYOUTS if (files := self._files_of(table, entries))}
        missing = [table for table, layout in LAYOUTS.items() if layout.is_required and table not in found]
        if missing:
            raise SourceError(
                f"The OMOP folder {self._folder} lacks {', '.join(missing)} (it has: {', '.join(found) or 'none'}). "
                f"Bring each as <table>{', <table>'.join(_ENDINGS)} or as a folder <table> of such files."
            )
        return found

    def open(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Makes two views per table: `omop_<table>`, cleaned, and `omop_<table>_file`, as it stands in the file.

        Cleaned means: the columns of the layout, all text, trimmed, null markers null, ids without a decimal part. A
        table that may be absent, and is, becomes a view without rows.

        Raises:
            SourceError: A file cannot be read, or a required column is not there.
        """
        found = self.files()
        for table, layout in LAYOUTS.items():
            reader, columns = self._reader(connection, table, found.get(table, ()))
            missing = [name for name in layout.required if reader and name not in columns]
            if missing:
                raise SourceError(
                    f"{table} in {self._folder} lacks the column(s) {', '.join(missing)}; it has "
                    f"{', '.join(sorted(columns))}. The connector reads OMOP CDM 5.x."
                )
            wanted = ", ".join(self._cleaned(name, columns) for name in (*layout.required, *layout.optional))
            origin = f"FROM {reader}" if reader else "WHERE FALSE"
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {PREFIX}{table} AS SELECT {wanted} {origin}")
            whole = f"SELECT * FROM {reader}" if reader else f"SELECT * FROM {PREFIX}{table}"
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {PREFIX}{table}_file AS {whole}")

    def _files_of(self, table: str, entries: Mapping[str, Path]) -> tuple[Path, ...]:
        candidates = [entries[name] for name in (table, *(table + ending for ending in _ENDINGS)) if name in entries]
        if len(candidates) > 1:
            raise SourceError(
                f"The OMOP folder {self._folder} holds {table} more than once: "
                f"{', '.join(c.name for c in candidates)}. Leave only one of them."
            )
        if not candidates or candidates[0].is_file():
            return tuple(candidates)
        return tuple(
            file for file in sorted(candidates[0].iterdir()) if file.is_file() and file.name.lower().endswith(_ENDINGS)
        )

    def _reader(
        self, connection: "duckdb.DuckDBPyConnection", table: str, files: Sequence[Path]
    ) -> tuple[str, dict[str, str]]:
        """The table function that reads a table, and its columns' own names by lower-case name."""
        import duckdb

        if not files:
            return "", {}
        names = "[" + ", ".join(literal(file) for file in files) + "]"
        is_parquet = files[0].name.lower().endswith(".parquet")
        reader = (
            f"read_parquet({names}, union_by_name = true)"
            if is_parquet
            else f"read_csv({names}, header = true, all_varchar = true, union_by_name = true)"
        )
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
        except duckdb.Error as err:
            raise SourceError(
                f"{table} cannot be read from {', '.join(str(file) for file in files)}: "
                f"{type(err).__name__}. See that each file is whole, and Parquet or CSV as its name says."
            ) from None  # the engine quotes what it could not read, and that may be a patient's value
        return reader, {name.lower(): name for name, *_ in described}

    def _cleaned(self, name: str, columns: Mapping[str, str]) -> str:
        if name not in columns:
            return f"CAST(NULL AS VARCHAR) AS {name}"
        text = f"trim(CAST({quoted(columns[name])} AS VARCHAR))"
        if name.endswith("_id"):  # an integer column with nulls is often written as 8507.0
            text = f"regexp_replace({text}, '^(-?[0-9]+)[.]0+$', '\\1')"
        if not self._null_markers:
            return f"{text} AS {name}"
        markers = ", ".join(literal(marker.strip()) for marker in self._null_markers)
        return f"CASE WHEN {text} NOT IN ({markers}) THEN {text} END AS {name}"
