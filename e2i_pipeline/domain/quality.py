"""What follows from an audit: the gate's decision, the six quality dimensions, and the words for both.

Also what a suite takes from the configuration: its parameters, and expectations generated from declared features. What
must be true of a table is said in `gx/expectations`; how it is tested stands in `resources/great_expectations.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.errors import ConfigurationError, ToolUnavailable

CRITICAL = "critical"
WARNING = "warning"

DIMENSIONS = ("completeness", "validity", "uniqueness", "consistency", "timeliness", "accuracy")
"""The six dimensions of data quality (DAMA UK, 2013), as columns of `ml_data_quality_reports`."""

OTHER_BRANDS = ("competitor", "other")
"""Brands that a source may name beside the configured ones."""

SPECIALTIES = (
    # those that treat the platform's three brands: chronic urticaria, PNH and IgA nephropathy, breast cancer
    *("dermatology", "allergy and immunology", "allergy/immunology", "allergy", "immunology", "rheumatology"),
    *("haematology", "hematology", "haematology/oncology", "hematology/oncology", "haematology and oncology"),
    *("hematology and oncology", "oncology", "medical oncology", "gynecologic oncology", "gynaecologic oncology"),
    *("radiation oncology", "surgical oncology", "nephrology", "neurology", "internal medicine", "breast surgery"),
    # general practice and the other clinical specialties in general use
    *("general practice", "general medicine", "family medicine", "family practice", "primary care", "pediatrics"),
    *("paediatrics", "geriatrics", "geriatric medicine", "emergency medicine", "hospital medicine", "hospitalist"),
    *("cardiology", "endocrinology", "gastroenterology", "pulmonology", "pulmonary disease", "infectious disease"),
    *("obstetrics and gynecology", "obstetrics/gynecology", "gynecology", "urology", "ophthalmology"),
    *("otolaryngology", "psychiatry", "anesthesiology", "pathology", "radiology", "diagnostic radiology"),
    *("nuclear medicine", "medical genetics", "preventive medicine", "physical medicine and rehabilitation"),
    *("general surgery", "surgery", "neurosurgery", "neurological surgery", "orthopedic surgery", "orthopaedics"),
    *("plastic surgery", "thoracic surgery", "vascular surgery", "colorectal surgery", "pain medicine"),
    *("nurse practitioner", "physician assistant", "pharmacy", "other"),
)
"""Specialties that a profile may name; compared without regard to case, and with `_` read as a space and `&` as and."""

_DIMENSION_OF_TYPE = {
    "expect_column_values_to_not_be_null": "completeness",
    "expect_column_values_to_be_unique": "uniqueness",
    "expect_compound_columns_to_be_unique": "uniqueness",
    "expect_column_pair_values_a_to_be_greater_than_b": "consistency",
}


def suite_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Completes what the configuration decides in the suites.

    Args:
        given: `brands` (the configured ones), `as_of` (a time, or ISO text; without a zone it is UTC; empty where
            nothing is known), `cohort_unit` (`patient` or `journey`); any default below may be given too.

    Returns:
        `given` with the defaults: `minimum_rows` 1, `maximum_rows` None (no limit), `specialties` in lower case,
        `source_brands` (the brands with `competitor` and `other`); `as_of` as ISO text in UTC. All values are JSON.

    Raises:
        ConfigurationError: `as_of` is not a time.
    """
    defaults: dict[str, Any] = {"minimum_rows": 1, "maximum_rows": None, "specialties": SPECIALTIES}
    chosen = {**defaults, **given}
    chosen["specialties"] = sorted({str(name).lower() for name in chosen["specialties"]})
    if "brands" in chosen:
        chosen.setdefault("source_brands", list(dict.fromkeys([*chosen["brands"], *OTHER_BRANDS])))
        chosen["brands"] = list(chosen["brands"])
    if chosen.get("as_of"):
        chosen["as_of"] = _utc(chosen["as_of"]).isoformat()
    else:
        chosen.pop("as_of", None)
    return chosen


def feature_expectations(features: Iterable[FeatureSpec]) -> tuple[dict[str, Any], ...]:
    """Expectations on a modelling dataset that follow from the declared type and range of its features.

    A numeric feature must lie within `low` and `high` where either is declared, a boolean one must be 0 or 1; a
    categorical one has nothing to test. All of them warn.

    Args:
        features: The features, as columns of the dataset.

    Returns:
        Entries in the form of a suite's JSON.
    """
    entries: list[dict[str, Any]] = []
    for feature in features:
        bounds = {"min_value": feature.low, "max_value": feature.high}
        declared = {bound: value for bound, value in bounds.items() if value is not None}
        if feature.kind == "boolean":
            kwargs: dict[str, Any] = {"column": feature.name, "value_set": [0, 1]}
            entries.append(_entry("expect_column_values_to_be_in_set", kwargs, "is_boolean", WARNING))
        elif feature.kind == "numeric" and declared:
            kwargs = {"column": feature.name, **declared}
            entries.append(_entry("expect_column_values_to_be_between", kwargs, "is_in_declared_range", WARNING))
    return tuple(entries)


