"""What GX's metrics on rows say of each row, as SQL: the rows that do not meet the expectation.

One small function per metric, in the table `RULES`. Counting them belongs in `metrics.py`.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from e2i_pipeline.resources.engine import literal
from e2i_pipeline.resources.pushdown.columns import (
    MOMENT,
    NUMBER,
    OTHER,
    TEXT,
    Field,
    NotPushed,
    comparable,
    compared,
    contained,
    exactness,
    number,
)
from e2i_pipeline.resources.pushdown.domains import Domain
from e2i_pipeline.resources.pushdown.regex import translated

Values = Mapping[str, Any]

_FEW = 8
"""Numbers of a row that NumPy adds up from left to right, as SQL does; more it adds in pairs."""


class Rule(NamedTuple):
    """The rows of a domain that do not meet an expectation.

    Attributes:
        unexpected: SQL that is true for them; empty where they are those that are not unique.
        unique: Columns whose values together must be unique.
        where: Rows beside the domain's own condition that are compared for it.
        guards: Aggregates of the domain that must be true, or only GX's own engine knows the answer.
    """

    unexpected: str
    unique: tuple[Field, ...] = ()
    where: str = ""
    guards: tuple[str, ...] = ()


def _null(domain: Domain, _: Values) -> Rule:
    return Rule(f"{domain.field.sql} IS NOT NULL")


def _nonnull(domain: Domain, _: Values) -> Rule:
    return Rule(f"{domain.field.sql} IS NULL")


def _in_set(domain: Domain, values: Values) -> Rule:
    return Rule(f"NOT ({_within(domain.field, values)})")


def _not_in_set(domain: Domain, values: Values) -> Rule:
    if domain.field.kind == MOMENT or not values.get("value_set"):
        raise NotPushed
    return Rule(f"{domain.field.sql} IS NOT NULL AND {_within(domain.field, values)}")


def _within(field: Field, values: Values) -> str:
    if not isinstance(values.get("value_set"), list | tuple | set):
        raise NotPushed
    return contained(field, values["value_set"])


def _between(domain: Domain, values: Values) -> Rule:
    return Rule(f"NOT ({_in_range(values, lambda operator, bound: compared(domain.field, operator, bound))})")


def _in_range(values: Values, compare: Callable[[str, Any], str]) -> str:
    low, high = values.get("min_value"), values.get("max_value")
    if low is None and high is None:
        raise NotPushed
    parts = []
    if low is not None:
        parts.append(compare(">" if values.get("strict_min") else ">=", low))
    if high is not None:
        parts.append(compare("<" if values.get("strict_max") else "<=", high))
    if low is not None and high is not None and low > high:
        raise NotPushed
    return " AND ".join(parts)


def _length(domain: Domain, operator: str, value: Any) -> str:
    if domain.field.kind != TEXT:
        raise NotPushed
    return f"length({domain.field.sql}) {operator} {number(value)}"


def _length_between(domain: Domain, values: Values) -> Rule:
    return Rule(f"NOT ({_in_range(values, lambda operator, bound: _length(domain, operator, bound))})")


def _length_equals(domain: Domain, values: Values) -> Rule:
    return Rule(f"NOT ({_length(domain, '=', values.get('value'))})")


def _matches(domain: Domain, patterns: Any, joined: str) -> tuple[str, tuple[str, ...]]:
    """Whether a text matches any or all of some regular expressions, and what must hold of the column for it."""
    if domain.field.kind != TEXT or not isinstance(patterns, list | tuple) or not patterns:
        raise NotPushed
    found = [translated(pattern) for pattern in patterns]
    sql = domain.field.sql
    is_ascii = f"coalesce(bool_and(strlen({sql}) = length({sql})), TRUE)"
    matched = joined.join(f"regexp_matches({sql}, {literal(one.pattern)})" for one in found)
    return f"({matched})", (is_ascii,) if any(one.is_for_ascii for one in found) else ()


def _match_regex(domain: Domain, values: Values) -> Rule:
    matched, guards = _matches(domain, [values.get("regex")], " OR ")
    return Rule(f"NOT {matched}", guards=guards)


def _not_match_regex(domain: Domain, values: Values) -> Rule:
    matched, guards = _matches(domain, [values.get("regex")], " OR ")
    return Rule(matched, guards=guards)


def _match_regex_list(domain: Domain, values: Values) -> Rule:
    joined = {"any": " OR ", "all": " AND "}.get(str(values.get("match_on")))
    if joined is None:
        raise NotPushed
    matched, guards = _matches(domain, values.get("regex_list"), joined)
    return Rule(f"NOT {matched}", guards=guards)


def _not_match_regex_list(domain: Domain, values: Values) -> Rule:
    matched, guards = _matches(domain, values.get("regex_list"), " OR ")
    return Rule(matched, guards=guards)


def _unique(domain: Domain, _: Values) -> Rule:
    if domain.field.kind == OTHER:
        raise NotPushed
    return Rule("", (domain.field,), f"{domain.field.sql} IS NOT NULL", exactness(domain.fields))


def _compound_unique(domain: Domain, _: Values) -> Rule:
    if not domain.fields or any(field.kind == OTHER for field in domain.fields):
        raise NotPushed
    return Rule("", tuple(dict.fromkeys(domain.fields)), "", exactness(domain.fields))


def _pair(domain: Domain, kinds: tuple[str, ...]) -> tuple[str, str]:
    if len(domain.fields) != 2 or not comparable(domain.fields) or domain.fields[0].kind not in kinds:
        raise NotPushed
    return domain.fields[0].sql, domain.fields[1].sql


def _greater(domain: Domain, values: Values) -> Rule:
    a, b = _pair(domain, (NUMBER, MOMENT))
    operator = ">=" if values.get("or_equal") else ">"
    return Rule(f"NOT coalesce({a} {operator} {b}, FALSE)", guards=exactness(domain.fields))


def _equal(domain: Domain, _: Values) -> Rule:
    a, b = _pair(domain, (NUMBER, MOMENT, TEXT))
    return Rule(f"NOT coalesce({a} = {b}, FALSE)", guards=exactness(domain.fields))


def _several(domain: Domain, kinds: tuple[str, ...]) -> tuple[str, ...]:
    if len(domain.fields) < 2 or not comparable(domain.fields) or domain.fields[0].kind not in kinds:
        raise NotPushed
    return tuple(field.sql for field in domain.fields)


def _all_equal(domain: Domain, _: Values) -> Rule:
    first, *others = _several(domain, (NUMBER, MOMENT, TEXT))
    same = " AND ".join(f"{first} IS NOT DISTINCT FROM {other}" for other in others)
    return Rule(f"NOT ({same})", guards=exactness(domain.fields))


def _unique_within_record(domain: Domain, _: Values) -> Rule:
    columns = _several(domain, (NUMBER, TEXT))
    same = " OR ".join(f"{a} IS NOT DISTINCT FROM {b}" for a, b in combinations(columns, 2))
    return Rule(f"({same})", guards=exactness(domain.fields))


def _sum_equal(domain: Domain, values: Values) -> Rule:
    columns = _several(domain, (NUMBER,))
    if len(columns) >= _FEW or any(field.is_wide for field in domain.fields):
        raise NotPushed
    total = " + ".join(f"CAST({column} AS DOUBLE)" for column in columns)
    return Rule(f"NOT coalesce({total} = {number(values.get('sum_total'))}, FALSE)")


RULES: dict[str, Callable[[Domain, Values], Rule]] = {
    "column_values.null": _null,
    "column_values.nonnull": _nonnull,
    "column_values.in_set": _in_set,
    "column_values.not_in_set": _not_in_set,
    "column_values.between": _between,
    "column_values.value_length.between": _length_between,
    "column_values.value_length.equals": _length_equals,
    "column_values.match_regex": _match_regex,
    "column_values.not_match_regex": _not_match_regex,
    "column_values.match_regex_list": _match_regex_list,
    "column_values.not_match_regex_list": _not_match_regex_list,
    "column_values.unique": _unique,
    "compound_columns.unique": _compound_unique,
    "column_pair_values.a_greater_than_b": _greater,
    "column_pair_values.equal": _equal,
    "multicolumn_values.equal": _all_equal,
    "select_column_values.unique.within_record": _unique_within_record,
    "multicolumn_sum.equal": _sum_equal,
}
"""By GX's name of the metric, without `.unexpected_count` and the like."""
