"""What operation records: deployments, and the spans of the work that agents did."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from e2i_pipeline.contracts.references import DeploymentRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.resources.records.base import Records, Row


class OperationRecords(Records):
    """`ml_deployments` and `ml_observability_spans`."""

    def record_deployment(
        self,
        deployment: DeploymentRef,
        environment: str,
        run_id: str,
        *,
        model: ModelVersion | None = None,
        previous_id: str | None = None,
        rollback_reason: str | None = None,
        latencies_ms: Mapping[str, float] | None = None,
        error_rate: float | None = None,
        at: datetime | None = None,
    ) -> None:
        """Records a deployment and its present status. What is None keeps the value that is recorded.

        Args:
            deployment: The deployment.
            environment: `development`, `staging` or `production`.
            run_id: Dagster run.
            model: The version inside.
            previous_id: Key of the deployment that it replaced.
            rollback_reason: Why it was rolled back.
            latencies_ms: `p50`, `p95` and `p99` in milliseconds.
            error_rate: Share of failed requests, 0..1.
            at: When it came to this status (UTC).
        """
        from e2i_pipeline.metadata.operations import Deployment

        given: Row = {
            "model_name": model.name if model else None,
            "model_version": model.version if model else None,
            "mlflow_run_id": model.mlflow_run_id if model else None,
            "previous_id": previous_id,
            "rollback_reason": rollback_reason,
            **{f"latency_{name}_ms": value for name, value in (latencies_ms or {}).items()},
            "error_rate": error_rate,
            "status_changed_at": at,
        }
        row = {
            "id": deployment.key,
            **deployment.model_dump(exclude={"key"}),
            "environment": environment,
            "dagster_run_id": run_id,
            **{name: value for name, value in given.items() if value is not None},
        }
        self._put(Deployment, row, ("id",))

    def record_spans(self, spans: Sequence[Mapping[str, Any]]) -> None:
        """Records finished spans, columns of `ml_observability_spans` each; one that is recorded stays as it is."""
        from e2i_pipeline.metadata.database import insert_missing
        from e2i_pipeline.metadata.operations import Span

        if spans:
            with self._database().write() as connection:
                insert_missing(connection, Span, spans)

    def spans(self, trace_id: str) -> list[Row]:
        """The spans of one trace, in order of their start."""
        from e2i_pipeline.metadata.operations import Span

        return sorted(self._find(Span, trace_id=trace_id), key=lambda row: (row["started_at"], row["span_id"]))

    def spans_to_export(self, limit: int) -> list[Row]:
        """The oldest spans that wait to be sent.

        Each carries as `trace_started_at` the earliest start that is recorded for its trace, in whichever process.
        """
        import sqlalchemy as sa

        from e2i_pipeline.metadata.base import table_of
        from e2i_pipeline.metadata.operations import Span

        waiting = sa.select(table_of(Span)).where(Span.export_state == "pending").order_by(Span.started_at).limit(limit)
        rows = self._database().rows(waiting)
        traces = {row["trace_id"] for row in rows}
        first = sa.func.min(Span.trace_started_at, type_=Span.trace_started_at.type).label("born")
        born = sa.select(Span.trace_id, first)
        with self._database().read() as connection:
            found = connection.execute(born.where(Span.trace_id.in_(traces)).group_by(Span.trace_id)).all()
        earliest = {row.trace_id: row.born for row in found}
        return [{**row, "trace_started_at": earliest[row["trace_id"]]} for row in rows]

    def mark_spans(self, span_ids: Sequence[str], export_state: str) -> None:
        """Notes that spans were `sent` or `refused`."""
        import sqlalchemy as sa

        from e2i_pipeline.metadata.operations import Span

        with self._database().write() as connection:
            these = Span.span_id.in_(span_ids)
            connection.execute(sa.update(Span).where(these).values(export_state=export_state))
