"""Fifty expectations on treatment events, each with the SQL that says the same.

Two of them fail, as in a real table: a bar that only ever passes would leave out what a failure costs.
"""

from typing import Any, NamedTuple

AS_OF = "2026-01-01T00:00:00+00:00"
SUITE = "wide_events"


class Line(NamedTuple):
    """One expectation.

    Attributes:
        kind: GX type, without `expect_`.
        kwargs: GX keywords.
        sql: Of a rule on rows, which are unexpected; of an aggregate, its value; empty where `unique` says it.
        tested: SQL that counts the tested rows; empty for an aggregate.
        unique: Columns whose values must be unique.
    """

    kind: str
    kwargs: dict[str, Any]
    sql: str = ""
    tested: str = ""
    unique: str = ""


def _given(column: str, kind: str, sql: str, **kwargs: Any) -> Line:
    return Line(f"column_values_{kind}", {"column": column, **kwargs}, sql, f"count({column})")


def _not_null(column: str) -> Line:
    return Line("column_values_to_not_be_null", {"column": column}, f"{column} IS NULL", "count(*)")


def _in_set(column: str, *values: Any) -> Line:
    listed = ", ".join(repr(value) for value in values)
    return _given(column, "to_be_in_set", f"{column} NOT IN ({listed})", value_set=list(values))


