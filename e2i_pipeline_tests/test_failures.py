"""What Dagster makes of our errors: retried only where trying again may help."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from e2i_pipeline.errors import E2IError, QCGateBlockedError, ToolUnavailable
from e2i_pipeline.failures import asset_boundary


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
