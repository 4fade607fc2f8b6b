"""What Dagster makes of our errors: retried only where trying again may help."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from e2i_pipeline.errors import E2IError, QCGateBlockedError, ToolUnavailable
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.opik import OpikResource


class Recorder:
    """Notes the spans that were opened."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, str]] = []

    @contextmanager
    def trace_agent(self, agent: str, operation: str, trace_id: str) -> Iterator[None]:
        self.spans.append((agent, operation, trace_id))
        yield


def _run(error: E2IError) -> tuple[dg.ExecuteInProcessResult, list[int]]:
    tries: list[int] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    @asset_boundary("data_preparer")
    def table(context: dg.AssetExecutionContext, opik: dg.ResourceParam[Recorder]) -> dg.MaterializeResult:
        tries.append(1)
        raise error

    return dg.materialize([table], resources={"opik": Recorder()}, raise_on_error=False), tries


@pytest.mark.parametrize(
    ("error", "tries"),
    [(ToolUnavailable("the store does not answer"), 3), (QCGateBlockedError("the gate is closed"), 1)],
)
def test_only_an_unavailable_tool_is_tried_again(error: E2IError, tries: int) -> None:
    result, made = _run(error)

    assert not result.success
    assert len(made) == tries


def test_the_message_reaches_the_event_log_without_what_caused_it() -> None:
    caused = QCGateBlockedError("the gate is closed")
    caused.__cause__ = ValueError("a value of a patient")

    result, _ = _run(caused)

    [failure] = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert failure.step_failure_data.user_failure_data.description == "the gate is closed"
    assert "a value of a patient" not in str(failure)


def test_a_defect_of_ours_is_told_by_its_type_and_place_without_its_text() -> None:
    @dg.asset
    @asset_boundary("data_preparer")
    def table(context: dg.AssetExecutionContext, opik: dg.ResourceParam[Recorder]) -> None:
        try:
            int("a value of a patient")
        except ValueError as err:
            raise KeyError("another value of a patient") from err

    result = dg.materialize([table], resources={"opik": Recorder()}, raise_on_error=False)

    [failure] = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    told = failure.step_failure_data.user_failure_data
    assert told.description == ("KeyError in table. This is a defect of the pipeline; the event log has the trace.")
    assert re.search(
        r"KeyError, raised by:\n(.*\n)+ValueError, raised by:\n.*test_failures.py:\d+ table",
        told.metadata["trace"].value,
    )
    assert "of a patient" not in str(result.all_events)


def test_a_check_that_yields_is_traced_for_as_long_as_it_yields() -> None:
    recorder = Recorder()

    @dg.asset
    def table() -> None: ...

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec("holds", asset="table")])
    @asset_boundary("data_preparer")
    def audit(
        context: dg.AssetCheckExecutionContext, opik: dg.ResourceParam[Recorder]
    ) -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(check_name="holds", asset_key="table", passed=True)

    result = dg.materialize([table, audit], resources={"opik": recorder})

    assert [e.passed for e in result.get_asset_check_evaluations()] == [True]
    assert recorder.spans == [("data_preparer", "audit", result.run_id)]


def test_the_span_says_which_step_of_what_asset_and_the_memory_it_took(tmp_path: Path) -> None:
    metadata = MetadataResource(url=f"sqlite:///{tmp_path}/metadata.db", lock_dir=str(tmp_path / "locks"))
    policy = {"include_inputs": True, "include_outputs": True, "max_output_length": 1000}
    opik = OpikResource(
        enabled=True, sample_rate=1.0, workspace="w", project_name="p", metadata=metadata, spool_dir="", **policy
    )

    @dg.asset(name="table", group_name="source")
    @asset_boundary("data_preparer")
    def staged(context: dg.AssetExecutionContext, opik: OpikResource) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"bytes": len(bytes(64 * 2**20))})

    @dg.asset_check(asset="table")
    @asset_boundary("data_preparer")
    def holds(context: dg.AssetCheckExecutionContext, opik: OpikResource) -> dg.AssetCheckResult:
        raise QCGateBlockedError("the gate is closed")

    result = dg.materialize([staged, holds], resources={"opik": opik}, raise_on_error=False)

    assert opik.flush()
    made, checked = metadata.spans(result.run_id)
    assert (made["operation"], made["status"]) == ("table", "ok")
    assert (checked["operation"], checked["status"]) == ("table_holds", "error")
    for span in (made, checked):
        assert (span["attributes"]["asset"], span["attributes"]["stage"]) == ("table", "source")
        assert 0 < span["attributes"]["peak_rss_before_mib"] <= span["attributes"]["peak_rss_mib"]
