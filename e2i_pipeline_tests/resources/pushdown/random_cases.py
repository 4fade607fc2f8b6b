"""Random tables whose values are where engines differ, and random expectations on them. Tests only."""

import datetime as dt
import math
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from e2i_pipeline_tests.resources.pushdown.both_engines import Case

_TEXTS = (
    *("", " ", "a", "a ", "A", "b", "B", "ab\n", "x\ny", "zzzzz", "123", "L50.1", "it's", "None", "nan", "True"),
    *("\u00e9", "e\u0301", "\u0663", "\u6f22\u5b57", "\U0001f926\U0001f3fc", "\x1c", "\ufb01", None),
)
_FLOATS = (math.nan, math.inf, -math.inf, -0.0, 0.0, 0.1, 0.2, 0.3, 1e300, 1e-300, 1.0, 2.0, 5.5, -3.25, 1e16, None)
_TAME = (0.1, 0.2, 0.3, 1.0, 2.0, 5.5, -3.25, math.nan, None)
_INTEGERS = (0, 1, 2, 3, -1, 100, 2**31 - 1, None)
_WIDE = (0, 1, 5, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, None)
_DAYS = tuple(dt.date(*day) for day in ((1, 1, 1), (1969, 12, 31), (2024, 1, 1), (2024, 1, 2), (9999, 12, 31)))
_MOMENTS = tuple(
    dt.datetime(*moment)  # noqa: DTZ001 - Parquet's have no zone
    for moment in ((1, 1, 1), (2024, 1, 1), (2024, 1, 1, 0, 0, 0, 1), (2024, 1, 2, 12), (9999, 12, 31, 23, 59, 59))
)
POOLS: dict[str, tuple[pa.DataType, tuple[Any, ...]]] = {
    "text": (pa.string(), _TEXTS),
    "other_text": (pa.string(), _TEXTS),
    "integer": (pa.int32(), _INTEGERS),
    "other_integer": (pa.int32(), _INTEGERS),
    "tiny": (pa.int8(), (0, 1, 2, None)),
    "wide": (pa.int64(), _WIDE),
    "tame_wide": (pa.int64(), (1, 2, 3, None)),
    "double": (pa.float64(), _FLOATS),
    "tame_double": (pa.float64(), _TAME),
    "single": (pa.float32(), _TAME),
    "truth": (pa.bool_(), (True, False, None)),
    "day": (pa.date32(), (*_DAYS, None)),
    "moment": (pa.timestamp("us"), (*_MOMENTS, None)),
    "other_moment": (pa.timestamp("us"), (*_MOMENTS, None)),
    "zoned": (pa.timestamp("us", tz="UTC"), (*_MOMENTS, None)),
    "texts": (pa.list_(pa.string()), (["a"], [], None)),
    "exact": (pa.decimal128(9, 2), (Decimal("1.50"), Decimal("2.25"), None)),
}
COLUMNS = tuple(POOLS)
_TEXT = ("text", "other_text")
_NUMBERS = ("integer", "other_integer", "tiny", "wide", "tame_wide", "double", "tame_double", "single")
_TIMES = ("day", "moment", "other_moment", "zoned")
_USUAL = (*_TEXT, "integer", "tiny", "wide", "tame_wide", "double", "tame_double", "single", "truth", "moment", "day")

_PATTERNS = (
    *(r"^[A-Z][0-9][0-9A-Z](?:\.?[0-9A-Z]{1,4})?$", "a", "^a$", "a$", ".", "^.+$", "[^a-z]", "a|b$", "(a)(b)?", "^$"),
    *(r"\d", r"^\w+$", r"\s", r"\bA\b", r"[\d.]+", r"[\W_]", r"\S$", "x.y", r"\Aa\Z", "z{3,}", "it's", "\u00e9"),
    *("(?i)a", "(?=a)", "(a", ".{2}"),
)
_MOMENT_BOUNDS = (
    *("2024-01-01T00:00:00+00:00", "2024-01-01T02:00:00+02:00", "2300-01-01T00:00:00+00:00"),
    *("2024-01-02T00:00:00", "1969-12-31"),  # without a zone: an error
)
_NUMBER_BOUNDS = (0, 1, 2, -1, 0.5, 0.3, 5.5, 1e300, -1e300, 2**53, 2**53 - 1, 100, 1.0)

