"""How a source's own tables become canonical ones, as declared in `source.tables`. Data only.

A mapping speaks of two kinds of names: *canonical* ones (of the data dictionary, or of a configured covariate), which
are the keys of `columns`, and those of the *input*, which stand everywhere else. What becomes of it as SQL stands in
`domain/mapping.py`.
"""

from datetime import date
from typing import Any, Literal, cast

from pydantic import ConfigDict, Field, field_validator, model_validator

from e2i_pipeline.contracts.base import Contract

ROW = "_row"
"""Column that a mapping may name beside those of the input: the row's position in the input, from 1."""

STEP = "_step"
"""Likewise: the row's position in its declared order, from 1."""

REPETITION = "_repetition"
"""Likewise: which of the rows that `repeat` makes of one this is, from 1."""

MADE = (ROW, STEP, REPETITION)

UNITS: dict[str, tuple[str, float, float]] = {
    "g": ("mass", 0.001, 0.0),
    "kg": ("mass", 1.0, 0.0),
    "mg": ("mass", 1e-6, 0.0),
    "lb": ("mass", 0.45359237, 0.0),
    "oz": ("mass", 0.028349523125, 0.0),
    "cm": ("length", 0.01, 0.0),
    "m": ("length", 1.0, 0.0),
    "mm": ("length", 0.001, 0.0),
    "in": ("length", 0.0254, 0.0),
    "ft": ("length", 0.3048, 0.0),
    "minutes": ("time", 1 / 1440, 0.0),
    "hours": ("time", 1 / 24, 0.0),
    "days": ("time", 1.0, 0.0),
    "weeks": ("time", 7.0, 0.0),
    "months": ("time", 30.436875, 0.0),
    "years": ("time", 365.2425, 0.0),
    "percent": ("share", 0.01, 0.0),
    "share": ("share", 1.0, 0.0),
    "celsius": ("temperature", 1.0, 0.0),
    "fahrenheit": ("temperature", 5 / 9, -160 / 9),
    "kelvin": ("temperature", 1.0, -273.15),
}
"""Units by name: what they measure, and factor and offset to the first unit of their kind with factor 1. A month and a
year are the Gregorian calendar's mean ones."""

Scalar = bool | int | float | str | date | None


