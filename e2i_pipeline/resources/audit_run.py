"""One run of Great Expectations: a suite's planned expectations on one batch, in a context that leaves nothing behind.

The result is redacted before anything is stored or rendered. What to run belongs in `audit_plans.py`, what becomes of
the results in `audit_results.py`, and the pages that show them in `data_docs.py`.
"""

import importlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.audit_plans import Step
from e2i_pipeline.resources.audit_results import redact, results_by_name
from e2i_pipeline.resources.data_docs import Docs, Page, publish
from e2i_pipeline.resources.suites import parameters_in

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
    from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext
    from great_expectations.data_context.types.resource_identifiers import ValidationResultIdentifier

RESULT_FORMAT = {
    "result_format": "BASIC",
    "partial_unexpected_count": 0,
    "include_unexpected_rows": False,
    "exclude_unexpected_values": True,
}
"""Counts only: by default GX stores the values that it did not expect."""

_ONE_AT_A_TIME = threading.Lock()
"""GX keeps the current context in a global of the process."""


class Snapshot(NamedTuple):
    """What is known of a batch before GX judges it.

    Attributes:
        frame: The columns that GX's pandas engine is needed for, from `comparable`.
        given: Values of metrics that need no pandas, by `pushdown.engine.key_of`.
        conditions: Filled by the run: what pandas found of each row, by the key of its metric.
    """

    frame: "pd.DataFrame"
    given: Mapping[Any, Any]
    conditions: dict[Any, Any]


def run_suite(
    suite: str,
    pairs: Sequence[tuple[Step, str]],
    batch: Snapshot,
    asset: str,
    version: str,
    parameters: Mapping[str, Any],
    data_docs: Docs,
) -> tuple[dict[str, Any], Page]:
    """Runs a suite as a GX checkpoint.

    Args:
        suite: Suite name.
        pairs: Steps to run, each with its severity.
        batch: What is known of the rows, and the columns of those that are not.
        asset: Name of the table, and of the split where one is audited.
        version: The table's data version.
        parameters: Values of the suite parameters.
        data_docs: Where the data docs are.

    Returns:
        GX's results by name of the expectation, redacted, and the page of the data docs.

    Raises:
        ToolRejected: GX refused to run the suite as a whole.
    """
    with _ONE_AT_A_TIME:
        context, key, result = _run_checkpoint(suite, pairs, batch, asset, version, parameters)
        redact(result)
        return results_by_name(result), publish(context, key, result, asset, data_docs)


def great_expectations() -> ModuleType:
    """The module, imported (9 s) when it is first asked for, in any process and without a word to its makers.

    It imports pyspark where that is installed, and pyspark 4.3 ends a process whose main module has no file: it takes
    it for a run of its doctests. The processes that Dagster starts for runs from the UI and from schedules are such.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    main = sys.modules["__main__"]
    has_file = hasattr(main, "__file__")
    if not has_file:
        main.__file__ = __file__
    try:
        return importlib.import_module("great_expectations")
    finally:
        if not has_file:
            del main.__file__


def comparable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Widens numbers to 64 bits and marks times as UTC, in place.

    GX 1.24 compares only int64, float64 and times with a zone (or in nanoseconds, which end in 2262) as whole columns;
    any other type it walks value by value, and there a time cannot be compared with text.
    """
    import pandas as pd

    for name, column in frame.items():
        kind = column.dtype
        if pd.api.types.is_datetime64_dtype(kind):
            frame[name] = column.dt.tz_localize("UTC")
        elif pd.api.types.is_bool_dtype(kind):
            frame[name] = column.astype(object).where(column.notna(), None)
        elif pd.api.types.is_integer_dtype(kind) and not column.hasnans:
            frame[name] = column.astype("int64")
        elif pd.api.types.is_numeric_dtype(kind):
            frame[name] = column.astype("float64")
    return frame


def _run_checkpoint(
    suite: str,
    pairs: Sequence[tuple[Step, str]],
    batch: Snapshot,
    asset: str,
    version: str,
    parameters: Mapping[str, Any],
) -> "tuple[AbstractDataContext, ValidationResultIdentifier, ExpectationSuiteValidationResult]":
    gx = great_expectations()
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types import base

    used = {name: parameters[name] for step, _ in pairs for name in parameters_in(step.kwargs)}
    try:
        config = base.DataContextConfig(
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
            progress_bars=base.ProgressBarsConfig(globally=False, metric_calculations=False),
            analytics_enabled=False,
        )
        context = gx.get_context(mode="ephemeral", project_config=config)
        data = _source(context, batch).add_dataframe_asset(asset)
        definition = gx.ValidationDefinition(
            name=suite,
            data=data.add_batch_definition_whole_dataframe("snapshot"),
            suite=context.suites.add(_gx_suite(suite, pairs)),
        )
        checkpoint = gx.Checkpoint(
            name=suite,
            validation_definitions=[context.validation_definitions.add(definition)],
            result_format=RESULT_FORMAT,
        )
        run = context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": batch.frame},
            expectation_parameters=used,
            run_id=RunIdentifier(run_name=f"{asset}-{version[:12]}"),
        )
    except ToolRejected:
        raise
    except Exception as err:
        # without its cause: the text of a tool's exception may quote a value
        raise ToolRejected(
            f"Great Expectations could not run {suite} on {asset} ({type(err).__name__}). Compare "
            f"gx/expectations/{suite}.json with what this version of Great Expectations knows."
        ) from None
    ((key, result),) = run.run_results.items()
    return context, key, result


def _source(context: Any, batch: Snapshot) -> Any:
    """A data source whose engine knows what is known of the batch."""
    importlib.import_module("e2i_pipeline.resources.pushdown.engine")  # makes GX know the data source
    source = context.data_sources.add_e2i_snapshot("e2i")
    engine = source.get_execution_engine()
    engine.given, engine.conditions = batch.given, batch.conditions
    return source


def _gx_suite(name: str, pairs: Sequence[tuple[Step, str]]) -> "ExpectationSuite":
    """The suite as GX's own object. GX only logs an expectation that it does not know, and leaves it out."""
    from great_expectations.core import ExpectationSuite

    suite = ExpectationSuite(name=name, expectations=[_entry(*pair) for pair in pairs])
    taken = {(expectation.meta or {}).get("name") for expectation in suite.expectations}
    if refused := [f"{step.expectation.name} ({step.type})" for step, _ in pairs if step.expectation.name not in taken]:
        raise ToolRejected(
            f"Great Expectations does not take {', '.join(refused)} of {name}. Correct the type or the keywords in "
            f"gx/expectations/{name}.json."
        )
    return suite


def _entry(step: Step, severity: str) -> dict[str, Any]:
    expectation = step.expectation
    meta = {"name": expectation.name, "rule": expectation.rule}
    return {
        "type": step.type,
        "kwargs": step.kwargs,
        "severity": severity,
        "description": expectation.rule or None,
        "meta": meta,
    }
