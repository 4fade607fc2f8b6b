"""What is said of an input whose mapping is to be drafted: names, types, counts and forms, no row."""

from typing import Literal

from pydantic import Field

from e2i_pipeline.contracts.base import Contract

Kind = Literal["date", "formatted", "whole", "number", "band", "text", "empty"]


class ColumnProfile(Contract):
    """One column of an input.

    Attributes:
        name: As the input names it.
        dtype: DuckDB type; VARCHAR for all of CSV and JSON.
        given: Rows with a value that is no likely null marker.
        distinct: Different values among them.
        kind: What all values are: `date` (or time, in ISO form), `formatted` (dates of another form), `whole`,
            `number`, `band` (`[70-80)`), `text`, or `empty`.
        formats: Forms of dates that nearly all values have.
        markers: Rows by text that may mean null.
        codes: The different values, where they are few and each stands in many rows; empty otherwise.
    """

    name: str
    dtype: str
    given: int
    distinct: int
    kind: Kind
    formats: tuple[str, ...] = ()
    markers: dict[str, int] = Field(default_factory=dict)
    codes: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether all values are numbers."""
        return self.kind in ("whole", "number")


class InputProfile(Contract):
    """One input.

    Attributes:
        name: Name of the file or folder without its ending.
        rows: Rows looked at.
        is_sample: Whether there are more.
        columns: In the input's order.
    """

    name: str
    rows: int
    is_sample: bool
    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile | None:
        """The column of this name."""
        return next((column for column in self.columns if column.name == name), None)

    def is_key(self, name: str) -> bool:
        """Whether a column has another value in each row that was looked at."""
        column = self.column(name)
        return column is not None and 0 < self.rows == column.distinct

    def is_nearly_key(self, name: str) -> bool:
        """Likewise, but for a few rows, as where a file was exported twice in part."""
        column = self.column(name)
        return column is not None and 0 < 0.98 * self.rows <= column.distinct
