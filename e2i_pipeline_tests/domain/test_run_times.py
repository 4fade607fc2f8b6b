"""What the spans of a run say of its steps: times, memory, attempts, stages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2i_pipeline.domain.run_times import OTHER, by_stage, step_times

BEGAN = datetime(2026, 7, 1, 2, 0, tzinfo=UTC)


def span(operation: str, asset: str = "", at: float = 0.0, ms: float = 1000.0, **changes: Any) -> dict[str, Any]:
    """A row of `ml_observability_spans`, as far as it matters here."""
    noted = {"asset": asset or operation, "stage": "source", "peak_rss_before_mib": 100.0, "peak_rss_mib": 130.5}
    base = {
        "operation": operation,
        "kind": "agent",
        "parent_span_id": None,
        "started_at": BEGAN + timedelta(seconds=at),
        "duration_ms": ms,
        "status": "ok",
        "attributes": {**noted, **changes.pop("noted", {})},
    }
    return {**base, **changes}


def test_a_step_has_its_time_and_by_how_much_it_raised_the_peak() -> None:
    [step] = step_times([span("patient_journeys", ms=1234.5)])

    assert (step.step, step.asset, step.stage) == ("patient_journeys", "patient_journeys", "source")
    assert (step.seconds, step.peak_mib, step.raised_mib) == (1.2345, 130.5, 30.5)
    assert (step.is_check, step.attempts, step.is_ok) == (False, 1, True)


def test_steps_come_in_the_order_of_their_start() -> None:
    found = step_times([span("b", at=2), span("a", at=3), span("c", at=1)])

    assert [step.step for step in found] == ["c", "b", "a"]


def test_attempts_are_added_up_and_the_last_one_counts() -> None:
    [step] = step_times(
        [
            span("bento", at=9, ms=500, noted={"peak_rss_before_mib": 400.0, "peak_rss_mib": 410.0}),
            span("bento", at=1, ms=2000, status="error", noted={"peak_rss_mib": 300.0}),
        ]
    )

    assert (step.attempts, step.seconds, step.is_ok) == (2, 2.5, True)
    assert step.started_at == BEGAN + timedelta(seconds=1)
    assert (step.peak_mib, step.raised_mib) == (410.0, 200.0)


@pytest.mark.parametrize(
    "other",
    [
        span("fit", parent_span_id="1"),
        span("quality", kind="feedback"),
        {**span("search"), "attributes": {}},
    ],
)
def test_what_is_no_step_is_left_out(other: dict[str, Any]) -> None:
    assert step_times([other]) == ()


def test_a_span_without_memory_or_stage_is_a_step_all_the_same() -> None:
    [step] = step_times([{**span("bento"), "attributes": {"asset": "bento"}}])

    assert (step.peak_mib, step.raised_mib, step.stage) == (None, None, OTHER)


@pytest.mark.parametrize(
    ("operation", "asset", "name"),
    [
        ("patient_journeys_audit", "patient_journeys", "audit"),
        ("bento_bento_answers_golden_request", "bento", "bento_answers_golden_request"),
        ("no_leakage", "training_dataset", "no_leakage"),
    ],
)
def test_a_check_is_named_without_its_asset(operation: str, asset: str, name: str) -> None:
    [step] = step_times([span(operation, asset)])

    assert step.is_check
    assert step.name == name


def test_stages_come_as_they_began_with_the_checks_behind_their_assets() -> None:
    steps = step_times(
        [
            span("a", at=0),
            span("b", at=1),
            span("a_audit", "a", at=2, noted={"peak_rss_mib": 900.0}),
            span("bento", at=3, noted={"stage": "serving", "peak_rss_mib": 50.0}),
            span("b_audit", "b", at=4),
        ]
    )

    source, serving = by_stage(steps)

    assert [step.step for step in source.steps] == ["a", "a_audit", "b", "b_audit"]
    assert (source.stage, source.seconds, source.peak_mib) == ("source", 4.0, 900.0)
    assert (serving.stage, serving.seconds, serving.peak_mib) == ("serving", 1.0, 50.0)
    assert by_stage(()) == ()