_ROW_TYPES = (
    *("column_values_to_not_be_null", "column_values_to_be_null", "column_values_to_be_unique"),
    *("column_values_to_be_in_set", "column_values_to_not_be_in_set", "column_values_to_be_between"),
    *("column_values_to_match_regex", "column_values_to_not_match_regex", "column_values_to_match_regex_list"),
    *("column_values_to_not_match_regex_list", "column_value_lengths_to_be_between", "column_value_lengths_to_equal"),
    *("compound_columns_to_be_unique", "select_column_values_to_be_unique_within_record"),
    *("multicolumn_sum_to_equal", "multicolumn_values_to_be_equal"),
    *("column_pair_values_a_to_be_greater_than_b", "column_pair_values_to_be_equal"),
)
_SUMMARIES = ("max", "min", "mean", "sum", "median", "stdev")
_SUMMARY_TYPES = (
    *(f"column_{summary}_to_be_between" for summary in _SUMMARIES),
    *("column_unique_value_count_to_be_between", "column_proportion_of_unique_values_to_be_between"),
    *("column_proportion_of_non_null_values_to_be_between", "column_distinct_values_to_be_in_set"),
    *("column_distinct_values_to_contain_set", "column_distinct_values_to_equal_set"),
    *("table_row_count_to_be_between", "table_row_count_to_equal"),
)
_TYPES = (*_ROW_TYPES, *_ROW_TYPES, *_SUMMARY_TYPES)


def write_table(random: Random, path: Path) -> None:
    """Writes a table of up to 40 rows, in which few values repeat often, with and without nulls."""
    rows = random.choice((0, 1, 2, 5, 12, 40, 40))
    columns = {}
    for name, (kind, values) in POOLS.items():
        pool = random.sample(values, random.choice((1, min(2, len(values)), min(3, len(values)), len(values))))
        if random.random() < 0.4:
            pool = [value for value in pool if value is not None] or [values[0]]
        columns[name] = pa.array([random.choice(pool) for _ in range(rows)], type=kind)
    pq.write_table(pa.table(columns), path)


def cases(random: Random, number: int) -> list[Case]:
    """Random expectations; GX takes them all, though some end in an error on such a column."""
    return [taken for taken in (_case(random) for _ in range(number)) if _is_taken(taken)]


def _case(random: Random) -> Case:
    kind = random.choice(_TYPES)
    kwargs: dict[str, Any] = {"mostly": random.choice((1, 1, 0.5, 0.9, 0))} if kind in _ROW_TYPES else {}
    if random.random() < 0.35:
        kwargs["row_condition"] = _condition(random)
    if kind.startswith("table"):
        bounds = {"value": random.choice((0, 12, 40))} if kind.endswith("equal") else {"min_value": 2, "max_value": 12}
        kwargs |= bounds
    elif "pair" in kind:
        kwargs |= _pair(random, kind)
    elif kind.startswith("column"):
        kwargs |= _single(random, kind)
    else:
        kwargs |= _several(random, kind)
    return Case(f"expect_{kind}", kwargs)


def _is_taken(case: Case) -> bool:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        ExpectationConfiguration(type=case.type, kwargs=case.kwargs).to_domain_obj()
    except Exception:  # GX has its own ideas of what cannot be
        return False
    return True


