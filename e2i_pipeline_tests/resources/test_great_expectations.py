"""Real Great Expectations on small tables: each rule holds and breaks, and nothing of a row gets out."""

import copy
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport
from e2i_pipeline.contracts.references import FeatureSpec, TableRef
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain import quality
from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable
from e2i_pipeline.resources.great_expectations import DEFAULT_SUITE
from e2i_pipeline_tests.resources.audit_tables import GOOD, GX_ROOT, PARAMETERS, auditor, journeys, profiles, stage

Change = Callable[[dict[str, list[Any]]], Any]


def audited(folder: Path, table: str, change: Change | None = None, **call: Any) -> ValidationReport:
    """The audit of a good table after a change to it."""
    suite, good = GOOD[table]
    columns = good()
    if change is not None:
        change(columns)
    return auditor(folder).validate(stage(folder, table, columns), suite, PARAMETERS, **call)


def outcome(report: ValidationReport, name: str) -> ExpectationOutcome:
    (found,) = (o for o in report.outcomes if o.name == name)
    return found


def put(column: str, value: Any, row: int = 0) -> Change:
    """Sets one cell."""

    def change(columns: dict[str, list[Any]]) -> None:
        columns[column][row] = value

    return change


def repeat(column: str) -> Change:
    """Gives the second row the first one's value."""

    def change(columns: dict[str, list[Any]]) -> None:
        columns[column][1] = columns[column][0]

    return change


@pytest.mark.parametrize("table", GOOD)
def test_a_good_table_passes(tmp_path: Path, table: str) -> None:
    report = audited(tmp_path, table)
    assert {o.status for o in report.outcomes} <= {"passed", "skipped"}
    assert report.passed >= len(report.outcomes) / 2
    assert report.pass_rate == 1.0
    assert quality.decide(report, 0.95, True) == (True, (), ())


class Broken(NamedTuple):
    """One change to a good table, the rules that it breaks, and on how many rows."""

    change: Change
    rules: tuple[str, ...]
    rows: int = 1


BROKEN = {
    "patient_journeys": (
        Broken(put("patient_id", None, 2), ("patient_id_is_not_null",)),
        Broken(
            repeat("patient_journey_id"),
            ("patient_journey_id_is_unique_as_of", "patient_journey_id_is_unique_per_known_at"),
            rows=2,
        ),
        Broken(repeat("patient_id"), ("patient_id_is_unique_as_of",), rows=2),
        Broken(put("brand", "Unheard"), ("brand_is_configured",)),
        Broken(put("journey_start_date", "2199-01-01", 1), ("journey_start_date_is_not_in_the_future",)),
        Broken(put("journey_end_date", "2025-02-01", 2), ("journey_end_date_is_not_before_start",)),
        Broken(put("primary_diagnosis_code", "402"), ("primary_diagnosis_code_has_icd_10_cm_shape",)),
        Broken(put("age_at_diagnosis", 121), ("age_at_diagnosis_is_plausible",)),
        Broken(put("treatment_initiated", 2, 4), ("treatment_initiated_is_zero_or_one",)),
        Broken(put("days_to_treatment", 3, 1), ("days_to_treatment_is_null_unless_treated",)),
        Broken(put("ingestion_timestamp", "2025-01-01"), ("ingestion_timestamp_is_not_before_source",)),
    ),
    "treatment_events": (
        Broken(repeat("treatment_event_id"), ("treatment_event_id_is_unique",), rows=2),
        Broken(put("event_type", "rumour"), ("event_type_is_known",)),
        Broken(put("event_date", "2027-01-01", 1), ("event_date_is_not_in_the_future",)),
        Broken(put("event_date", "2025-02-01", 3), ("sequence_number_agrees_with_event_date",)),
        Broken(put("cost", -0.01), ("cost_is_not_negative",)),
        Broken(put("sequence_number", 0, 4), ("sequence_number_is_positive",)),
    ),
    "hcp_profiles": (
        Broken(repeat("hcp_id"), ("hcp_id_is_unique_per_version",), rows=2),
        Broken(put("specialty", None), ("specialty_is_not_null",)),
        Broken(put("specialty", "alchemy", 1), ("specialty_is_known",)),
        Broken(put("geographic_region", "Atlantis"), ("geographic_region_is_known",)),
        Broken(put("decile", 11), ("decile_is_in_range",)),
    ),
    "engagement_events": (
        Broken(repeat("engagement_event_id"), ("engagement_event_id_is_unique",), rows=2),
        Broken(put("hcp_id", None), ("hcp_id_is_not_null",)),
        Broken(put("channel", "pigeon"), ("channel_is_known",)),
        Broken(put("event_timestamp", "2026-03-01", 2), ("event_timestamp_is_not_in_the_future",)),
    ),
    "training_dataset": (
        Broken(put("target", 2), ("target_is_zero_or_one",)),
        Broken(put("target", None, 1), ("target_is_not_null",)),
        Broken(put("brand", "competitor"), ("brand_is_configured",)),
        Broken(lambda c: [v.__setitem__(3, v[2]) for v in c.values()], ("modelling_row_is_unique",), rows=2),
        Broken(put("patient_id", "patient-0", 5), ("patient_is_in_one_split",), rows=2),
        Broken(put("call_frequency", 101.0), ("call_frequency_is_in_range",)),
        Broken(put("last_call_date", "2024-12-31"), ("last_call_date_is_not_before_first",)),
        Broken(put("hcp_id", None), ("hcp_id_is_not_null",)),
    ),
}