class Unit(Contract):
    """A conversion, e.g. `{from: lb, to: kg}`.

    Attributes:
        given: Unit of the input's values (`from` in YAML); a key of `UNITS`.
        to: Unit that the canonical column wants.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    given: str = Field(alias="from")
    to: str

    @model_validator(mode="after")
    def _convertible(self) -> "Unit":
        for name in (self.given, self.to):
            if name not in UNITS:
                raise ValueError(f"{name} is no unit known here; there are {', '.join(UNITS)}. Use scale and offset")
        if UNITS[self.given][0] != UNITS[self.to][0]:
            raise ValueError(f"{self.given} is a {UNITS[self.given][0]}, and {self.to} a {UNITS[self.to][0]}")
        return self

    @property
    def line(self) -> tuple[float, float]:
        """Scale and offset of the conversion: `to = from * scale + offset`."""
        _, up, shift = UNITS[self.given]
        _, down, back = UNITS[self.to]
        return up / down, (shift - back) / down


class ColumnMapping(Contract):
    """Where the values of one canonical column come from, and how they are to be read.

    At most one of `column`, `join`, `sql` and `value` says where from; with none of them it is the input's column of
    the same name. At most one of `format`, `band`, `codes` and `unit` or `scale` and `offset` says how to read it.

    Attributes:
        column: Column of the input.
        join: Columns of the input whose values, with `-` between them, make one; null where one of them is.
        sql: One DuckDB expression over the columns of a row of the input.
        value: One value for all rows.
        format: Forms of a date or time, as strptime's (`%d.%m.%Y`), tried in this order.
        timezone: Time zone of times that name none, e.g. `Europe/Zurich`; staged times are in UTC.
        band: Which number is taken of a text with one or two (`[70-80)`, `80+`): `lower`, `middle` (rounded down) or
            `upper`.
        unit: A conversion between two units.
        scale: Factor on a number.
        offset: What is added to it then.
        codes: Canonical value by value of the input.
        other: What a value becomes that is none of the codes: `keep` leaves it, null (the default) is counted as a
            defect, anything else stands in its place.
        missing: What null becomes.
    """

    column: str | None = None
    join: tuple[str, ...] | None = Field(default=None, min_length=2)
    sql: str | None = None
    value: Scalar = None
    format: tuple[str, ...] | None = Field(default=None, min_length=1)
    timezone: str | None = None
    band: Literal["lower", "middle", "upper"] | None = None
    unit: Unit | None = None
    scale: float | None = None
    offset: float | None = None
    codes: dict[str, Scalar] | None = Field(default=None, min_length=1)
    other: Scalar = None
    missing: Scalar = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        """`patient_id: pid` is short for `patient_id: {column: pid}`."""
        return {"column": given} if isinstance(given, str) else given

    @field_validator("format", mode="before")
    @classmethod
    def _one_form(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("codes", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        codes = cast(dict[Any, Any], given)
        if any(key is None or isinstance(key, bool) for key in codes):
            raise ValueError('YAML reads NO, yes, on, off and null as no text: put such a code in quotes ("NO": 0)')
        return {str(key): value for key, value in codes.items()}

    @model_validator(mode="after")
    def _once(self) -> "ColumnMapping":
        origins = [name for name in ("column", "join", "sql", "value") if self._is(name)]
        if len(origins) > 1:
            raise ValueError(f"{' and '.join(origins)} both say where the values come from: keep one")
        readings = [name for name in ("format", "band", "codes", "unit") if self._is(name)]
        readings += ["scale"] if self._is("scale") or self._is("offset") else []
        if len(readings) > 1:
            raise ValueError(f"{' and '.join(readings)} both say how to read a value: keep one, or write it as sql")
        if self.other is not None and not self.codes:
            raise ValueError("other says what becomes of a value that is none of the codes: there are no codes")
        if self.value is not None and (readings or self.timezone):
            raise ValueError(f"value is the same in all rows: there is nothing to read by {readings or 'timezone'}")
        return self

    @property
    def line(self) -> tuple[float, float] | None:
        """Scale and offset, where the column is a number to be converted."""
        if self.unit is not None:
            return self.unit.line
        if self.scale is None and self.offset is None:
            return None
        return 1.0 if self.scale is None else self.scale, self.offset or 0.0

    def _is(self, name: str) -> bool:
        return getattr(self, name) is not None


class Order(Contract):
    """A date made of an order, for an input without dates.

    Attributes:
        to: Canonical column that gets the date; None takes the table's event time.
        within: Columns of the input within whose equal values rows are counted; none counts through the whole input.
        by: Columns that order the rows, numbers as numbers; rows with equal values share a step. None takes the
            input's own order, each row a step.
        start: Date of the first step.
        every: What lies between two dates.
        rows: Steps that share a date.
    """

    to: str | None = None
    within: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    start: date
    every: Literal["day", "week", "month"]
    rows: int = Field(default=1, ge=1)

    @field_validator("within", "by", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


class OneRow(Contract):
    """Keeps one row of several, e.g. the first encounter of each patient.

    Attributes:
        per: Columns of the input: one row is kept for each of their values.
        by: Columns that order the rows, numbers as numbers; none takes the input's own order.
        which: Which one stays.
    """

    per: tuple[str, ...] = Field(min_length=1)
    by: tuple[str, ...] = ()
    which: Literal["first", "last"] = "first"

    @field_validator("per", "by", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


class TableMapping(Contract):
    """How one canonical table is made of an input.

    It is done in this order: duplicates by `key`, `order` (so that a row's date does not depend on `where`), `where`,
    `one_row`, `repeat`, then the columns.

    Attributes:
        given: Name of the input (`from` in YAML): a file or folder without its ending, or a table of a database; None
            takes the canonical name. Several canonical tables may be made of one input.
        columns: By canonical column or column of a covariate.
        where: One DuckDB expression over the columns of a row; rows for which it is true stay.
        key: Canonical columns that name a row. Only where it is declared are rows that are equal throughout taken as
            one; rows of one key that differ stay, and are counted.
        order: A date made of an order.
        one_row: Keeps one row of several.
        repeat: Column of the input that says how many rows are made of one, 0 to `MOST_ROWS`.
        unlisted: `keep` lets columns of the input that nothing above names through under their own names; `drop` only
            those that a covariate is made of.
        null_markers: Texts that mean null in this input, in place of the source's.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    given: str | None = Field(default=None, alias="from", min_length=1)
    columns: dict[str, ColumnMapping] = Field(default_factory=dict)
    where: str | None = None
    key: tuple[str, ...] = ()
    order: Order | None = None
    one_row: OneRow | None = None
    repeat: str | None = None
    unlisted: Literal["keep", "drop"] = "keep"
    null_markers: tuple[str, ...] | None = None

    @field_validator("key", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


MOST_ROWS = 10_000
"""Rows that `repeat` makes of one, at most: a greater number is a mistake, and counted as one."""
