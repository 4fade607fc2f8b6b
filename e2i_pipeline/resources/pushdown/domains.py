"""The rows that a metric of Great Expectations is about: its columns, its row condition, the rows that it ignores.

What the metric says of them belongs in `rules.py` and `metrics.py`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from e2i_pipeline.resources.pushdown.columns import (
    MOMENT,
    NUMBER,
    OTHER,
    TEXT,
    TRUTH,
    Field,
    NotPushed,
    compared,
    contained,
    number,
    text,
    truth,
)

_EQUALS = {TEXT: text, NUMBER: number, TRUTH: truth}
_IGNORED = {
    "both_values_are_missing": " OR ",
    "all_values_are_missing": " OR ",
    "either_value_is_missing": " AND ",
    "any_value_is_missing": " AND ",
}
"""How `IS NOT NULL` of the columns is joined into what is not ignored."""


class Domain(NamedTuple):
    """The rows that a metric is about.

    Attributes:
        fields: Its columns: none of a table's metric.
        where: Which rows, as SQL that is true or false; empty for all.
        reads: Names of all columns that it reads, those of its row condition too.
    """

    fields: tuple[Field, ...]
    where: str
    reads: frozenset[str]

    @property
    def field(self) -> Field:
        """The only column.

        Raises:
            NotPushed: There is none, or another one.
        """
        if len(self.fields) != 1:
            raise NotPushed
        return self.fields[0]


def domain_of(kwargs: Mapping[str, Any], fields: Mapping[str, Field]) -> Domain:
    """The domain that a metric's keywords say.

    Args:
        kwargs: Its `metric_domain_kwargs`.
        fields: The batch's columns by name.

    Raises:
        NotPushed: It is not known how GX's pandas engine takes them.
    """
    if kwargs.get("table") or kwargs.get("condition_parser"):
        raise NotPushed
    given = [kwargs[key] for key in ("column", "column_A", "column_B") if kwargs.get(key)]
    names = [*given, *(kwargs.get("column_list") or ())]
    reads: set[str] = set(names)
    conditions = []
    if kwargs.get("row_condition"):
        conditions.append(_condition(kwargs["row_condition"], fields, reads))
    used = tuple(_known(name, fields) for name in names)
    if kwargs.get("ignore_row_if") not in (None, "neither", "never"):
        conditions.append(_not_ignored(kwargs["ignore_row_if"], used))
    return Domain(used, " AND ".join(f"({c})" for c in conditions), frozenset(reads))


def _known(name: Any, fields: Mapping[str, Field]) -> Field:
    if name not in fields:
        raise NotPushed
    return fields[name]


def _not_ignored(rule: Any, fields: tuple[Field, ...]) -> str:
    if rule not in _IGNORED or not fields:
        raise NotPushed
    return _IGNORED[rule].join(f"{field.sql} IS NOT NULL" for field in fields)


def _condition(given: Any, fields: Mapping[str, Field], reads: set[str]) -> str:
    """A row condition as SQL that is true or false, never null: pandas compares a missing value too."""
    condition = given.dict() if hasattr(given, "dict") else given
    if not isinstance(condition, Mapping):
        raise NotPushed
    kind = condition.get("type")
    if kind in ("and", "or"):
        parts = [_condition(part, fields, reads) for part in condition["conditions"]]
        return f" {kind.upper()} ".join(f"({part})" for part in parts)
    if kind not in ("comparison", "nullity"):
        raise NotPushed
    field = _known(condition["column"]["name"], fields)
    reads.add(field.name)
    if kind == "nullity":
        return f"{field.sql} IS {'' if condition['is_null'] else 'NOT '}NULL"
    return _comparison(field, str(getattr(condition["operator"], "value", condition["operator"])), condition)


def _comparison(field: Field, operator: str, condition: Mapping[str, Any]) -> str:
    value = condition["parameter"]
    if field.kind in (OTHER, MOMENT):
        raise NotPushed
    if operator in ("IN", "NOT_IN"):
        within = f"coalesce({contained(field, value)}, FALSE)" if value else "FALSE"
        return within if operator == "IN" else f"NOT {within}"
    if isinstance(value, str) and "`" in value:  # pandas' query takes what is between two for a column
        raise NotPushed
    if operator in ("==", "!="):
        within = f"coalesce({field.sql} = {_EQUALS[field.kind](value)}, FALSE)"
        return within if operator == "==" else f"NOT {within}"
    if field.kind != NUMBER or operator not in ("<", "<=", ">", ">="):
        raise NotPushed
    return f"coalesce({compared(field, operator, value)}, FALSE)"
