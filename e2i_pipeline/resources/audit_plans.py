"""What a suite means for one table: which expectations run, which are skipped and why, and the batch they run on.

Reading suites belongs in `suites.py`, running them in `great_expectations.py`.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.contracts.tables import SUPERSEDED_AT, TABLES
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.engine import literal, parquet, timestamp
from e2i_pipeline.resources.pushdown.batch import Batch
from e2i_pipeline.resources.pushdown.columns import Field
from e2i_pipeline.resources.suites import COMPOUND, EXISTS, Expectation, Suite, parameters_in

VERSIONS = "versions"
"""Parameter that a suite's conditions may ask for: `several` where rows can be restated or deleted, else `one`."""


class Step(NamedTuple):
    """What to do with one expectation: run it with `type` and `kwargs`, or report `status` for `reason`."""

    expectation: Expectation
    type: str
    kwargs: dict[str, Any]
    status: str = ""
    reason: str = ""


def plan(
    suite: Suite,
    table: TableRef,
    parameters: Mapping[str, Any],
    absent: Iterable[str],
    references: Mapping[str, TableRef],
) -> tuple[Step, ...]:
    """What to do with each expectation of a suite on a table.

    Args:
        suite: The suite.
        table: The table.
        parameters: From `domain.quality.suite_parameters`.
        absent: Columns that the source declares it cannot have.
        references: Tables that helper columns may look into, by name.

    Raises:
        ConfigurationError: The suite needs a parameter that was not given.
    """
    if table.is_absent:
        reason = f"the source has no {table.name}"
        return tuple(Step(e, e.type, {}, "skipped", reason) for e in suite.expectations)
    parameters = {**parameters, VERSIONS: "several" if table.has(SUPERSEDED_AT) else "one"}
    missing = sorted(suite.parameters - set(parameters) - set(suite.optional_parameters))
    if missing:
        raise ConfigurationError(
            f"Suite {suite.name} on {table.name} needs the parameters {', '.join(missing)}. Give them with the call."
        )
    planner = _Planner(suite, table, dict(parameters), frozenset(absent) | set(table.absent_columns), dict(references))
    return tuple(planner.step(e) for e in suite.expectations)


def batch(
    suite: Suite,
    steps: Iterable[Step],
    table: TableRef,
    parameters: Mapping[str, Any],
    references: Mapping[str, TableRef],
    split: str = "",
) -> Batch:
    """The rows and columns to audit: only the columns that the planned steps need, helper columns computed.

    Helper columns see the whole table, also where one split is selected.
    """
    wanted: dict[str, None] = {}
    for step in steps:
        if not step.status:
            entry = step.expectation._replace(kwargs=step.kwargs)
            wanted |= dict.fromkeys((*entry.columns, *entry.condition_columns))
            if step.type.startswith("expect_table_column"):
                wanted |= dict.fromkeys(column.name for column in table.columns)
    present = [c for c in wanted if c in suite.derived or table.has(c)]
    return Batch(
        table=parquet(table.location),
        fields={c: Field(c, "") for c in present},
        helpers={c: _sql(suite.derived[c].sql, table, parameters, references) for c in present if c in suite.derived},
        where=f"data_split = {literal(split)}" if split else "",
    )