@pytest.mark.parametrize("table", BROKEN)
def test_each_broken_rule_fails_and_no_other(tmp_path: Path, table: str) -> None:
    report = audited(tmp_path, table, lambda columns: [broken.change(columns) for broken in BROKEN[table]])
    expected = {rule: broken.rows for broken in BROKEN[table] for rule in broken.rules}
    assert {o.name: o.unexpected_rows for o in report.having("failed")} == expected
    assert not report.having("error")
    is_passed, reasons, warnings = quality.decide(report, 0.0, True)
    assert not is_passed
    for found in report.having("failed"):
        said = reasons if found.severity == "critical" else warnings
        assert any(f"{found.name} " in s and f"{found.unexpected_rows} of {found.tested_rows} rows" in s for s in said)


CRITICAL = {
    "patient_journeys": {
        *("patient_id_is_not_null", "patient_journey_id_is_unique_as_of", "patient_id_is_unique_as_of"),
        *(
            "patient_journey_id_is_unique_per_known_at",
            "brand_is_configured",
            "journey_start_date_is_not_in_the_future",
        ),
    },
    "treatment_events": {
        *("treatment_event_id_is_unique", "event_type_is_known", "event_date_is_not_in_the_future"),
        "sequence_number_agrees_with_event_date",
    },
    "hcp_profiles": {
        *("hcp_id_is_unique_per_version", "specialty_is_not_null", "specialty_is_known", "geographic_region_is_known"),
    },
    "engagement_events": {"engagement_event_id_is_unique", "hcp_id_is_not_null"},
    "training_dataset": {
        *("target_is_zero_or_one", "target_is_not_null", "brand_is_configured", "modelling_row_is_unique"),
        "patient_is_in_one_split",
    },
}


@pytest.mark.parametrize("table", BROKEN)
def test_severity_is_what_the_data_dictionary_says(tmp_path: Path, table: str) -> None:
    severity = {e.name: e.severity for e in auditor(tmp_path).expectations(GOOD[table][0])}
    rules = {rule for broken in BROKEN[table] for rule in broken.rules}
    assert {rule for rule in rules if severity[rule] == "critical"} == CRITICAL[table]


def test_the_regression_suite_wants_a_finite_and_varying_target(tmp_path: Path) -> None:
    columns = GOOD["training_dataset"][1]()
    columns["outcome"] = columns.pop("target")
    columns["target"] = [float(i) for i in range(10)] + [None, None]
    suite = auditor(tmp_path).default_suite("regression")
    table = stage_floats(tmp_path, columns)
    good = auditor(tmp_path).validate(table, suite, PARAMETERS)
    assert quality.decide(good, 0.95, True)[:2] == (True, ())
    assert outcome(good, "target_is_in_configured_range").reason == "target_low, target_high is not configured"
    columns["target"][0] = float("inf")
    bad = auditor(tmp_path).validate(
        stage_floats(tmp_path, columns), suite, PARAMETERS | {"target_low": 0, "target_high": 5}
    )
    assert not bad.having("error")
    assert outcome(bad, "target_is_finite").unexpected_rows == 1
    assert outcome(bad, "target_is_in_configured_range").unexpected_rows == 5