def _where(column: str, operator: str, parameter: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": parameter}


def _pair(later: str, earlier: str) -> Line:
    kwargs = {"column_A": later, "column_B": earlier, "or_equal": True, "ignore_row_if": "either_value_is_missing"}
    tested = f"count(*) FILTER (WHERE {later} IS NOT NULL AND {earlier} IS NOT NULL)"
    return Line("column_pair_values_a_to_be_greater_than_b", kwargs, f"NOT {later} >= {earlier}", tested)


def _lengths(column: str, low: int, high: int) -> Line:
    kwargs = {"column": column, "min_value": low, "max_value": high}
    sql = f"NOT length({column}) BETWEEN {low} AND {high}"
    return Line("column_value_lengths_to_be_between", kwargs, sql, f"count({column})")


def _regex(column: str, pattern: str) -> Line:
    return _given(column, "to_match_regex", f"NOT regexp_matches({column}, '{pattern}')", regex=pattern)


def _not_later(column: str) -> Line:
    return _given(column, "to_be_between", f"NOT {column} <= TIMESTAMP '2026-01-01'", max_value=AS_OF)


_REQUIRED = (
    *("treatment_event_id", "patient_journey_id", "patient_id", "event_date", "event_type", "brand"),
    *("sequence_number", "data_source", "source_timestamp", "created_at", "data_split", "known_at"),
)

LINES = (
    Line("table_row_count_to_be_between", {"min_value": 1}, "count(*)"),
    *map(_not_null, _REQUIRED),
    Line(
        "column_values_to_be_unique",
        {"column": "treatment_event_id"},
        tested="count(treatment_event_id)",
        unique="treatment_event_id",
    ),
    Line(
        "compound_columns_to_be_unique",
        {"column_list": ["patient_id", "sequence_number"]},
        tested="count(*)",
        unique="patient_id, sequence_number",
    ),
    _in_set(
        *("event_type", "diagnosis", "prescription", "lab_test", "procedure", "consultation", "hospitalization"),
    ),
    _in_set("brand", "Remibrutinib", "Fabhalta", "Kisqali", "competitor", "other"),
    _in_set("data_split", "train", "validation", "test", "holdout", "unassigned"),
    _in_set("data_source", "IQVIA_APLD", "HealthVerity", "Komodo", "Veeva"),
    _in_set("location_type", "office", "hospital", "home"),
    _in_set("drug_class", "A", "B", "C"),
    _in_set("outcome_indicator", "improved", "stable", "worse"),
    _in_set("adverse_event_flag", True, False),
    _in_set("discontinuation_flag", True, False),
    _given("duration_days", "to_be_between", "NOT duration_days >= 0", min_value=0),
    _given("cost", "to_be_between", "NOT cost >= 0", min_value=0),
    _given("cost", "to_be_between", "NOT cost < 9990", max_value=9990, strict_max=True),  # fails
    _given("sequence_number", "to_be_between", "NOT sequence_number >= 1", min_value=1),
    _given(
        *("days_from_diagnosis", "to_be_between", "NOT days_from_diagnosis BETWEEN 0 AND 3650"),
        min_value=0,
        max_value=3650,
    ),
    *map(_not_later, ("event_date", "source_timestamp", "created_at", "known_at")),
    _given(
        *("event_date", "to_be_between", "NOT event_date >= DATE '2000-01-01'"), min_value="2000-01-01T00:00:00+00:00"
    ),
    _regex("drug_ndc", "^[0-9]{5}-[0-9]{4}-[0-9]{2}$"),
    _regex("treatment_event_id", "^[0-9a-f]{32}$"),
    _regex("facility_id", "^F[0-9]{1,4}$"),
    _regex("dosage", "^[1-9][0-9]* mg$"),  # fails
    _lengths("patient_journey_id", 32, 32),
    _lengths("patient_id", 32, 32),
    _lengths("hcp_id", 32, 32),
    _lengths("drug_name", 1, 100),
    _pair("created_at", "source_timestamp"),
    Line(
        "column_values_to_not_be_null",
        {"column": "discontinuation_reason", "row_condition": _where("discontinuation_flag", "==", True)},
        "discontinuation_flag AND discontinuation_reason IS NULL",
        "count(*) FILTER (WHERE discontinuation_flag)",
    ),
    Line(
        "column_values_to_be_null",
        {"column": "discontinuation_reason", "row_condition": _where("discontinuation_flag", "==", False)},
        "NOT discontinuation_flag AND discontinuation_reason IS NOT NULL",
        "count(*) FILTER (WHERE NOT discontinuation_flag)",
    ),
    Line(
        "column_values_to_be_between",
        {"column": "duration_days", "min_value": 0, "row_condition": _where("event_type", "==", "prescription")},
        "event_type = 'prescription' AND NOT duration_days >= 0",
        "count(duration_days) FILTER (WHERE event_type = 'prescription')",
    ),
    Line("column_unique_value_count_to_be_between", {"column": "hcp_id", "min_value": 1}, "count(DISTINCT hcp_id)"),
    Line("column_mean_to_be_between", {"column": "cost", "min_value": 0}, "avg(cost)"),
    Line("column_max_to_be_between", {"column": "cost", "min_value": 0}, "max(cost)"),
    Line(
        "column_proportion_of_non_null_values_to_be_between",
        {"column": "cost", "min_value": 0.5},
        "count(cost) / count(*)",
    ),
)


def suite() -> dict[str, Any]:
    """The expectations in the form of the product's suites."""
    entries = [
        {"type": f"expect_{line.kind}", "kwargs": line.kwargs, "severity": "warning", "meta": {"name": f"line_{i}"}}
        for i, line in enumerate(LINES)
    ]
    return {"name": SUITE, "id": None, "expectations": entries, "meta": {}, "notes": None}


def query(location: str) -> str:
    """One query for all: of each rule the tested and the unexpected rows, of each aggregate its value."""
    columns: list[str] = []
    for line in LINES:
        if line.tested:
            columns.append(line.tested)
        if line.unique:
            groups = f"SELECT count(*) AS n FROM read_parquet('{location}') GROUP BY {line.unique} HAVING count(*) > 1"
            columns.append(f"(SELECT coalesce(sum(n), 0) FROM ({groups}))")
        else:
            columns.append(f"count(*) FILTER (WHERE {line.sql})" if line.tested else line.sql)
    return f"SELECT {', '.join(columns)} FROM read_parquet('{location}')"
