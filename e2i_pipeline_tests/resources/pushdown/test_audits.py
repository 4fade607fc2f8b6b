"""An audit says which engine counted, and which rows failed, by their pseudonyms and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport
from e2i_pipeline.contracts.tables import TABLES, key_column
from e2i_pipeline.domain.privacy import pseudonym
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.storage.presentation import expectation_metadata
from e2i_pipeline_tests.resources.audit_tables import PARAMETERS, auditor, events, journeys, stage

KEYS = sorted(str(pseudonym(b"key", "event", str(i))) for i in range(12))


def entry(kind: str, **kwargs: Any) -> dict[str, Any]:
    """An expectation, named as its type."""
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": {"name": kind}}


def audited(folder: Path, columns: dict[str, list[Any]], *entries: dict[str, Any], **call: Any) -> ValidationReport:
    """The audit of events, whose keys are pseudonyms in ascending order, by a suite of its own."""
    gx = auditor(folder, gx_root=str(folder / "gx"))
    gx.create_suite("mine", entries)
    given = {**events(), "treatment_event_id": KEYS, **columns}
    return gx.validate(stage(folder, "treatment_events", given), "mine", PARAMETERS, **call)


def only(report: ValidationReport) -> ExpectationOutcome:
    (outcome,) = report.outcomes
    return outcome


COSTS = [1.0, -1.0, 2.0, float("nan"), None, -2.0, *[3.0] * 6]
CONDITION = {"type": "comparison", "column": {"name": "sequence_number"}, "operator": "==", "parameter": 2}


@pytest.mark.parametrize(
    ("columns", "expectation", "rows"),
    [
        ({"cost": COSTS}, entry("column_values_to_be_between", column="cost", min_value=0), (1, 5)),
        ({"cost": COSTS}, entry("column_values_to_not_be_null", column="cost"), (3, 4)),
        (
            {"cost": COSTS},
            entry("column_values_to_not_be_null", column="cost", row_condition=CONDITION),
            (3,),
        ),
        ({"hcp_id": ["a", "b", "a", *"cdefgh", None, None, "b"]}, entry("column_values_to_be_unique", column="hcp_id"),
         (0, 1, 2, 11)),
        (
            {"event_type": ["a"] * 12},
            entry("compound_columns_to_be_unique", column_list=["patient_id", "event_type", "sequence_number"]),
            (),
        ),
        ({"event_type": ["a"] * 12}, entry("column_values_to_be_in_set", column="event_type", value_set=["b"]),
         (0, 1, 2, 3, 4)),
        (
            {"event_type": ["2024", "later", "2025", "soon", *["2026"] * 8]},
            entry("column_values_to_match_strftime_format", column="event_type", strftime_format="%Y"),
            (1, 3),
        ),
        (
            {"event_type": ["2024", None, "2025", "\u0663x", *["2026"] * 8]},
            entry("column_values_to_match_regex", column="event_type", regex=r"^\d+$"),
            (3,),
        ),
    ],
    ids=lambda value: value["meta"]["name"] if isinstance(value, dict) and "meta" in value else "",
)  # fmt: skip
def test_the_smallest_keys_of_failing_rows_are_named(
    tmp_path: Path, columns: dict[str, list[Any]], expectation: dict[str, Any], rows: tuple[int, ...]
) -> None:
    outcome = only(audited(tmp_path, columns, expectation))

    assert outcome.sample_keys == tuple(KEYS[row] for row in rows)
    assert outcome.status == ("failed" if rows else "passed")


def test_a_row_that_stands_twice_is_named_once(tmp_path: Path) -> None:
    doubled = {"treatment_event_id": [KEYS[0]] * 9 + KEYS[9:]}
    outcome = only(audited(tmp_path, doubled, entry("column_values_to_be_unique", column="treatment_event_id")))
    assert outcome.unexpected_rows == 9
    assert outcome.sample_keys == (KEYS[0],)


def test_what_is_no_pseudonym_is_not_named(tmp_path: Path) -> None:
    raw = {"treatment_event_id": [f"MRN-{i}" for i in range(11)] + [KEYS[3]], "cost": [-1.0] * 12}
    by_duckdb = entry("column_values_to_be_between", column="cost", min_value=0)
    by_gx = entry("column_values_to_match_strftime_format", column="event_type", strftime_format="%Y")
    for outcome in audited(tmp_path, raw, by_duckdb, by_gx).outcomes:
        assert outcome.unexpected_rows == 12
        assert outcome.sample_keys == (KEYS[3],)


def test_an_aggregate_and_a_table_without_a_key_name_no_row(tmp_path: Path) -> None:
    outcome = only(audited(tmp_path, {}, entry("column_max_to_be_between", column="cost", max_value=0)))
    assert (outcome.status, outcome.sample_keys) == ("failed", ())
    gx = auditor(tmp_path, gx_root=str(tmp_path / "gx"))
    gx.create_suite("other", [entry("column_values_to_be_between", column="cost", max_value=0)])
    other = only(gx.validate(stage(tmp_path, "some_table", events()), "other", PARAMETERS))
    assert (other.status, other.sample_keys) == ("failed", ())


def test_the_report_says_which_engine_counted(tmp_path: Path) -> None:
    report = audited(
        tmp_path,
        {},
        entry("column_values_to_not_be_null", column="patient_id"),
        entry("column_values_to_be_json_parseable", column="event_type"),
        entry("column_values_to_be_null", column="nowhere"),
    )
    assert [(o.status, o.engine) for o in report.outcomes] == [
        ("passed", "duckdb"),
        ("failed", "great_expectations"),
        ("failed", ""),  # the column is missing: nothing was counted
    ]
    shown = expectation_metadata(report.outcomes[1])
    assert shown["engine"] == "great_expectations"
    assert shown["sample_keys"] == ", ".join(KEYS[:5])
    assert not {"engine", "sample_keys"} & expectation_metadata(report.outcomes[2]).keys()


def test_an_empty_split_is_counted_and_not_judged(tmp_path: Path) -> None:
    given = {"data_split": ["train"] * 12}
    rows = entry("table_row_count_to_be_between", min_value=1)
    report = audited(
        tmp_path, given, rows, entry("column_values_to_not_be_null", column="cost"), split_filter="holdout"
    )
    assert [(o.status, o.engine) for o in report.outcomes] == [("failed", "duckdb"), ("skipped", "")]


def test_helper_columns_are_counted_in_bounded_memory(tmp_path: Path) -> None:
    """A window over all rows is spilled; the suite's other columns do not go through it."""
    import duckdb

    from e2i_pipeline.resources.pushdown.metrics import answer_to
    from e2i_pipeline.resources.pushdown.scan import Scan
    from e2i_pipeline_tests.resources.pushdown.both_engines import batch_of

    path = tmp_path / "many.parquet"
    duckdb.sql(f"COPY (SELECT md5('' || i) AS k, i // 3 AS p, i AS n FROM range(600000) t(i)) TO '{path}'")
    engine = EngineResource(temp_dir=str(tmp_path / "spilled"), memory_limit="60MB", threads=1)
    with engine.connect() as connection:
        rows = batch_of(path, ("k", "n"), {"is_last": "n = max(n) OVER (PARTITION BY p)"}).typed(connection)
        scan = Scan(connection, rows)
        asked = {
            name: answer_to(f"column_values.{name}.unexpected_count", {"column": c}, v, rows.fields, tuple(rows.fields))
            for name, c, v in (("unique", "k", {}), ("in_set", "is_last", {"value_set": [True]}), ("null", "n", {}))
        }
        scan.ask(term for answer in asked.values() for term in (*answer.terms, *answer.guards))
    assert {name: scan.found[answer.terms[0]] for name, answer in asked.items()} == {
        "unique": 0,
        "in_set": 400000,
        "null": 600000,
    }


def test_every_table_has_its_own_key() -> None:
    keys = {name: key_column(name, schema.names) for name, schema in TABLES.items()}
    assert keys == {
        "patient_journeys": "patient_journey_id",
        "treatment_events": "treatment_event_id",
        "hcp_profiles": "hcp_id",
        "engagement_events": "engagement_event_id",
    }
    assert key_column("training_dataset", ["patient_journey_id", "target"]) == "patient_journey_id"
    assert key_column("treatment_events", ["patient_id"]) == ""
    assert key_column("elsewhere", list(journeys())) == ""
