"""What Dagster's event log says of a run: what it made, whether that is new, and which checks it evaluated. Reads only.

How long a step took stands in the spans of its trace.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

if TYPE_CHECKING:
    from e2i_pipeline.domain.report_data import CheckOutcome

_VERSION = "dagster/data_version"


class RunEvents(NamedTuple):
    """What a run did so far.

    Attributes:
        started_at: When it began (UTC); None for a run that is not known here.
        made: Assets that it materialized: whether each is new, or was found unchanged.
        checks: The checks that it evaluated, each once.
        said: Metadata of each of these checks by name, as plain values.
    """

    started_at: datetime | None
    made: dict[str, bool]
    checks: "tuple[CheckOutcome, ...]"
    said: dict[str, dict[str, Any]]


def run_events(instance: dg.DagsterInstance, run_id: str) -> RunEvents:
    """Reads what a run did so far.

    Args:
        instance: Dagster's instance.
        run_id: Dagster run.
    """
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        return RunEvents(None, {}, (), {})
    began = record.start_time or record.create_timestamp.timestamp()
    made: dict[str, bool] = {}
    checks: dict[tuple[str, str], CheckOutcome] = {}
    said: dict[str, dict[str, Any]] = {}
    for event in _events(instance, run_id, kinds):
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            outcome = _outcome(evaluation)
            checks[outcome.asset, outcome.name] = outcome
            said[outcome.name] = {name: value.value for name, value in evaluation.metadata.items()}
        else:
            materialization = event.step_materialization_data.materialization
            made[materialization.asset_key.to_user_string()] = _is_new(instance, materialization, began)
    return RunEvents(datetime.fromtimestamp(began, UTC), made, tuple(checks.values()), said)


def _events(instance: dg.DagsterInstance, run_id: str, kinds: set[dg.DagsterEventType]) -> Iterator[dg.DagsterEvent]:
    for entry in instance.all_logs(run_id, of_type=kinds):
        if entry.dagster_event is not None:
            yield entry.dagster_event


def _outcome(evaluation: dg.AssetCheckEvaluation) -> "CheckOutcome":
    from e2i_pipeline.domain.report_data import CheckOutcome

    return CheckOutcome(
        name=evaluation.check_name,
        asset=evaluation.asset_key.to_user_string(),
        is_passed=evaluation.passed,
        is_warning=evaluation.severity == dg.AssetCheckSeverity.WARN,
        is_blocking=bool(evaluation.blocking),
    )


def _is_new(instance: dg.DagsterInstance, materialization: dg.AssetMaterialization, began: float) -> bool:
    """Whether an asset says that it made something, or else has another data version than before the run."""
    said = materialization.metadata.get("unchanged")
    if said is not None:
        return not said.value
    before = dg.AssetRecordsFilter(
        asset_key=materialization.asset_key,
        asset_partitions=[materialization.partition] if materialization.partition else None,
        before_timestamp=began,
    )
    known = instance.fetch_materializations(before, limit=1).records
    last = known[0].asset_materialization if known else None
    version = (materialization.tags or {}).get(_VERSION)
    return last is None or version is None or (last.tags or {}).get(_VERSION) != version
