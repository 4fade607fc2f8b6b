"""The push-down and GX's own pandas engine say the same: verdicts, counts, percentages, observed values."""

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2i_pipeline.domain.quality import suite_parameters
from e2i_pipeline.resources.audit_plans import batch, plan
from e2i_pipeline.resources.suites import read_suite
from e2i_pipeline_tests.resources.audit_tables import GOOD, GX_ROOT, PARAMETERS, auditor, stage
from e2i_pipeline_tests.resources.pushdown.both_engines import Case, batch_of, compared, compared_steps
from e2i_pipeline_tests.resources.pushdown.random_cases import COLUMNS, cases, write_table

SINGLE: dict[str, Any] = {"column": "text"}
NUMBER: dict[str, Any] = {"column": "integer", "min_value": 0, "max_value": 2}
PAIR: dict[str, Any] = {"column_A": "tame_double", "column_B": "integer"}
ALL_TRUE = {"type": "comparison", "column": {"name": "truth"}, "operator": "==", "parameter": True}

PUSHED = (
    Case("expect_table_row_count_to_be_between", {"min_value": 1}),
    Case("expect_table_row_count_to_equal", {"value": 40}),
    Case("expect_table_column_count_to_be_between", {"min_value": 1}),
    Case("expect_table_column_count_to_equal", {"value": len(COLUMNS)}),
    Case("expect_table_columns_to_match_set", {"column_set": list(COLUMNS)}),
    Case("expect_table_columns_to_match_ordered_list", {"column_list": list(COLUMNS)}),
    Case("expect_column_to_exist", {"column": "texts"}),
    *(Case("expect_column_values_to_not_be_null", {"column": column}) for column in COLUMNS),
    *(Case("expect_column_values_to_be_null", {"column": column}) for column in COLUMNS),
    *(Case("expect_column_values_to_be_unique", {"column": c}) for c in COLUMNS if c not in ("texts", "exact", "wide")),
    Case("expect_column_values_to_be_in_set", {"column": "text", "value_set": ["a", "a ", "\u00e9", None]}),
    Case("expect_column_values_to_be_in_set", {"column": "single", "value_set": [0.3, 1, 2]}),
    Case("expect_column_values_to_be_in_set", {"column": "truth", "value_set": [1, 0]}),
    Case("expect_column_values_to_be_in_set", {"column": "text", "value_set": []}),
    Case("expect_column_values_to_not_be_in_set", {"column": "text", "value_set": ["a", "it's"]}),
    Case("expect_column_values_to_not_be_in_set", {"column": "tame_double", "value_set": [None]}),
    Case("expect_column_values_to_be_between", {**NUMBER, "strict_min": True, "mostly": 0.5}),
    Case("expect_column_values_to_be_between", {"column": "double", "min_value": -1e300, "max_value": 1e300}),
    Case("expect_column_values_to_be_between", {"column": "day", "max_value": "2024-01-01T00:00:00+00:00"}),
    Case(
        "expect_column_values_to_be_between",
        {"column": "moment", "min_value": "2024-01-01T02:00:00+02:00", "strict_min": True},
    ),
    Case("expect_column_values_to_be_between", {"column": "zoned", "max_value": "2024-01-01T00:00:00+00:00"}),
    Case("expect_column_values_to_be_between", {**NUMBER, "row_condition": ALL_TRUE}),
    *(
        Case("expect_column_values_to_match_regex", {**SINGLE, "regex": pattern})
        for pattern in ("a", "^a$", "a$", ".", "^.+$", "[^a-z]", "a|b$", "(a)(b)?", "^$", r"\Aa\Z", "z{3,}", "\u00e9")
    ),
    Case("expect_column_values_to_not_match_regex", {**SINGLE, "regex": "^[A-Za-z ]+$"}),
    Case("expect_column_values_to_match_regex_list", {**SINGLE, "regex_list": ["a", "b"], "match_on": "any"}),
    Case("expect_column_values_to_not_match_regex_list", {**SINGLE, "regex_list": ["a", "b"]}),
    Case("expect_column_value_lengths_to_be_between", {**SINGLE, "min_value": 1, "max_value": 2}),
    Case("expect_column_value_lengths_to_equal", {**SINGLE, "value": 1}),
    *(
        Case(
            "expect_column_pair_values_a_to_be_greater_than_b", {**PAIR, "or_equal": is_open, "ignore_row_if": ignored}
        )
        for is_open in (True, False)
        for ignored in ("both_values_are_missing", "either_value_is_missing", "neither")
    ),
    Case("expect_column_pair_values_to_be_equal", {"column_A": "text", "column_B": "other_text"}),
    Case("expect_column_pair_values_to_be_equal", {"column_A": "day", "column_B": "moment"}),
    *(
        Case(
            "expect_compound_columns_to_be_unique", {"column_list": ["text", "double", "day"], "ignore_row_if": ignored}
        )
        for ignored in ("all_values_are_missing", "any_value_is_missing", "never")
    ),
    Case("expect_multicolumn_sum_to_equal", {"column_list": ["integer", "tame_double"], "sum_total": 2.1}),
    Case("expect_multicolumn_values_to_be_equal", {"column_list": ["text", "other_text"]}),
    Case("expect_select_column_values_to_be_unique_within_record", {"column_list": ["integer", "tiny", "tame_double"]}),
    *(
        Case(f"expect_column_{summary}_to_be_between", {"column": column, "min_value": -500, "max_value": 10})
        for summary in ("max", "min", "mean", "sum", "median", "stdev")
        for column in ("tame_double", "tiny")
    ),
    Case("expect_column_max_to_be_between", {"column": "moment", "max_value": "2024-01-01T00:00:00+00:00"}),
    Case("expect_column_min_to_be_between", {"column": "day", "min_value": "2024-01-01T00:00:00+00:00"}),
    *(
        Case(f"expect_column_{share}_to_be_between", {"column": column, "max_value": 0.5})
        for share in ("unique_value_count", "proportion_of_unique_values", "proportion_of_non_null_values")
        for column in ("text", "double", "day", "truth", "tame_wide")
    ),
    Case("expect_column_distinct_values_to_be_in_set", {"column": "tiny", "value_set": [0, 1.0, 1]}),
    Case("expect_column_distinct_values_to_contain_set", {"column": "text", "value_set": ["a", "a", "nowhere"]}),
    Case("expect_column_distinct_values_to_equal_set", {"column": "tiny", "value_set": [0, 1, 2]}),
)
"""Every type that is pushed down, on a column of each kind that it is pushed down for."""

