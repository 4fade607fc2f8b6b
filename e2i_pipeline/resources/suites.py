"""Suites as they stand in `gx/expectations`: read, checked and hashed, without Great Expectations.

The definitions need the names of the checks, fast, so nothing here imports it. What a suite means for one table belongs
in `audit_plans.py`, running it in `great_expectations.py`, what follows from the result in `domain/quality.py`.

A suite may compute helper columns (`meta.derived`): an SQL expression over the audited table, the columns and tables
that it needs, and the placeholders `{as_of}`, `{landed_at}`, `{holds}` and `{<table>}`. The engine computes them, so
what GX tests is always a column of the batch.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.quality import CRITICAL, WARNING
from e2i_pipeline.errors import ConfigurationError

NAME = re.compile(r"^[a-z][a-z0-9_]*$")
COMPOUND = "expect_compound_columns_to_be_unique"
EXISTS = "expect_column_to_exist"
COLUMN_KEYS = ("column", "column_A", "column_B")
UNHASHED = ("id", "notes", "rule", "purpose", "great_expectations_version")


class Derived(NamedTuple):
    """A helper column: its SQL, the columns it needs, and the columns it needs of other tables."""

    sql: str
    columns: tuple[str, ...]
    references: dict[str, tuple[str, ...]]


class Expectation(NamedTuple):
    """One entry of a suite.

    Attributes:
        name: Unique in the suite; the Dagster check's name.
        type: GX type.
        kwargs: As in the JSON, parameters unresolved.
        severity: `critical`, `warning` or `info`; empty where the suite leaves it to the gate's configuration.
        rule: What must be true, as a sentence.
        dimension: Dimension of data quality; empty where the type decides.
        when: `parameter=value` under which the expectation applies; empty for always.
    """

    name: str
    type: str
    kwargs: dict[str, Any]
    severity: str = ""
    rule: str = ""
    dimension: str = ""
    when: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are judged; empty for a table expectation."""
        single = [str(self.kwargs[key]) for key in COLUMN_KEYS if key in self.kwargs]
        return (*single, *map(str, self.kwargs.get("column_list", ())))

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """Columns of the row condition."""
        return tuple(_condition_columns(self.kwargs.get("row_condition")))

    def severity_under(self, critical_types: Sequence[str]) -> str:
        """The suite's mark; where it leaves none, critical if the type is among `critical_types`, else a warning."""
        return self.severity or (CRITICAL if self.type in critical_types else WARNING)


class Suite(NamedTuple):
    """One suite: its expectations in order, helper columns by name, and what may be missing without failing."""

    name: str
    expectations: tuple[Expectation, ...]
    derived: dict[str, Derived]
    optional_columns: tuple[str, ...]
    optional_parameters: tuple[str, ...]
    content: dict[str, Any]

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the parameters that the suite uses."""
        conditions = {e.when.partition("=")[0] for e in self.expectations if e.when}
        placeholders = {"as_of"} if any("{as_of}" in d.sql for d in self.derived.values()) else set()
        return frozenset(conditions | placeholders | set(parameters_in(self.content)))

    def inputs(self, column: str) -> tuple[str, ...]:
        """Columns of the table that a column is made from: itself, unless it is a helper."""
        return self.derived[column].columns if column in self.derived else (column,)


def read_suite(folder: Path, name: str, additional: Iterable[Mapping[str, Any]] = ()) -> Suite:
    """Reads a suite.

    Args:
        folder: `gx/expectations`.
        name: Suite name.
        additional: Generated entries, in the form of the suite's JSON, that follow the suite's own.

    Raises:
        ConfigurationError: The suite is not there, or not in the form that this module describes.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise ConfigurationError(f"There is no suite {path}. Name one of: {known}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise ConfigurationError(f"{path} is not JSON: correct it or take the last reviewed version.") from err
    return parse_suite(name, {**content, "expectations": [*content.get("expectations", ()), *map(dict, additional)]})


def parse_suite(name: str, content: dict[str, Any]) -> Suite:
    """Checks a suite's content.

    Raises:
        ConfigurationError: An expectation has no type, or no name of its own in lower snake case.
    """
    meta = content.get("meta") or {}
    expectations = tuple(_expectation(name, entry) for entry in content["expectations"])
    names = [e.name for e in expectations]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigurationError(f"Suite {name} has two expectations named {', '.join(doubled)}; rename one of them.")
    derived = {
        column: Derived(
            sql=d["sql"],
            columns=tuple(d["columns"]),
            references={table: tuple(columns) for table, columns in d.get("references", {}).items()},
        )
        for column, d in meta.get("derived", {}).items()
    }
    optional = tuple(meta.get("optional_columns", ())), tuple(meta.get("optional_parameters", ()))
    return Suite(name, expectations, derived, *optional, content)


def suite_digest(
    suite: Suite,
    parameters: Mapping[str, Any],
    absent: Iterable[str] = (),
    references: Mapping[str, TableRef] | None = None,
) -> str:
    """Hash of all that decides a suite's result beside the table's content.

    Wording and ids do not count. Parameters count where the suite uses them; columns declared absent and the versions
    of the tables referred to count where they are given.
    """
    used = {name: parameters.get(name) for name in sorted(suite.parameters)}
    versions = {name: ref.version for name, ref in (references or {}).items()}
    return content_key(_semantic(suite.content), used, sorted(set(absent)), versions)


def _expectation(suite: str, entry: Mapping[str, Any]) -> Expectation:
    meta = entry.get("meta") or {}
    name = str(meta.get("name", ""))
    if not NAME.match(name) or not entry.get("type"):
        raise ConfigurationError(
            f"Suite {suite} has an expectation ({entry.get('type') or 'no type'}, named {name or 'nothing'}) without a "
            "type, or without a meta.name in lower snake case; give it both."
        )
    return Expectation(
        name=name,
        type=str(entry["type"]),
        kwargs=dict(entry.get("kwargs") or {}),
        severity=str(entry.get("severity") or ""),
        rule=str(meta.get("rule", "")),
        dimension=str(meta.get("dimension", "")),
        when=str(meta.get("when", "")),
    )


def parameters_in(value: Any) -> list[str]:
    """Names in `{"$PARAMETER": name}`, wherever they stand."""
    if isinstance(value, dict):
        own = [str(value["$PARAMETER"])] if "$PARAMETER" in value else []
        return own + [p for part in value.values() for p in parameters_in(part)]
    return [p for part in value for p in parameters_in(part)] if isinstance(value, (list, tuple)) else []


def resolved(value: Any, parameters: Mapping[str, Any]) -> Any:
    """A value with each `{"$PARAMETER": name}` in it replaced by what the parameter is."""
    if isinstance(value, dict):
        if "$PARAMETER" in value:
            return parameters[str(value["$PARAMETER"])]
        return {name: resolved(part, parameters) for name, part in value.items()}
    return [resolved(part, parameters) for part in value] if isinstance(value, (list, tuple)) else value


def _condition_columns(condition: Any) -> list[str]:
    if not isinstance(condition, dict):
        return []
    own = [str(condition["column"]["name"])] if "column" in condition else []
    return own + [c for part in condition.get("conditions", ()) for c in _condition_columns(part)]


def _semantic(value: Any) -> Any:
    """A suite's content without what does not change its result."""
    if isinstance(value, dict):
        return {k: _semantic(v) for k, v in value.items() if k not in UNHASHED}
    return [_semantic(v) for v in value] if isinstance(value, (list, tuple)) else value