def stage_floats(folder: Path, columns: dict[str, list[Any]]) -> TableRef:
    """As `stage`, with a target that is not a whole number."""
    named = {"value" if c == "target" else c: v for c, v in columns.items()}
    table = stage(folder, "training_dataset", named)
    engine = auditor(folder).engine
    with engine.connect() as connection:
        written = engine.write(
            connection,
            f"SELECT * RENAME (value AS target) FROM read_parquet('{table.location}')",
            folder / "renamed",
        )
    return table.model_copy(
        update={"location": written.location, "version": written.version, "columns": written.columns}
    )


def test_a_missing_required_column_fails_once_and_its_other_rules_are_skipped(tmp_path: Path) -> None:
    report = audited(tmp_path, "patient_journeys", lambda c: c.pop("brand"))
    assert outcome(report, "brand_exists").status == "failed"
    for name in ("brand_is_not_null", "brand_is_configured"):
        assert outcome(report, name).status == "skipped"
        assert "brand is missing" in outcome(report, name).reason
    assert not quality.decide(report, 0.95, True)[0]


def test_an_empty_table_fails_by_its_row_count_alone(tmp_path: Path) -> None:
    report = audited(tmp_path, "patient_journeys", lambda c: [c.update({k: []}) for k in list(c)])
    assert [o.name for o in report.having("failed")] == ["row_count_is_in_range"]
    assert outcome(report, "row_count_is_in_range").observed == "0"
    assert outcome(report, "brand_is_configured").reason == "there are no rows to test"


def test_an_absent_table_is_skipped_not_passed(tmp_path: Path) -> None:
    table = TableRef(key="k", name="engagement_events", version="absent", is_absent=True)
    report = auditor(tmp_path).validate(table, "e2i_engagement_events", PARAMETERS)
    assert (report.passed, report.failed, report.skipped) == (0, 0, len(report.outcomes))
    assert quality.decide(report, 0.95, True) == (True, (), ())
    assert set(auditor(tmp_path).dimensions(report).values()) == {None}


def test_an_absent_column_is_skipped_and_leaves_the_uniqueness_key(tmp_path: Path) -> None:
    columns = GOOD["training_dataset"][1]()
    del columns["hcp_id"], columns["call_frequency"]
    table = stage(tmp_path, "training_dataset", columns, absent_columns=("hcp_id",))
    report = auditor(tmp_path).validate(table, "e2i_classification_suite", PARAMETERS)
    assert outcome(report, "hcp_id_is_not_null").reason == "the source declares that it has no hcp_id"
    assert outcome(report, "call_frequency_is_in_range").reason == "call_frequency was not delivered"
    key = outcome(report, "modelling_row_is_unique")
    assert (key.status, key.column) == ("passed", "patient_journey_id,observation_date")
    assert quality.decide(report, 0.95, True) == (True, (), ())


def test_a_key_of_one_remaining_column_is_still_unique(tmp_path: Path) -> None:
    def one_version(columns: dict[str, list[Any]]) -> None:
        del columns["updated_at"]

    report = audited(tmp_path, "hcp_profiles", one_version)
    assert outcome(report, "hcp_id_is_unique_per_version").unexpected_rows == 6


def test_versions_of_a_journey_are_no_duplicates(tmp_path: Path) -> None:
    """A restated journey, and a version that becomes known after `as_of` although its patient moved on."""

    def restate(columns: dict[str, list[Any]]) -> None:
        for known_at, start in (("2025-06-01 00:00:00", "2025-03-01"), ("2026-01-15 00:00:00", "2026-01-10")):
            for values in columns.values():
                values.append(values[1])
            columns["known_at"][-1], columns["journey_start_date"][-1] = known_at, start

    report = audited(tmp_path, "patient_journeys", restate)
    assert quality.decide(report, 0.95, True) == (True, (), ())
    assert outcome(report, "patient_journey_id_is_unique_per_known_at").tested_rows == 14
    assert outcome(report, "patient_id_is_unique_as_of").tested_rows == 12
    assert outcome(report, "journey_start_date_is_not_in_the_future").tested_rows == 13


