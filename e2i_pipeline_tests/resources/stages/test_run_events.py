"""What the event log of a real run says: what was made, whether it is new, and which checks were evaluated."""

from collections.abc import Iterator

import dagster as dg
import pytest

from e2i_pipeline.resources.stages.run_events import run_events

BRANDS = dg.StaticPartitionsDefinition(["Kisqali", "Fabhalta"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _asset(version: str, **metadata: bool) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=BRANDS)
    def table() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata=dict(metadata))

    return table


def _made(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, brand: str = "Kisqali") -> bool:
    result = dg.materialize([asset], instance=instance, partition_key=brand)
    return run_events(instance, result.run_id).made["table"]


def test_what_says_that_it_is_unchanged_is_not_new(instance: dg.DagsterInstance) -> None:
    assert not _made(instance, _asset("1", unchanged=True))
    assert _made(instance, _asset("1", unchanged=False))


def test_what_says_nothing_is_new_when_its_version_is(instance: dg.DagsterInstance) -> None:
    assert _made(instance, _asset("1"))
    assert not _made(instance, _asset("1"))
    assert _made(instance, _asset("2"))


def test_another_brands_version_does_not_count(instance: dg.DagsterInstance) -> None:
    assert _made(instance, _asset("1"), "Kisqali")
    assert _made(instance, _asset("1"), "Fabhalta")


def test_checks_are_told_with_their_outcome_and_what_they_said(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def table() -> None: ...

    @dg.asset_check(asset=table, blocking=True)
    def answers() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True, metadata={"latency_ms": 1.5})

    @dg.asset_check(asset=table)
    def holds() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    result = dg.materialize([table, answers, holds], instance=instance)

    events = run_events(instance, result.run_id)
    found = {check.name: check for check in events.checks}
    assert (found["answers"].is_passed, found["answers"].is_blocking, found["answers"].asset) == (True, True, "table")
    assert (found["holds"].is_passed, found["holds"].is_warning, found["holds"].is_blocking) == (False, True, False)
    assert events.said["answers"] == {"latency_ms": 1.5}


def test_a_run_that_is_not_known_has_no_events(instance: dg.DagsterInstance) -> None:
    events = run_events(instance, "gone")

    assert (events.made, events.checks, events.said) == ({}, (), {})
