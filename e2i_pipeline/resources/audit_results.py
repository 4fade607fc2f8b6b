"""What may be taken from a result of Great Expectations: counts, and nothing that a row holds.

Results are redacted before they are stored, rendered or reported: values of rows and the texts of exceptions (which
may quote one) stay behind. Running a suite belongs in `audit_run.py`.
"""

import builtins
import re
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.quality import ExpectationOutcome
from e2i_pipeline.resources.audit_plans import Step
from e2i_pipeline.resources.suites import Suite

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

COUNTS = (
    *("element_count", "unexpected_count", "unexpected_percent", "missing_count", "missing_percent"),
    *("unexpected_percent_total", "unexpected_percent_nonmissing"),
)
COUNTING_TYPES = (
    *("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal"),
    *("expect_table_column_count_to_be_between", "expect_table_column_count_to_equal"),
    "expect_column_unique_value_count_to_be_between",
    "expect_column_proportion_of_unique_values_to_be_between",
    "expect_column_proportion_of_non_null_values_to_be_between",
)
"""Types whose observed value is a count or a share; of any other type (a minimum, a mean of one row) it is dropped."""

_ERROR_NAME = re.compile(r"^(?:[A-Za-z_]+\.)*([A-Za-z_]+(?:Error|Exception))\b", re.MULTILINE)


def redact(result: "ExpectationSuiteValidationResult") -> None:
    """Removes from a validation result, in place, all that could come from a row."""
    for one in result.results:
        is_count = one.expectation_config is not None and one.expectation_config.type in COUNTING_TYPES
        kept = (*COUNTS, "observed_value") if is_count else COUNTS
        one.result = {key: value for key, value in (one.result or {}).items() if key in kept}
        if error := _error_names(one.exception_info):
            one.exception_info = {"raised_exception": True, "exception_message": error, "exception_traceback": error}
    # a fingerprint of the data would tell whether two audits saw the same patients
    result.meta.get("batch_markers", {}).pop("pandas_data_fingerprint", None)


def results_by_name(result: "ExpectationSuiteValidationResult") -> dict[str, Any]:
    """The result of each expectation by its name in the suite."""
    return {one.expectation_config.meta["name"]: one for one in result.results if one.expectation_config}


def outcome_of(step: Step, severity: str, suite: Suite, result: Any) -> ExpectationOutcome:
    """The outcome of one expectation.

    Args:
        step: What was planned.
        severity: Its severity under the gate's configuration.
        suite: The suite that it belongs to.
        result: GX's redacted result; None where the step was not run.
    """
    entry = step.expectation._replace(kwargs=step.kwargs or step.expectation.kwargs)
    columns = dict.fromkeys(c for name in entry.columns for c in suite.inputs(name))
    status, reason, counts = step.status, step.reason, {}
    if not status and result is None:
        status, reason = "error", "Great Expectations returned no result for it"
    elif not status:
        reason = (result.exception_info or {}).get("exception_message") or ""
        status = "error" if reason else "passed" if result.success else "failed"
        counts = {} if reason else result.result
    return ExpectationOutcome(
        name=entry.name,
        expectation_type=step.type,
        column=",".join(columns),
        severity=severity,
        status=status,
        tested_rows=int(counts.get("element_count") or 0) - int(counts.get("missing_count") or 0),
        unexpected_rows=int(counts.get("unexpected_count") or 0),
        observed=_shown(counts.get("observed_value")),
        reason=reason,
    )


def _error_names(info: Any) -> str:
    """Names of the exceptions in an `exception_info`, never their text; empty where none was raised.

    GX gives either one entry, or one for each metric that failed.
    """
    if not isinstance(info, dict):
        return ""
    entries = [info] if "raised_exception" in info else list(info.values())
    raised = [e for e in entries if isinstance(e, dict) and e.get("raised_exception")]
    if not raised:
        return ""
    names = {name for e in raised for name in _ERROR_NAME.findall(str(e.get("exception_traceback")))}
    known = sorted(name for name in names if hasattr(builtins, name) or name == "MetricResolutionError")
    return f"the engine raised {' and '.join(known) or 'an exception'} (its text is withheld: it may quote a value)"


def _shown(observed: Any) -> str:
    if observed is None:
        return ""
    return f"{observed:.6g}" if isinstance(observed, float) else str(observed)