def test_a_patient_may_have_two_journeys_where_the_journey_is_the_unit(tmp_path: Path) -> None:
    columns = journeys()
    repeat("patient_id")(columns)
    table = stage(tmp_path, "patient_journeys", columns)
    report = auditor(tmp_path).validate(table, "e2i_patient_journeys", PARAMETERS | {"cohort_unit": "journey"})
    found = outcome(report, "patient_id_is_unique_as_of")
    assert (found.status, found.reason) == ("skipped", "it applies where cohort_unit is patient")
    assert quality.decide(report, 0.95, True) == (True, (), ())


def test_tables_that_refer_to_each_other(tmp_path: Path) -> None:
    def stray(columns: dict[str, list[Any]]) -> None:
        columns["patient_journey_id"][0] = "nowhere"
        columns["hcp_id"][1] = None
        columns["event_date"][3] = "2025-10-01"  # journey-1 has no end, journey-2 has
        columns["event_date"][5] = "2025-10-01"

    others = {
        "patient_journeys": stage(tmp_path, "patient_journeys", journeys()),
        "hcp_profiles": stage(tmp_path, "hcp_profiles", profiles()),
    }
    report = audited(tmp_path, "treatment_events", stray, references=others)
    unexpected = {o.name: (o.tested_rows, o.unexpected_rows) for o in report.having("failed")}
    assert unexpected == {
        "patient_journey_id_exists_in_patient_journeys": (12, 1),
        "event_date_is_not_after_its_journey": (5, 1),
    }
    assert outcome(report, "hcp_id_exists_in_hcp_profiles").tested_rows == 11
    alone = audited(tmp_path, "treatment_events", stray)
    assert outcome(alone, "hcp_id_exists_in_hcp_profiles").reason == "hcp_profiles was not given to compare with"
    assert alone.suite_hash != report.suite_hash
    gone = {name: table.model_copy(update={"is_absent": True}) for name, table in others.items()}
    absent = audited(tmp_path, "treatment_events", stray, references=gone)
    assert outcome(absent, "hcp_id_exists_in_hcp_profiles").reason == "the source has no hcp_profiles"


def test_one_split_is_audited_and_sees_the_whole_table(tmp_path: Path) -> None:
    change = put("patient_id", "patient-0", 5)
    train = audited(tmp_path, "training_dataset", change, split_filter="train")
    assert (train.split, outcome(train, "brand_is_configured").tested_rows) == ("train", 4)
    assert outcome(train, "patient_is_in_one_split").unexpected_rows == 1
    test = audited(tmp_path, "training_dataset", change, split_filter="test")
    assert quality.decide(test, 0.95, True)[0]
    nobody = audited(tmp_path, "training_dataset", split_filter="nosuch")
    assert [o.name for o in nobody.having("failed")] == ["row_count_is_in_range"]
    assert not quality.decide(nobody, 0.95, True)[0]


def test_declared_features_are_expected_too(tmp_path: Path) -> None:
    features = [
        FeatureSpec(name="call_frequency", kind="numeric", view="hcp_features", low=0, high=5),
        FeatureSpec(name="target", kind="boolean", view="hcp_features"),
        FeatureSpec(name="brand", kind="categorical", view="hcp_features"),
    ]
    extra = quality.feature_expectations(features)
    report = audited(tmp_path, "training_dataset", additional=extra)
    assert outcome(report, "call_frequency_is_in_declared_range").unexpected_rows == 6
    assert outcome(report, "target_is_boolean").status == "passed"


