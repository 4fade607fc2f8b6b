"""GX's metrics as questions to DuckDB: which aggregates to ask for, and how the metric's value follows from them.

One small function per metric, in the tables `SUMMARIES` and `rules.RULES`. Asking belongs in `scan.py`. A metric that
is not here, or not with these parameters on such a column, is refused with `NotPushed`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from e2i_pipeline.resources.pushdown.columns import (
    EXACT,
    MOMENT,
    NUMBER,
    OTHER,
    TEXT,
    Field,
    NotPushed,
    exactness,
    listed,
)
from e2i_pipeline.resources.pushdown.domains import Domain, domain_of
from e2i_pipeline.resources.pushdown.rules import RULES, Rule, Values

AGGREGATE = "aggregate"
DUPLICATED = "duplicated"
DISTINCT = "distinct"

_HUGE = "1e150"
"""Floats below it can be squared and added up without an overflow, which DuckDB takes for an error."""

_ROUNDING = 1e-9
"""Relative error that a sum of floats may have, generously: 10^9 rows at 2^-53 each, in any order, seldom reach it."""


_SQUARED_ROUNDING = 1e-6
"""The same of a root of a sum of squares: about the root of 2^-53, relative to the largest value."""

_SUFFIXES = ("unexpected_count", "filtered_row_count", "unexpected_values")


class Term(NamedTuple):
    """One question about the batch.

    Attributes:
        kind: `aggregate`: the value of `sql`; `duplicated`: the number of rows whose `sql` (columns, joined by a
            comma) others have too; `distinct`: the number of different values of `sql`.
        sql: As the kind says.
        where: Which rows; empty for all. An aggregate names its rows itself.
        reads: Names of the columns that it reads.
    """

    kind: str
    sql: str
    where: str
    reads: frozenset[str]


class Answer(NamedTuple):
    """How a metric's value follows from terms.

    Attributes:
        terms: What to ask.
        value: The metric's value, from the answers to `terms` in order.
        guards: What must be true, or only GX's own engine knows the value.
        margin: Distance at which the value that GX's own engine computes may lie from this one, from the same
            answers; None where they are the same.
        rule: Of a metric that counts unexpected rows: which they are, and among which.
    """

    terms: tuple[Term, ...]
    value: Callable[..., Any]
    guards: tuple[Term, ...] = ()
    margin: Callable[..., float] | None = None
    rule: tuple[Domain, Rule] | None = None


def answer_to(
    name: str, domain_kwargs: Mapping[str, Any], values: Values, fields: Mapping[str, Field], columns: Sequence[str]
) -> Answer:
    """How to answer a metric.

    Args:
        name: GX's name of the metric.
        domain_kwargs: What it is about.
        values: Its parameters.
        fields: The batch's columns by name.
        columns: Names of the batch's columns, in order.

    Raises:
        NotPushed: Only GX's own engine knows.
    """
    domain = domain_of(domain_kwargs, fields)
    if name == "table.columns":
        return Answer((), lambda: list(columns))
    if name == "table.column_count":
        return Answer((), lambda: len(columns))
    if name in SUMMARIES:
        return SUMMARIES[name](domain, values)
    metric, _, suffix = name.rpartition(".")
    if metric not in RULES or suffix not in _SUFFIXES:
        raise NotPushed
    rule = RULES[metric](domain, values)
    if suffix == "unexpected_values":  # GX is told to keep none
        return Answer((), list)
    if suffix == "filtered_row_count":
        return _one(_count(domain))
    return Answer((unexpected(domain, rule),), int, _guards(domain, rule.guards), rule=(domain, rule))


def unexpected(domain: Domain, rule: Rule) -> Term:
    """The number of rows that a rule does not expect."""
    if rule.unique:
        sql = ", ".join(field.sql for field in rule.unique)
        return Term(DUPLICATED, sql, both(domain.where, rule.where), domain.reads)
    return _count(domain, rule.unexpected)


def both(*conditions: str) -> str:
    """Conditions that must all hold, as one; empty where there is none."""
    return " AND ".join(f"({condition})" for condition in conditions if condition)


def _count(domain: Domain, condition: str = "") -> Term:
    return _aggregate(domain, "count(*)", condition)


def _aggregate(domain: Domain, sql: str, condition: str = "") -> Term:
    where = both(domain.where, condition)
    return Term(AGGREGATE, f"{sql} FILTER (WHERE {where})" if where else sql, "", domain.reads)


def _guards(domain: Domain, sql: Sequence[str]) -> tuple[Term, ...]:
    return tuple(Term(AGGREGATE, guard, "", domain.reads) for guard in sql)


def _one(term: Term) -> Answer:
    return Answer((term,), int)


def _row_count(domain: Domain, _: Values) -> Answer:
    return _one(_count(domain))


def _nonnull_count(domain: Domain, _: Values) -> Answer:
    return _one(_count(domain, f"{domain.field.sql} IS NOT NULL"))


def _nonnull_share(domain: Domain, _: Values) -> Answer:
    terms = _count(domain, f"{domain.field.sql} IS NOT NULL"), _count(domain)
    return Answer(terms, lambda given, rows: given / rows if rows else 0)


def _different(domain: Domain, condition: str = "") -> Term:
    if domain.field.kind == OTHER:
        raise NotPushed
    where = both(domain.where, f"{domain.field.sql} IS NOT NULL", condition)
    return Term(DISTINCT, domain.field.sql, where, domain.reads)


def _different_count(domain: Domain, _: Values) -> Answer:
    return Answer((_different(domain),), int, _guards(domain, exactness(domain.fields)))


def _different_share(domain: Domain, _: Values) -> Answer:
    terms = _different(domain), _count(domain, f"{domain.field.sql} IS NOT NULL")
    guards = _guards(domain, exactness(domain.fields))
    return Answer(terms, lambda different, given: different / given if given else 0, guards)


def _foreign_count(domain: Domain, values: Values) -> Answer:
    inside = ", ".join(_set_of(domain, values))
    term = _different(domain, f"{domain.field.sql} NOT IN ({inside})")
    return Answer((term,), int, _guards(domain, exactness(domain.fields)))


def _lacking_count(domain: Domain, values: Values) -> Answer:
    wanted = _set_of(domain, values)
    found = _different(domain, f"{domain.field.sql} IN ({', '.join(wanted)})")
    return Answer((found,), lambda present: len(wanted) - present)


def _set_of(domain: Domain, values: Values) -> tuple[str, ...]:
    given = values.get("value_set")
    if domain.field.kind not in (TEXT, NUMBER) or not isinstance(given, list | tuple | set) or None in given:
        raise NotPushed
    if not given:
        raise NotPushed
    return listed(domain.field, given)


def _none(domain: Domain, values: Values) -> Answer:
    """A list of values, which GX is told to leave out."""
    _set_of(domain, values)
    return Answer((), list)


def _extreme(function: str) -> Callable[[Domain, Values], Answer]:
    def answer(domain: Domain, _: Values) -> Answer:
        found = _aggregate(domain, f"{function}({domain.field.sql})")
        if domain.field.kind == NUMBER:
            return Answer((found,), _as_it_is, _guards(domain, exactness(domain.fields)))
        if domain.field.kind != MOMENT:
            raise NotPushed
        return Answer((found._replace(sql=f"epoch_us(CAST({found.sql} AS TIMESTAMP))"),), _moment)

    return answer


def _as_it_is(found: Any, *_: Any) -> Any:
    return found


def _moment(micros: int | None) -> Any:
    import numpy as np
    import pandas as pd

    return pd.NaT if micros is None else pd.Timestamp(np.datetime64(micros, "us")).tz_localize("UTC")


def _sum(domain: Domain, _: Values) -> Answer:
    return _summed(domain, "sum", lambda total, *_: 0 if total is None else total)


def _mean(domain: Domain, _: Values) -> Answer:
    return _summed(domain, "avg", _as_it_is)


def _summed(domain: Domain, function: str, value: Callable[..., Any]) -> Answer:
    """A sum, or a mean. Of integers it is exact; of floats it depends on the order in which they are added up."""
    column, finite, guards = _finite(domain)
    terms = tuple(_aggregate(domain, f"{function}({x})", finite) for x in (column, f"abs({column})"))
    if domain.field.is_float:
        return Answer(terms, value, guards, lambda _, magnitude: _ROUNDING * (magnitude or 0.0))
    total = _aggregate(domain, f"sum(abs({column}))")
    is_exact = total._replace(sql=f"coalesce({total.sql} < {EXACT}, TRUE)")
    return Answer(terms[:1], value, (*guards, is_exact))


def _deviation(domain: Domain, _: Values) -> Answer:
    """The standard deviation of a sample: near 0, a rounding of the squares is all that is left of it."""
    return _rounded(domain, "stddev_samp", _SQUARED_ROUNDING)


def _median(domain: Domain, _: Values) -> Answer:
    return _rounded(domain, "median", _ROUNDING)


def _rounded(domain: Domain, function: str, error: float) -> Answer:
    column, finite, guards = _finite(domain)
    terms = _aggregate(domain, f"{function}({column})", finite), _aggregate(domain, f"max(abs({column}))", finite)
    return Answer(terms, _as_it_is, guards, lambda _, magnitude: error * (magnitude or 0.0))


def _finite(domain: Domain) -> tuple[str, str, tuple[Term, ...]]:
    """A numeric column, which of its values can be added up, and what must be true so that these are all."""
    if domain.field.kind != NUMBER:
        raise NotPushed
    column = f"CAST({domain.field.sql} AS {'DOUBLE' if domain.field.is_float else 'HUGEINT'})"
    if not domain.field.is_float:
        return column, "", _guards(domain, exactness(domain.fields))
    finite = f"abs({domain.field.sql}) < {_HUGE}"
    return column, finite, _guards(domain, (f"coalesce(bool_and({finite}), TRUE)",))


SUMMARIES: dict[str, Callable[[Domain, Values], Answer]] = {
    "table.row_count": _row_count,
    "column.non_null_count": _nonnull_count,
    "column.non_null_proportion": _nonnull_share,
    "column.distinct_values.count": _different_count,
    "column.unique_proportion": _different_share,
    "column.distinct_values.not_in_set.count": _foreign_count,
    "column.distinct_values.not_in_set": _none,
    "column.distinct_values.missing_from_column.count": _lacking_count,
    "column.distinct_values.missing_from_column": _none,
    "column.max": _extreme("max"),
    "column.min": _extreme("min"),
    "column.sum": _sum,
    "column.mean": _mean,
    "column.median": _median,
    "column.standard_deviation": _deviation,
}
"""By GX's name of the metric."""


def answered_names() -> tuple[str, ...]:
    """Names of all metrics that may be answered here."""
    counts = (f"{rule}.{suffix}" for rule in RULES for suffix in _SUFFIXES)
    single = "column_values."  # GX counts the rows of one column by its nulls
    named = (name for name in counts if not (name.startswith(single) and name.endswith(".filtered_row_count")))
    return ("table.columns", "table.column_count", *SUMMARIES, *named)