def _single(random: Random, kind: str) -> dict[str, Any]:
    column = random.choice(COLUMNS if random.random() < 0.2 else _USUAL)
    if ("regex" in kind or "lengths" in kind) and random.random() < 0.9:
        column = random.choice(_TEXT)
    if any(f"_{summary}_" in kind for summary in _SUMMARIES) and random.random() < 0.8:
        column = random.choice((*_NUMBERS, "moment"))
    kwargs: dict[str, Any] = {"column": column}
    if kind.endswith("regex_list"):
        kwargs["regex_list"] = random.sample(_PATTERNS, 2)
        if "not" not in kind:
            kwargs["match_on"] = random.choice(("any", "all"))
    elif kind.endswith("regex"):
        kwargs["regex"] = random.choice(_PATTERNS)
    elif kind.endswith("set"):
        kwargs["value_set"] = _values(random, column)
    elif kind == "column_value_lengths_to_equal":
        kwargs["value"] = random.randint(0, 3)
    elif kind.endswith("between"):
        is_count = any(part in kind for part in ("lengths", "count", "proportion"))
        kwargs |= _bounds(random, "integer" if is_count else column)
    return kwargs


def _pair(random: Random, kind: str) -> dict[str, Any]:
    group = random.choice((_NUMBERS, _TIMES, _TEXT, COLUMNS))
    kwargs: dict[str, Any] = {"column_A": random.choice(group), "column_B": random.choice(group)}
    kwargs["ignore_row_if"] = random.choice(("both_values_are_missing", "either_value_is_missing", "neither"))
    if "greater" in kind:
        kwargs["or_equal"] = random.random() < 0.5
    return kwargs


def _several(random: Random, kind: str) -> dict[str, Any]:
    group = random.choice((_NUMBERS, _TIMES, _TEXT, COLUMNS, ("integer", "other_integer", "tiny", "tame_double")))
    ignored = random.choice(("all_values_are_missing", "any_value_is_missing", "never"))
    kwargs: dict[str, Any] = {"column_list": random.sample(group, random.randint(2, min(3, len(group))))}
    total = {"sum_total": random.choice((2, 3, 0.3, 4.5, 0))} if "sum" in kind else {}
    return {**kwargs, **total, "ignore_row_if": ignored}


def _condition(random: Random, is_nested: bool = False) -> dict[str, Any]:
    chosen = random.random()
    if chosen < 0.15 and not is_nested:
        parts = [_condition(random, is_nested=True) for _ in range(2)]
        return {"type": random.choice(("and", "or")), "conditions": parts}
    if chosen < 0.3:
        return {"type": "nullity", "column": {"name": random.choice(COLUMNS)}, "is_null": random.random() < 0.5}
    column = random.choice(("text", "integer", "double", "tame_double", "truth", "wide", "tame_wide"))
    pool = _usable(POOLS[column][1])
    operator = random.choice(("==", "!=", "<", "<=", ">", ">=", *(() if column == "truth" else ("IN", "NOT_IN"))))
    parameter = random.sample(pool, 2) if operator in ("IN", "NOT_IN") else random.choice(pool)
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": parameter}


def _usable(values: Iterable[Any]) -> list[Any]:
    return [v for v in values if v is not None and not (isinstance(v, float) and not math.isfinite(v))]


def _bounds(random: Random, column: str) -> dict[str, Any]:
    pool = _NUMBER_BOUNDS if column in _NUMBERS else _MOMENT_BOUNDS if column in _TIMES else ("", " ", "a", "b", "z")
    low, high = sorted(random.sample(pool, 2)) if random.random() < 0.9 else random.sample(pool, 2)
    which = random.random()
    bounds: dict[str, Any] = {"min_value": low} if which < 0.35 else {"max_value": high}
    if which > 0.7:
        bounds = {"min_value": low, "max_value": high}
    strict = {f"strict_{end}": True for end in ("min", "max") if random.random() < 0.3}
    return bounds | strict


def _values(random: Random, column: str) -> list[Any]:
    if column in _TIMES:
        return ["2024-01-01"]
    pool = [value for value in POOLS[column][1] if not isinstance(value, list)]
    values = random.sample(pool, random.randint(0, min(4, len(pool))))
    return [*values, random.choice((0, 1, "a", None, True, 0.5))] if random.random() < 0.2 else values