def test_an_error_is_neither_pass_nor_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The mean of a text: pandas raises a TypeError that quotes the text."""
    caplog.set_level(logging.DEBUG)
    gx = auditor(tmp_path, gx_root=str(tmp_path / "gx"), data_docs=str(tmp_path / "docs"))
    kinds = {
        "brand_has_a_mean": "expect_column_mean_to_be_between",
        "brand_is_given": "expect_column_values_to_not_be_null",
    }
    bounds = {"brand_has_a_mean": {"min_value": 0}, "brand_is_given": {}}
    gx.create_suite(
        "odd",
        [
            {"type": kind, "kwargs": {"column": "brand", **bounds[name]}, "meta": {"name": name}}
            for name, kind in kinds.items()
        ],
    )
    table = stage(tmp_path, "patient_journeys", journeys() | {"brand": ["CANARY-brand"] * 12})
    report = gx.validate(table, "odd", PARAMETERS)
    wrong, right = report.outcomes
    assert (wrong.status, right.status, right.severity) == ("error", "passed", "critical")
    assert "TypeError" in wrong.reason
    assert (wrong.tested_rows, report.failed) == (0, 0)
    with pytest.raises(ToolUnavailable, match="brand_has_a_mean") as unknown:
        quality.decide(report, 0.95, True)
    written = b"".join(p.read_bytes() for p in (tmp_path / "docs").rglob("*") if p.is_file())
    assert b"TypeError" in written
    assert b"CANARY" not in written
    assert "CANARY" not in f"{report.model_dump_json()} {unknown.value} {caplog.text}"


def canaries() -> dict[str, dict[str, list[Any]]]:
    """Per table a row in which each column of text breaks its rule with a token of its own, and numbers stand out."""
    planted = {}
    for table, (_, good) in GOOD.items():
        columns = copy.deepcopy(good())
        for name, values in columns.items():
            if isinstance(values[0], str) and not values[0][:4].isdigit():
                values[0] = values[1] = f"CANARY-{name}"
            elif isinstance(values[0], (int, float)):
                values[0] = values[1] = -987654
        planted[table] = columns
    for schema in TABLES.values():
        rows = len(next(iter(planted[schema.name].values())))
        for column in schema.columns:
            if column.dtype == "VARCHAR":
                planted[schema.name].setdefault(column.name, [f"CANARY-{column.name}"] * rows)
    return planted


def test_no_value_of_a_row_gets_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tables = {name: stage(tmp_path, name, columns) for name, columns in canaries().items()}
    said = []
    for name, table in tables.items():
        gx = auditor(tmp_path, data_docs=str(tmp_path / "docs"))
        report = gx.validate(table, GOOD[name][0], PARAMETERS, references=tables)
        assert report.failed > 2, name
        assert report.data_docs
        said += [report.model_dump_json(), *quality.decide(report, 0.95, True)[1]]
    written = b"".join(p.read_bytes() for p in sorted((tmp_path / "docs").rglob("*")) if p.is_file())
    assert b"brand_is_configured" in written
    for token in ("CANARY-", "987654"):
        assert token.encode() not in written
        assert token not in "".join(said)
        assert token not in caplog.text


def test_only_counts_and_shares_are_observed(tmp_path: Path) -> None:
    gx = auditor(tmp_path, gx_root=str(tmp_path / "gx"), data_docs=str(tmp_path / "docs"))
    kinds = ("max_to_be_between", "unique_value_count_to_be_between", "proportion_of_unique_values_to_be_between")
    gx.create_suite(
        "aggregates",
        [
            {
                "type": f"expect_column_{kind}",
                "kwargs": {"column": "decile", "min_value": 0, "max_value": 0.5},
                "meta": {"name": kind},
            }
            for kind in kinds
        ],
    )
    table = stage(tmp_path, "hcp_profiles", profiles() | {"decile": [987654] * 6})
    report = gx.validate(table, "aggregates", PARAMETERS)
    assert [(o.status, o.observed) for o in report.outcomes] == [
        ("failed", ""),
        ("failed", "1"),
        ("passed", "0.166667"),
    ]
    assert b"987654" not in b"".join(p.read_bytes() for p in (tmp_path / "docs").rglob("*") if p.is_file())


def test_suites_are_only_read(tmp_path: Path) -> None:
    """Every suite of the repository is audited, some twice and with failures: not a byte of gx/ changes."""
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in GX_ROOT.rglob("*") if p.is_file()}
    gx = auditor(tmp_path, data_docs=str(tmp_path / "docs"))
    used = [audited(tmp_path, table).suite for table in GOOD]
    used += [audited(tmp_path, table, broken.change).suite for table, (broken, *_) in BROKEN.items()]
    modelling = stage(tmp_path, "training_dataset", GOOD["training_dataset"][1]())
    used += [gx.validate(modelling, gx.default_suite(problem), PARAMETERS).suite for problem in ("regression", "other")]
    assert set(used) == {path.stem for path in (GX_ROOT / "expectations").glob("*.json")}
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in GX_ROOT.rglob("*") if p.is_file()} == before


def test_the_same_audit_gives_the_same_outcomes(tmp_path: Path) -> None:
    first, second = audited(tmp_path, "hcp_profiles"), audited(tmp_path, "hcp_profiles")
    assert (first.outcomes, first.suite_hash) == (second.outcomes, second.suite_hash)


def test_data_docs_keep_earlier_pages(tmp_path: Path) -> None:
    gx = auditor(tmp_path, data_docs=str(tmp_path / "docs"))
    pages = [
        gx.validate(stage(tmp_path, table, GOOD[table][1]()), GOOD[table][0], PARAMETERS).data_docs
        for table in ("hcp_profiles", "engagement_events")
    ]
    assert all(Path(page).is_file() for page in pages)
    index = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "e2i_hcp_profiles" in index
    assert "e2i_engagement_events" in index


def test_an_audit_stands_without_data_docs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    gx = auditor(tmp_path, data_docs=str(tmp_path / "file" / "docs"))
    report = gx.validate(stage(tmp_path, "hcp_profiles", profiles()), "e2i_hcp_profiles", PARAMETERS)
    assert report.passed > 5
    assert report.data_docs == ""
    assert "See that the folder can be made and written" in report.data_docs_problem
    assert "No data docs for hcp_profiles" in caplog.text


def test_a_table_that_is_gone_may_come_back(tmp_path: Path) -> None:
    table = stage(tmp_path, "hcp_profiles", profiles())
    Path(table.location).unlink()
    with pytest.raises(ToolUnavailable, match="hcp_profiles could not be read"):
        auditor(tmp_path).validate(table, "e2i_hcp_profiles", PARAMETERS)


def test_what_the_engine_refuses_is_not_retried_and_quotes_nothing(tmp_path: Path) -> None:
    columns = GOOD["treatment_events"][1]()
    columns["ordinal"] = ["CANARY"] * len(columns.pop("sequence_number"))
    table = stage(tmp_path, "treatment_events", columns)
    engine = auditor(tmp_path).engine
    with engine.connect() as connection:
        written = engine.write(
            connection,
            f"SELECT * RENAME (ordinal AS sequence_number) FROM read_parquet('{table.location}')",
            tmp_path / "renamed",
        )
    table = table.model_copy(update={"location": written.location, "columns": written.columns})
    with pytest.raises(ToolRejected, match="e2i_treatment_events") as refused:
        auditor(tmp_path).validate(table, "e2i_treatment_events", PARAMETERS)
    assert "CANARY" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_what_great_expectations_refuses_is_not_retried(tmp_path: Path) -> None:
    gx = auditor(tmp_path, gx_root=str(tmp_path / "gx"))
    entry = {"type": "expect_the_impossible", "kwargs": {"column": "hcp_id"}, "meta": {"name": "impossible"}}
    gx.create_suite("odd", [entry])
    with pytest.raises(ToolRejected, match=r"does not take impossible \(expect_the_impossible\)"):
        gx.validate(stage(tmp_path, "hcp_profiles", profiles()), "odd", PARAMETERS)


def test_a_parameter_that_a_suite_needs_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cohort_unit, source_brands"):
        auditor(tmp_path).validate(
            stage(tmp_path, "patient_journeys", journeys()), "e2i_patient_journeys", {"as_of": "2026-01-01"}
        )


def test_a_changed_key_asks_for_a_new_verdict(tmp_path: Path) -> None:
    gx, table = auditor(tmp_path), stage(tmp_path, "hcp_profiles", profiles())
    call = (table, "e2i_hcp_profiles", PARAMETERS)
    key = gx.verdict_key(*call)
    assert key.suite_hash == gx.validate(*call).suite_hash == gx.suite_hash(*call[1:])
    assert gx.verdict_key(*call, absent_columns=("decile",)) != key
    assert gx.verdict_key(table, "e2i_hcp_profiles", PARAMETERS | {"specialties": ["dermatology"]}) != key
    assert gx.verdict_key(table, "e2i_hcp_profiles", PARAMETERS | {"brands": ["Other"]}) == key  # it does not use them
    assert auditor(tmp_path, min_pass_rate=0.9).verdict_key(*call) != key
    assert auditor(tmp_path, critical_expectations=[]).gate_hash() != gx.gate_hash()
    assert auditor(tmp_path, block_on_failure=False).gate_hash() != gx.gate_hash()


def test_as_of_means_the_same_moment_in_any_form(tmp_path: Path) -> None:
    gx = auditor(tmp_path)
    forms = ["2026-01-01", "2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)]
    assert len({gx.suite_hash("e2i_patient_journeys", PARAMETERS | {"as_of": form}) for form in forms}) == 1


def test_names_are_known_without_great_expectations(tmp_path: Path) -> None:
    code = (
        "import sys; from e2i_pipeline_tests.resources.audit_tables import auditor, Path\n"
        "gx = auditor(Path(sys.argv[1]))\n"
        "assert 'brand_is_configured' in gx.check_names('e2i_patient_journeys')\n"
        "gx.suite_hash('e2i_patient_journeys', {}), gx.gate_hash()\n"
        "assert 'great_expectations' not in sys.modules"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_default_suite_is_for_what_has_none(tmp_path: Path) -> None:
    gx = auditor(tmp_path)
    assert gx.default_suite("classification") == "e2i_classification_suite"
    assert gx.default_suite("ranking") == "e2i_default_suite"
    extra = quality.default_expectations(not_null=["name"], unique=["name"], in_set={"kind": ["a", "b"]})
    table = stage(tmp_path, "something", {"name": ["x", "x", None], "kind": ["a", "b", "c"]})
    report = gx.validate(table, gx.default_suite("ranking"), {}, additional=extra)
    assert {o.name: o.unexpected_rows for o in report.having("failed")} == {
        "name_is_not_null": 1,
        "name_is_unique": 2,
        "kind_is_in_set": 1,
    }
    assert outcome(report, "name_is_not_null").severity == "critical"
    assert outcome(report, "kind_is_in_set").severity == "warning"


def test_configured_expectations_reach_any_table_without_a_suite(tmp_path: Path) -> None:
    configured = {"not_null": ["name"], "unique": ["name", "serial"], "in_set": {"kind": ["a", "b"], "size": [1]}}
    gx = auditor(tmp_path, default_expectations=configured)
    table = stage(tmp_path, "something", {"name": ["x", "x", None], "kind": ["a", "b", "c"]})
    report = gx.validate(table, gx.default_suite("ranking"), {})
    assert {o.name: o.unexpected_rows for o in report.having("failed")} == {
        "name_is_not_null": 1,
        "name_is_unique": 2,
        "kind_is_in_set": 1,
    }
    assert {o.name: o.reason for o in report.having("skipped")} == {
        "serial_is_unique": "serial was not delivered",
        "size_is_in_set": "size was not delivered",
    }
    scores = gx.dimensions(report)
    assert scores["uniqueness"] == pytest.approx(0.0)
    assert scores["timeliness"] is None
    assert gx.suite_hash(DEFAULT_SUITE, {}) != auditor(tmp_path).suite_hash(DEFAULT_SUITE, {})


def test_what_the_platform_calls_is_there(tmp_path: Path) -> None:
    """As `docs/connectors.md` names it: the two suites by problem, a saved suite, and an audit with its figures."""
    gx = auditor(tmp_path, gx_root=str(tmp_path / "gx"))
    assert [gx.default_suite(p) for p in ("classification", "regression", "clustering")] == [
        *("e2i_classification_suite", "e2i_regression_suite", "e2i_default_suite")
    ]
    entry = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "x"}, "meta": {"name": "x_is_unique"}}
    gx.create_suite("mine", [entry])
    table = stage(tmp_path, "theirs", {"x": [1, 1, 2], "data_split": ["train", "test", "test"]})
    whole, split = (gx.validate(table, "mine", {}, split_filter=name) for name in ("", "test"))
    assert (whole.passed, whole.failed, whole.skipped, whole.pass_rate) == (0, 1, 0, pytest.approx(1 / 3))
    assert (split.passed, split.failed) == (1, 0)
    assert whole.seconds > 0


def test_a_new_suite_is_saved_once(tmp_path: Path) -> None:
    gx = auditor(tmp_path, gx_root=str(tmp_path / "gx"))
    entry = {"type": "expect_column_to_exist", "kwargs": {"column": "x"}, "meta": {"name": "x_exists"}}
    assert [e.name for e in gx.create_suite("mine", [entry])] == ["x_exists"]
    saved = (tmp_path / "gx" / "expectations" / "mine.json").read_bytes()
    gx.create_suite("mine", [entry])
    assert (tmp_path / "gx" / "expectations" / "mine.json").read_bytes() == saved
    assert json.loads(saved)["name"] == "mine"
    with pytest.raises(ConfigurationError, match="holds another suite"):
        gx.create_suite("mine", [])
    with pytest.raises(ConfigurationError, match="snake case"):
        gx.create_suite("../mine", [entry])