class _Planner(NamedTuple):
    suite: Suite
    table: TableRef
    parameters: dict[str, Any]
    absent: frozenset[str]
    references: dict[str, TableRef]

    def step(self, entry: Expectation) -> Step:
        parameter, _, value = entry.when.partition("=")
        if entry.when and str(self.parameters[parameter]) != value:
            return Step(entry, entry.type, {}, "skipped", f"it applies where {parameter} is {value}")
        if unset := [p for p in parameters_in(entry.kwargs) if self._is_unset(p)]:
            return Step(entry, entry.type, {}, "skipped", f"{', '.join(unset)} is not configured")
        kwargs = {k: v for k, v in entry.kwargs.items() if not self._is_open(v)}
        kind = entry.type
        if kind == COMPOUND:
            kind, kwargs = self._without_droppable(kwargs)
        return self._judged(entry, kind, kwargs)

    def _judged(self, entry: Expectation, kind: str, kwargs: dict[str, Any]) -> Step:
        reduced = entry._replace(kwargs=kwargs)
        used = (*reduced.columns, *reduced.condition_columns)
        if kind == COMPOUND and not reduced.columns:
            return Step(entry, kind, {}, "skipped", "no column of the key was delivered")
        for column in dict.fromkeys(c for name in used for c in self.suite.inputs(name)):
            if not self.table.has(column) and (kind != EXISTS or column in self.absent):
                return Step(entry, kind, {}, *self._missing(column))
        for name in used:
            if reason := self._unreachable(name):
                return Step(entry, kind, {}, "skipped", reason)
        return Step(entry, kind, kwargs)

    def _missing(self, column: str) -> tuple[str, str]:
        if column in self.absent:
            return "skipped", f"the source declares that it has no {column}"
        if self._is_optional(column):
            return "skipped", f"{column} was not delivered"
        if any(e.type == EXISTS and e.columns == (column,) for e in self.suite.expectations):
            return "skipped", f"{column} is missing, as {column}'s own expectation says"
        return "failed", f"the column {column} is missing"

    def _is_optional(self, column: str) -> bool:
        schema = TABLES.get(self.table.name)
        if schema is None or column not in schema.names:
            return column in self.suite.optional_columns
        return not schema.column(column).is_required

    def _without_droppable(self, kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A uniqueness key without the columns that are declared absent or optional and not delivered."""
        kept = [c for c in kwargs["column_list"] if self.table.has(c) or not (c in self.absent or self._is_optional(c))]
        if len(kept) == 1:
            rest = {k: v for k, v in kwargs.items() if k not in ("column_list", "ignore_row_if")}
            return "expect_column_values_to_be_unique", {**rest, "column": kept[0]}
        return COMPOUND, {**kwargs, "column_list": kept}

    def _unreachable(self, column: str) -> str:
        """Why a helper column cannot look into the tables it refers to; empty where it can."""
        for name, needed in (self.suite.derived[column].references if column in self.suite.derived else {}).items():
            reference = self.references.get(name)
            if reference is None:
                return f"{name} was not given to compare with"
            if reference.is_absent:
                return f"the source has no {name}"
            if lacking := [c for c in needed if not reference.has(c)]:
                return f"{name} has no {', '.join(lacking)} to compare with"
        return ""

    def _is_unset(self, parameter: str) -> bool:
        return parameter in self.suite.optional_parameters and self.parameters.get(parameter) is None

    def _is_open(self, value: Any) -> bool:
        """Whether a keyword is a parameter that is set to None: GX takes an open bound as a missing keyword."""
        return isinstance(value, dict) and "$PARAMETER" in value and self.parameters[value["$PARAMETER"]] is None


def _sql(sql: str, table: TableRef, parameters: Mapping[str, Any], references: Mapping[str, TableRef]) -> str:
    as_of = datetime.fromisoformat(parameters["as_of"]) if "as_of" in parameters else None
    landed = table.landed_at or as_of
    values = {
        "as_of": timestamp(as_of) if as_of else "NULL",
        # without a landing time nothing was landed later: every row is judged
        "landed_at": timestamp(landed) if landed else "NULL",
        "holds": _holds(table, as_of),
        **{name: parquet(ref.location) for name, ref in references.items()},
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], sql)


def _holds(table: TableRef, as_of: datetime | None) -> str:
    """Whether a row that was known at `as_of` had not been restated or deleted by then."""
    if as_of is None or not table.has(SUPERSEDED_AT):
        return "TRUE"
    return f"({SUPERSEDED_AT} IS NULL OR {SUPERSEDED_AT} > {timestamp(as_of)})"
