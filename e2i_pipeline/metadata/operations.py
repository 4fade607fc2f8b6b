"""The tables of operation: deployments, and the spans of the work that agents did."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from e2i_pipeline.metadata.base import KEY, NAME, Base, PlainJson, RunLinks, UtcDateTime


class Deployment(RunLinks, Base):
    """One deployment of a Bento.

    Attributes:
        id: Key of the deployment (`DeploymentRef.key`).
        bento_tag: Bento tag; None where nothing was promoted yet.
        environment: `development`, `staging` or `production`.
        endpoint: Address at which it answers.
        status: `pending`, `deploying`, `active`, `draining`, `rolled_back` or `failed`.
        previous_id: The deployment that it replaced.
        latency_p50_ms: Milliseconds, like `latency_p95_ms` and `latency_p99_ms`.
        error_rate: Share of failed requests, 0..1.
        status_changed_at: When the status was last set (UTC).
    """

    __tablename__ = "ml_deployments"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'deploying', 'active', 'draining', 'rolled_back', 'failed')", name="status"
        ),
    )

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    brand: Mapped[str] = mapped_column(NAME, index=True)
    model_name: Mapped[str] = mapped_column(NAME, default="")
    model_version: Mapped[str] = mapped_column(KEY, default="")
    bento_tag: Mapped[str | None] = mapped_column(NAME)
    environment: Mapped[str] = mapped_column(NAME)
    endpoint: Mapped[str] = mapped_column(Text)
    location: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(NAME)
    previous_id: Mapped[str | None] = mapped_column(KEY)
    rollback_reason: Mapped[str] = mapped_column(Text, default="")
    latency_p50_ms: Mapped[float | None]
    latency_p95_ms: Mapped[float | None]
    latency_p99_ms: Mapped[float | None]
    error_rate: Mapped[float | None]
    status_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Span(RunLinks, Base):
    """One piece of work of one agent; a metric or a piece of feedback on a trace is a span without length.

    Attributes:
        span_id: UUID, version 7.
        trace_id: The trace; a UUID of version 7 unless the caller gave another id.
        parent_span_id: The span inside which it ran.
        kind: `agent`, `llm`, `metric` or `feedback`.
        trace_started_at: Start of the trace's first span in this process (UTC).
        duration_ms: Milliseconds by a monotonic clock.
        model: Language model, for a call of one; `input_tokens`, `output_tokens`, `total_tokens` likewise.
        status: `ok`, `error`, or what the caller set.
        error: Class of the exception. Never its message, which could carry data.
        is_fallback_used: Whether the agent went its second way.
        export_state: `local` (never to be sent), `pending`, `sent` or `refused`.
    """

    __tablename__ = "ml_observability_spans"
    __table_args__ = (
        CheckConstraint("kind IN ('agent', 'llm', 'metric', 'feedback')", name="kind"),
        CheckConstraint("export_state IN ('local', 'pending', 'sent', 'refused')", name="export_state"),
        Index(None, "export_state", "started_at"),
    )

    span_id: Mapped[str] = mapped_column(KEY, primary_key=True)
    trace_id: Mapped[str] = mapped_column(NAME, index=True)
    parent_span_id: Mapped[str | None] = mapped_column(KEY)
    kind: Mapped[str] = mapped_column(NAME)
    agent_name: Mapped[str] = mapped_column(NAME)
    agent_tier: Mapped[str] = mapped_column(NAME, default="")
    operation: Mapped[str] = mapped_column(NAME)
    trace_started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_ms: Mapped[float]
    model: Mapped[str | None] = mapped_column(NAME)
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    total_tokens: Mapped[int | None]
    status: Mapped[str] = mapped_column(NAME)
    error: Mapped[str | None] = mapped_column(NAME)
    is_fallback_used: Mapped[bool] = mapped_column(default=False)
    attributes: Mapped[dict[str, Any]] = mapped_column(PlainJson, default=dict)
    events: Mapped[list[Any]] = mapped_column(PlainJson, default=list)
    export_state: Mapped[str] = mapped_column(NAME, default="local")