LEFT = (
    Case("expect_column_values_to_match_strftime_format", {**SINGLE, "strftime_format": "%Y"}),
    Case("expect_column_values_to_be_json_parseable", SINGLE),
    Case("expect_column_values_to_be_increasing", {"column": "integer"}),
    Case("expect_column_value_z_scores_to_be_less_than", {"column": "tiny", "threshold": 1, "double_sided": True}),
    Case("expect_column_values_to_be_of_type", {**SINGLE, "type_": "str"}),
    Case("expect_column_values_to_be_in_set", {"column": "day", "value_set": ["2024-01-01"]}),
    Case("expect_column_values_to_be_in_set", {"column": "exact", "value_set": [1.5]}),
    Case("expect_column_values_to_be_between", {"column": "moment", "max_value": "2024-01-01"}),  # without a zone
    Case("expect_column_values_to_be_between", {"column": "text", "min_value": 0}),
    Case("expect_column_values_to_be_unique", {"column": "wide"}),  # beyond what floats can tell apart
    Case("expect_column_values_to_match_regex", {**SINGLE, "regex": r"\d"}),  # the text is not ASCII
    *(
        Case("expect_column_values_to_match_regex", {**SINGLE, "regex": r})
        for r in ("(?i)a", "a(?=b)", "(a", "a{2000}")
    ),
    Case("expect_column_values_to_match_regex", {"column": "integer", "regex": "1"}),
    Case(
        "expect_column_values_to_be_between", {**NUMBER, "row_condition": "integer > 0", "condition_parser": "pandas"}
    ),
    Case("expect_column_stdev_to_be_between", {"column": "constant", "min_value": 0, "strict_min": True}),
    Case("expect_column_mean_to_be_between", {"column": "double", "min_value": 0}),  # infinite
    Case("expect_column_values_to_not_be_null", {"column": "nowhere"}),
)
"""What DuckDB is not known to answer as GX's own engine does."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty rows with all values where engines differ, and a float that is constant but for its rounding."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from e2i_pipeline_tests.resources.pushdown.random_cases import POOLS

    path = tmp_path_factory.mktemp("tables") / "all.parquet"
    columns = {n: pa.array([v[i % len(v)] for i in range(40)], type=kind) for n, (kind, v) in POOLS.items()}
    pq.write_table(pa.table({**columns, "constant": pa.array([0.1] * 40)}), path)
    return path


def test_every_type_is_pushed_down_and_agrees(table: Path, tmp_path: Path) -> None:
    found = compared(tmp_path, batch_of(table, COLUMNS), PUSHED)

    assert [one.case for one in found if not one.is_pushed] == []
    assert [one for one in found if one.differs] == []
    assert {one.by_pandas[0] for one in found} == {True, False}


def test_what_is_not_known_goes_to_great_expectations_own_engine(table: Path, tmp_path: Path) -> None:
    found = compared(tmp_path, batch_of(table, (*COLUMNS, "constant")), LEFT)

    assert [one.case for one in found if one.is_pushed] == []
    assert [one for one in found if one.differs] == []
    assert {one.by_pandas[0] for one in found} == {True, False, None}


def test_pushed_and_left_together_agree(table: Path, tmp_path: Path) -> None:
    mixed = (*PUSHED[::4], *LEFT[::2])

    found = compared(tmp_path, batch_of(table, (*COLUMNS, "constant")), mixed)

    assert [one for one in found if one.differs] == []
    assert {one.is_pushed for one in found} == {True, False}


def _random_tables_agree(chance: random.Random, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.parquet"
        write_table(chance, path)
        found = compared(Path(folder), batch_of(path, COLUMNS), cases(chance, number))
    assert [one for one in found if one.differs] == []


CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
SEEDS = st.integers(0, 2**32 - 1)
"""Few examples are worth more from a seed than from hypothesis' own choices, which begin with the simplest."""