def default_expectations(
    not_null: Sequence[str] = (), unique: Sequence[str] = (), in_set: Mapping[str, Sequence[Any]] | None = None
) -> tuple[dict[str, Any], ...]:
    """Expectations on a table that has no suite of its own, for `e2i_default_suite`.

    Args:
        not_null: Columns without nulls.
        unique: Columns without duplicates.
        in_set: The values that a column may have.

    Returns:
        Entries in the form of a suite's JSON; their severity is left to the gate's configuration.
    """
    values = (in_set or {}).items()
    return (
        *(_entry("expect_column_values_to_not_be_null", {"column": c}, "is_not_null") for c in not_null),
        *(_entry("expect_column_values_to_be_unique", {"column": c}, "is_unique") for c in unique),
        *(
            _entry("expect_column_values_to_be_in_set", {"column": c, "value_set": list(v)}, "is_in_set")
            for c, v in values
        ),
    )


def decide(
    report: ValidationReport, min_pass_rate: float, block_on_failure: bool
) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """The gate's decision on one audit.

    Any critical failure blocks; otherwise a pass rate below `min_pass_rate` blocks; otherwise failures only warn. The
    pass rate is rows that passed over rows tested, summed over the row-level expectations that ran.

    Args:
        report: The audit.
        min_pass_rate: 0..1.
        block_on_failure: When false nothing blocks, and what would have is among the warnings.

    Returns:
        Whether what is downstream may go on, why not (empty where it may), and what did not block.

    Raises:
        ToolUnavailable: An expectation could not be executed, so that nothing is known about the data.
    """
    _require_executed(report)
    failed = report.having("failed")
    critical = [_sentence(report, o) for o in failed if o.severity == CRITICAL]
    others = [_sentence(report, o) for o in failed if o.severity != CRITICAL]
    if critical:
        reasons, warnings = critical, others
    elif report.pass_rate < min_pass_rate:
        reasons, warnings = [_pass_rate_sentence(report, min_pass_rate), *others], []
    else:
        reasons, warnings = [], others
    if block_on_failure or not reasons:
        return not reasons, tuple(reasons), tuple(warnings)
    return True, (), ("The gate is set not to block; it would have, because:", *reasons, *warnings)


def dimensions(report: ValidationReport, declared: Mapping[str, str] | None = None) -> dict[str, float | None]:
    """The six dimensions of data quality of one audit.

    Args:
        report: The audit.
        declared: Dimension per expectation, by name (a suite's `meta.dimension`); for any other, its type decides.

    Returns:
        Per dimension the rows that passed over the rows tested, 0..1, summed over the row-level expectations that
        belong to it; None where none of them ran.
    """
    tested: dict[str, int] = dict.fromkeys(DIMENSIONS, 0)
    unexpected: dict[str, int] = dict.fromkeys(DIMENSIONS, 0)
    for outcome in report.outcomes:
        by_type = _DIMENSION_OF_TYPE.get(outcome.expectation_type, "validity")
        dimension = (declared or {}).get(outcome.name, by_type)
        tested[dimension] += outcome.tested_rows
        unexpected[dimension] += outcome.unexpected_rows
    return {d: (tested[d] - unexpected[d]) / tested[d] if tested[d] else None for d in DIMENSIONS}


def _require_executed(report: ValidationReport) -> None:
    errors = report.having("error")
    if errors:
        what = "; ".join(f"{o.name}: {o.reason}" for o in errors)
        raise ToolUnavailable(
            f"Great Expectations could not execute {len(errors)} of {len(report.outcomes)} expectations of "
            f"{report.suite} on {_subject(report)}, so the gate knows nothing about them ({what}). Try again; if it "
            f"stays, compare the column's type with gx/expectations/{report.suite}.json."
        )


def _sentence(report: ValidationReport, outcome: ExpectationOutcome) -> str:
    where = f"{_subject(report)}.{outcome.column}" if outcome.column else _subject(report)
    found = outcome.reason or (
        f"{outcome.unexpected_rows:,} of {outcome.tested_rows:,} rows do not satisfy it"
        if outcome.tested_rows
        else f"{outcome.observed or 'not so'} observed"
    )
    return (
        f"{where}: {outcome.name} ({outcome.severity}) failed: {found}. Correct the source and materialize "
        f"{report.table} again, or change the rule in gx/expectations/{report.suite}.json by review."
    )


def _pass_rate_sentence(report: ValidationReport, min_pass_rate: float) -> str:
    tested = sum(o.tested_rows for o in report.outcomes)
    unexpected = sum(o.unexpected_rows for o in report.outcomes)
    return (
        f"{_subject(report)}: the pass rate of {report.suite} is {report.pass_rate:.4f}, below "
        f"great_expectations.qc_gate.min_pass_rate = {min_pass_rate} ({unexpected:,} of {tested:,} tested rows do not "
        "pass, over all row-level expectations). The expectations that failed:"
    )


def _subject(report: ValidationReport) -> str:
    return f"{report.table}[{report.split}]" if report.split else report.table


def _entry(kind: str, kwargs: dict[str, Any], fact: str, severity: str = "") -> dict[str, Any]:
    name = f"{kwargs['column']}_{fact}".lower()
    rule = f"{kwargs['column']} {fact.replace('_', ' ')}, as declared in the configuration."
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": {"name": name, "rule": rule}}


def _utc(value: Any) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as err:
        raise ConfigurationError("as_of is not a time; write it like 2026-01-31T00:00:00.") from err
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
