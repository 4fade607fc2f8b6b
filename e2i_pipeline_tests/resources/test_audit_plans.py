"""What runs, what is skipped and why, and the columns that are read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from e2i_pipeline.contracts.references import ColumnInfo, TableRef
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.quality import suite_parameters
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.audit_plans import Step, batch, plan
from e2i_pipeline.resources.suites import parse_suite, read_suite
from e2i_pipeline_tests.resources.audit_tables import GX_ROOT, PARAMETERS

SUITE = read_suite(GX_ROOT / "expectations", "e2i_patient_journeys")
RESOLVED = suite_parameters(PARAMETERS)


def table(*without: str, **described: Any) -> TableRef:
    """A fully delivered `patient_journeys`, but for some columns."""
    names = [n for n in (*TABLES["patient_journeys"].names, "known_at") if n not in without]
    columns = tuple(ColumnInfo(name=n, dtype="VARCHAR") for n in names)
    return TableRef(key="k", name="patient_journeys", location="/t.parquet", version="v", columns=columns, **described)


def step(name: str, *without: str, absent: tuple[str, ...] = ()) -> Step:
    steps = plan(SUITE, table(*without), RESOLVED, absent, {})
    (found,) = (s for s in steps if s.expectation.name == name)
    return found


def test_all_runs_that_can() -> None:
    skipped = [s.expectation.name for s in plan(SUITE, table(), RESOLVED, (), {}) if s.status]
    assert skipped == ["hcp_id_exists_in_hcp_profiles"]


@pytest.mark.parametrize(
    ("name", "without", "absent", "status", "reason"),
    [
        ("risk_score_is_a_share", ("risk_score",), (), "skipped", "risk_score was not delivered"),
        (
            "risk_score_is_a_share",
            (),
            ("risk_score",),
            "",
            "",
        ),  # declared absent and delivered: it is there, so it runs
        ("brand_exists", ("brand",), (), "", ""),
        ("brand_exists", ("brand",), ("brand",), "skipped", "the source declares that it has no brand"),
        ("brand_is_not_null", ("brand",), (), "skipped", "brand is missing, as brand's own expectation says"),
        ("patient_id_is_unique_as_of", ("known_at",), (), "failed", "the column known_at is missing"),
        ("patient_journey_id_is_unique_per_known_at", ("known_at",), (), "failed", "the column known_at is missing"),
        ("days_to_treatment_is_null_unless_treated", ("days_to_treatment",), (), "skipped", "was not delivered"),
    ],
)
def test_what_becomes_of_a_missing_column(
    name: str, without: tuple[str, ...], absent: tuple[str, ...], status: str, reason: str
) -> None:
    found = step(name, *without, absent=absent)
    assert found.status == status
    assert reason in found.reason


def test_an_open_bound_is_left_out_and_a_given_one_stays() -> None:
    assert "max_value" not in step("row_count_is_in_range").kwargs
    steps = plan(SUITE, table(), suite_parameters(PARAMETERS | {"maximum_rows": 9}), (), {})
    assert "max_value" in steps[0].kwargs


def batch_query(*planned: Any) -> str:
    rows = batch(*planned)
    return rows.select(rows.fields)


def test_only_what_is_tested_is_read() -> None:
    query = batch_query(SUITE, plan(SUITE, table(), RESOLVED, (), {}), table(), RESOLVED, {})
    selected = query.partition(" FROM ")[0]
    assert '"brand"' in selected
    assert '"is_current_as_of"' in selected
    for unneeded in ("zip_code", "comorbidities", "gender", "has_known_hcp", "hcp_id"):
        assert f'"{unneeded}"' not in selected


def test_times_in_the_query_are_utc() -> None:
    landed = table(landed_at=datetime(2026, 2, 1, 12, tzinfo=UTC))
    steps = plan(SUITE, landed, RESOLVED, (), {})
    query = batch_query(SUITE, steps, landed, RESOLVED, {})
    assert "known_at <= TIMESTAMP '2026-01-01 00:00:00" in query
    assert "known_at > TIMESTAMP '2026-02-01 12:00:00" in query
    unlanded = batch_query(SUITE, steps, table(), RESOLVED, {})
    assert "known_at > TIMESTAMP '2026-01-01 00:00:00" in unlanded


def test_a_split_is_quoted() -> None:
    suite = parse_suite("mine", {"expectations": []})
    assert batch_query(suite, (), table(), {}, {}, "it's").endswith("WHERE data_split = 'it''s'")


def test_a_table_expectation_on_columns_reads_all_of_them() -> None:
    entry = {"type": "expect_table_column_count_to_be_between", "kwargs": {"min_value": 1}, "meta": {"name": "wide"}}
    suite = parse_suite("mine", {"expectations": [entry]})
    query = batch_query(suite, plan(suite, table(), {}, (), {}), table(), {}, {})
    assert '"zip_code"' in query


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"needs the parameters as_of\."):
        plan(SUITE, table(), suite_parameters({**PARAMETERS, "as_of": ""}), (), {})