@given(SEEDS)
@settings(max_examples=3, deadline=None, suppress_health_check=CHECKS)
def test_random_expectations_on_random_tables_agree(seed: int) -> None:
    _random_tables_agree(random.Random(seed), 30)  # noqa: S311 - values to try, no secret


@pytest.mark.slow
@given(st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
def test_many_random_expectations_on_random_tables_agree(chance: random.Random) -> None:
    _random_tables_agree(chance, 60)


WRONG: tuple[Any, ...] = (
    *(None, "", " ", "a ", "\u6f22\u5b57", "L50.1\n", -1, 0, 1, 2, 121, 1e9, float("nan"), True),
    *("0001-01-01", "1969-12-31", "2026-01-01", "2199-12-31", "9999-12-31 23:59:59"),
)


def _spoiled(chance: random.Random, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """A table in which cells are wrong, missing or another row's, as far as the column's type holds them."""
    spoiled = {name: list(values) for name, values in columns.items()}
    for values in spoiled.values():
        kinds = {type(value) for value in values if value is not None}
        for i in range(len(values)):
            if chance.random() < 0.25:
                fitting = [w for w in WRONG if w is None or (type(w) in kinds and _fits(w, values))]
                values[i] = chance.choice([*fitting, chance.choice(values)])
    return spoiled


def _fits(wrong: Any, values: list[Any]) -> bool:
    is_date = any(isinstance(value, str) and value[:4].isdigit() for value in values)
    return not isinstance(wrong, str) or wrong[:4].isdigit() == is_date


def _suite_agrees(chance: random.Random, table: str, folder: Path) -> None:
    name, good = GOOD[table]
    tables = {other: stage(folder, other, _spoiled(chance, columns())) for other, (_, columns) in GOOD.items()}
    suite, parameters = read_suite(GX_ROOT / "expectations", name), suite_parameters(PARAMETERS)
    split = chance.choice(("", "train")) if "data_split" in good() else ""
    steps = [s for s in plan(suite, tables[table], parameters, (), tables) if not s.status]
    rows = batch(suite, steps, tables[table], parameters, tables, split)

    found = compared_steps(folder, rows, steps, parameters)

    assert [one for one in found if one.differs] == []
    assert {one.is_pushed for one in found} >= {True}


@pytest.mark.parametrize("table", GOOD)
def test_the_suites_are_pushed_down_as_a_whole(table: str, tmp_path: Path) -> None:
    tables = {name: stage(tmp_path, name, columns()) for name, (_, columns) in GOOD.items()}
    report = auditor(tmp_path).validate(tables[table], GOOD[table][0], PARAMETERS, references=tables)
    assert {o.engine for o in report.outcomes if o.status in ("passed", "failed")} == {"duckdb"}


@pytest.mark.parametrize("table", GOOD)
@given(seed=SEEDS)
@settings(max_examples=1, deadline=None, suppress_health_check=CHECKS)
def test_the_suites_agree_on_spoiled_tables(table: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _suite_agrees(random.Random(seed), table, Path(folder))  # noqa: S311 - values to try, no secret


@pytest.mark.slow
@pytest.mark.parametrize("table", GOOD)
@given(chance=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=CHECKS)
def test_the_suites_agree_on_many_spoiled_tables(table: str, chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _suite_agrees(chance, table, Path(folder))
