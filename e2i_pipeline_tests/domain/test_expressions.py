"""A user's expression is one scalar expression over its row; anything else is refused by the key that holds it."""

import duckdb
import pytest

from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.connectors.expressions import columns_read


def read(sql: str) -> tuple[str, ...]:
    with duckdb.connect() as connection:
        return columns_read(connection, {"columns.brand.sql": sql}, "patient_journeys")[sql]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("CASE WHEN sex = 'f' THEN 1 ELSE TRY_CAST(code AS INTEGER) END", ("sex", "code")),
        ('upper("first drug") || trim(b) -- and a note', ("first drug", "b")),
        ("list_transform(string_split(codes, ';'), lambda code: code || suffix)", ("codes", "suffix")),
        ("nullif(a, '') IN ('x', 'y') AND b BETWEEN 1 AND 2 OR c IS NULL", ("a", "b", "c")),
        ("split_part(a, '-', 2)", ("a",)),
        ("try_strptime(day, '%d.%m.%Y')::DATE + INTERVAL 3 DAY", ("day",)),
        ("len(range(n))", ("n",)),
        ("date_diff('day', DATE '2020-01-01', day)", ("day",)),
    ],
)
def test_a_scalar_expression_passes_and_says_what_it_reads(sql: str, columns: tuple[str, ...]) -> None:
    assert read(sql) == columns


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("(SELECT max(x) FROM other)", "a subquery"),
        ("a IN (SELECT 1)", "a subquery"),
        ("EXISTS (SELECT 1)", "a subquery"),
        ("a; DROP TABLE x", "not SQL that the engine understands"),
        ("a), (b", "not one expression"),
        ("a) FROM (VALUES (1)) t(a", "not one expression"),
        ("a) FROM read_text('/etc/passwd') t(a", "not one expression"),
        ("read_text('/etc/passwd')", "the function read_text"),
        ("a /* open", "not SQL"),
        ("", "the function row"),
        ("a, b", "the function row"),
        ("sum(a)", "the function sum"),
        ("row_number() OVER ()", "a window function"),
        ("unnest([1, 2])", "the function unnest"),
        ("1 + pragma_table_info('x')", "the function pragma_table_info"),
        ("current_setting('home_directory')", "the function current_setting"),
        ("getenv('HOME')", "the function getenv"),
        ("getvariable('x')", "the function getvariable"),
        ("current_date", "current_date: the clock"),
        ("now()", "the function now"),
        ("ago(INTERVAL 1 DAY)", "the function ago"),
        ("random()", "the function random"),
        ("nextval('s')", "the function nextval"),
        ("get_block_size('memory')", "the function get_block_size"),
        ("json_execute_serialized_sql('x')", "the function json_execute_serialized_sql"),
        ("no_such_function(a)", "the function no_such_function"),
        ("*", "a star"),
        ("COLUMNS('a.*')", "a star"),
        ("$1", "a parameter"),
        ("#1", "a position"),
    ],
)
def test_anything_more_is_refused_by_its_key(sql: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"source\.tables\.patient_journeys\.columns\.brand\.sql.*({why})"):
        read(sql)
