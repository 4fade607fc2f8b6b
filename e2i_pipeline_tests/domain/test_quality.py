"""The gate's decision, the six dimensions, and what the configuration gives a suite."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import quality
from e2i_pipeline.errors import ConfigurationError, ToolUnavailable


def outcome(name: str, status: str = "passed", severity: str = "warning", **given: Any) -> ExpectationOutcome:
    fields: dict[str, Any] = {"expectation_type": "expect_column_values_to_be_in_set", "column": "brand"} | given
    return ExpectationOutcome(name=name, status=status, severity=severity, **fields)


def report(*outcomes: ExpectationOutcome, split: str = "") -> ValidationReport:
    return ValidationReport(
        table="patient_journeys",
        data_version="0123456789abcdef",
        suite="e2i_patient_journeys",
        suite_hash="hash",
        split=split,
        outcomes=outcomes,
        seconds=0.1,
        data_docs="/docs/page.html",
    )


def test_a_critical_failure_blocks_whatever_the_pass_rate() -> None:
    one_in_a_million = outcome("brand_is_configured", "failed", "critical", tested_rows=1_000_000, unexpected_rows=1)
    odd = outcome("age_is_plausible", "failed", tested_rows=10, unexpected_rows=1)
    is_passed, reasons, warnings = quality.decide(report(one_in_a_million, odd), 0.95, True)
    assert not is_passed
    assert reasons == (
        "patient_journeys.brand: brand_is_configured (critical) failed: 1 of 1,000,000 rows do not satisfy it. Correct "
        "the source and materialize patient_journeys again, or change the rule in "
        "gx/expectations/e2i_patient_journeys.json by review.",
    )
    assert ["age_is_plausible" in w for w in warnings] == [True]


@pytest.mark.parametrize(("unexpected", "is_passed"), [(5, True), (6, False)])
def test_the_pass_rate_blocks_below_its_limit_only(unexpected: int, is_passed: bool) -> None:
    half = outcome("good", tested_rows=50)
    odd = outcome("odd", "failed", tested_rows=50, unexpected_rows=unexpected)
    skipped = outcome("skipped", "skipped", reason="the source has no hcp_profiles")
    passed, reasons, warnings = quality.decide(report(half, odd, skipped), 0.95, True)
    assert passed == is_passed
    if is_passed:
        assert ["odd" in w for w in warnings] == [True]
    else:
        assert "0.9400, below great_expectations.qc_gate.min_pass_rate = 0.95 (6 of 100 tested rows" in reasons[0]
        assert "odd" in reasons[1]
        assert warnings == ()


def test_a_gate_that_is_set_not_to_block_says_what_it_would_have_done() -> None:
    failed = outcome("brand_is_configured", "failed", "critical", tested_rows=10, unexpected_rows=1)
    is_passed, reasons, warnings = quality.decide(report(failed), 0.95, False)
    assert (is_passed, reasons) == (True, ())
    assert warnings[0].startswith("The gate is set not to block")
    assert "brand_is_configured" in warnings[1]


@pytest.mark.parametrize("block", [True, False])
def test_what_could_not_be_executed_is_no_verdict(block: bool) -> None:
    error = outcome("odd", "error", reason="the engine raised TypeError")
    with pytest.raises(ToolUnavailable, match=r"1 of 2 expectations .* \(odd: the engine raised TypeError\)"):
        quality.decide(report(error, outcome("good")), 0.95, block)


def test_an_aggregate_says_what_was_observed() -> None:
    rows = outcome(
        "row_count_is_in_range",
        "failed",
        "critical",
        expectation_type="expect_table_row_count_to_be_between",
        column="",
        observed="0",
    )
    (reason,) = quality.decide(report(rows, split="train"), 0.95, True)[1]
    assert reason.startswith("patient_journeys[train]: row_count_is_in_range (critical) failed: 0 observed.")


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=8), st.floats(0, 1))
def test_warnings_alone_block_exactly_below_the_limit(counts: list[tuple[int, int]], limit: float) -> None:
    outcomes = [
        outcome(f"e{i}", "failed" if bad else "passed", tested_rows=good + bad, unexpected_rows=bad)
        for i, (good, bad) in enumerate(counts)
    ]
    tested = sum(good + bad for good, bad in counts)
    rate = 1.0 if tested == 0 else sum(good for good, _ in counts) / tested
    is_passed, reasons, warnings = quality.decide(report(*outcomes), limit, True)
    assert is_passed == (rate >= limit) == (not reasons)
    assert len(reasons) + len(warnings) >= sum(bad > 0 for _, bad in counts)


def test_dimensions_are_shares_of_rows() -> None:
    audited = report(
        outcome("a", expectation_type="expect_column_values_to_not_be_null", tested_rows=10),
        outcome(
            "b", "failed", expectation_type="expect_column_values_to_not_be_null", tested_rows=30, unexpected_rows=4
        ),
        outcome("c", expectation_type="expect_column_values_to_be_unique", tested_rows=5),
        outcome("d", "failed", tested_rows=4, unexpected_rows=1),
        outcome("e", tested_rows=7),
        outcome("f", "skipped"),
    )
    found = quality.dimensions(audited, {"e": "timeliness", "f": "accuracy"})
    assert found == {
        "completeness": 0.9,
        "validity": 0.75,
        "uniqueness": 1.0,
        "consistency": None,
        "timeliness": 1.0,
        "accuracy": None,
    }
    assert quality.dimensions(audited)["timeliness"] is None


def test_parameters_are_completed() -> None:
    found = quality.suite_parameters({"brands": ["A", "other"], "as_of": datetime(2026, 1, 1)})  # noqa: DTZ001 - the case
    assert found["source_brands"] == ["A", "other", "competitor"]
    assert found["brands"] == ["A", "other"]
    assert found["as_of"] == "2026-01-01T00:00:00+00:00"
    assert (found["minimum_rows"], found["maximum_rows"]) == (1, None)
    for specialty in ("dermatology", "allergy and immunology", "rheumatology", "haematology", "internal medicine"):
        assert specialty in found["specialties"]
    assert quality.suite_parameters({"specialties": ["Sorcery"]})["specialties"] == ["sorcery"]
    assert "as_of" not in quality.suite_parameters({"as_of": ""})
    moment = datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert quality.suite_parameters({"as_of": moment}) == quality.suite_parameters(
        {"as_of": "2026-01-01T03:00:00+02:00"}
    )
    with pytest.raises(ConfigurationError, match="as_of is not a time"):
        quality.suite_parameters({"as_of": "yesterday"})


def test_features_give_expectations_from_their_type_and_range() -> None:
    found = quality.feature_expectations(
        [
            FeatureSpec(name="Age", kind="numeric", view="v", low=0, high=120),
            FeatureSpec(name="count", kind="numeric", view="v", low=0),
            FeatureSpec(name="free", kind="numeric", view="v"),
            FeatureSpec(name="flag", kind="boolean", view="v"),
            FeatureSpec(name="region", kind="categorical", view="v"),
        ]
    )
    assert [(e["meta"]["name"], e["kwargs"]) for e in found] == [
        ("age_is_in_declared_range", {"column": "Age", "min_value": 0, "max_value": 120}),
        ("count_is_in_declared_range", {"column": "count", "min_value": 0}),
        ("flag_is_boolean", {"column": "flag", "value_set": [0, 1]}),
    ]
    assert {e["severity"] for e in found} == {"warning"}
