"""Tracing by agent and stage: the public interface. Auxiliary: it never fails, or delays, the work that it traces.

The table `ml_observability_spans` is the record; an Opik server gets a copy where one is configured. Without a server
or key there is no network, no import of opik and no wait.
"""

import atexit
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from pydantic import Field, PrivateAttr

from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.opik_export import OpikExporter
from e2i_pipeline.resources.opik_spans import AgentSpan, SpanPolicy, TracedWork, current_span, is_sampled
from e2i_pipeline.resources.opik_writer import SpanWriter
from e2i_pipeline.resources.resilience import Record, Spool

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 10.0


class TracingStatus(NamedTuple):
    """How tracing fares in this process.

    Attributes:
        is_degraded: Whether spans wait outside the table, were refused, or the table or the server is given up on.
        recorded: Spans in the table.
        spooled: Spans that wait in a file for the table.
        refused: Spans that the table refused.
        sent: Spans that the Opik server has acknowledged; 0 where none is configured.
    """

    is_degraded: bool
    recorded: int
    spooled: int
    refused: int
    sent: int


class OpikResource(dg.ConfigurableResource):
    """Traces agents' work and language-model calls.

    Attributes:
        enabled: Whether anything is recorded.
        sample_rate: Share of the traces that is recorded, 0..1; a trace is recorded whole or not at all.
        workspace: Opik workspace.
        project_name: Opik project.
        include_inputs: Whether spans carry the attributes `input` and `prompt_template`.
        include_outputs: Whether they carry `output`.
        max_output_length: Characters kept of an attribute.
        metadata: Where spans are recorded.
        url: Opik server's API; empty for none, or with a key for the vendor's cloud. Spans that were recorded without
            a server stay local.
        api_key: Opik key; never shown.
        spool_dir: Where spans wait while the database does not answer; empty for a folder under `metadata.lock_dir`.
    """

    enabled: bool
    sample_rate: float = Field(ge=0, le=1)
    workspace: str
    project_name: str
    include_inputs: bool
    include_outputs: bool
    max_output_length: int = Field(ge=0)
    metadata: MetadataResource
    url: str = Field(default="", repr=False)
    api_key: str = Field(default="", repr=False)
    spool_dir: str = ""

    _run_id: str = PrivateAttr(default="")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Notes the Dagster run, which every span then carries."""
        self._run_id = context.run_id or ""

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Stores what is left: a step's own process may end without the interpreter's exit handlers."""
        self.flush()

    def trace_agent(
        self,
        agent: str,
        operation: str,
        trace_id: str | None = None,
        parent: AgentSpan | str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> TracedWork:
        """A span of an agent's operation, as a context manager or a decorator.

        An exception marks the span `error` with the exception's class, and goes on.

        Args:
            agent: Agent's name, e.g. `model_trainer`.
            operation: What it does.
            trace_id: Trace to join; by default the one that is open in this context, else a new one.
            parent: Span around it, or its id; by default the one that is open in this context.
            metadata: First attributes.

        Returns:
            What yields the span when entered.
        """

        def start() -> AgentSpan:
            span = AgentSpan(agent, operation, self._policy(), trace_id, parent, run_id=self._run_id)
            for key, value in (metadata or {}).items():
                span.set_attribute(key, value)
            return span

        return TracedWork(start, self._record)

    def trace_llm_call(
        self, model: str, parent: AgentSpan | str | None = None, prompt_template: str | None = None
    ) -> TracedWork:
        """A span of one call of a language model; its `log_tokens` notes the tokens used.

        Args:
            model: Model's name.
            parent: Span around it, or its id; by default the one that is open in this context.
            prompt_template: The template, without what was filled in.
        """

        def start() -> AgentSpan:
            around = parent if isinstance(parent, AgentSpan) else current_span()
            agent = around.agent if around else ""
            call = AgentSpan(agent, "llm_call", self._policy(), None, parent, "llm", model, self._run_id)
            if prompt_template is not None:
                call.set_attribute("prompt_template", prompt_template)
            return call

        return TracedWork(start, self._record)

    def log_metric(self, name: str, value: float, trace_id: str | None = None) -> None:
        """Attaches a figure to a trace, or by default to the span that is open in this context."""
        span = current_span()
        if span and trace_id in (None, span.trace_id):
            span.set_metric(name, value)
        else:
            self._note("metric", name, value, trace_id)

    def log_feedback(self, trace_id: str, score: float, type: str = "quality") -> None:
        """Attaches a judgement to a trace, also long after it has ended.

        Args:
            trace_id: The trace.
            score: The judgement as a number.
            type: What was judged.
        """
        self._note("feedback", type, score, trace_id)

    @property
    def is_degraded(self) -> bool:
        """Whether spans wait outside the table, were refused, or the table or the server is given up on."""
        return self.status().is_degraded

    def status(self) -> TracingStatus:
        """How tracing fares in this process; to be shown with a run."""
        if not self.enabled:
            return TracingStatus(False, 0, 0, 0, 0)
        writer, exporter = self._channel()
        stored = writer.status
        degraded = stored.is_degraded or bool(exporter and exporter.breaker.state != "closed")
        return TracingStatus(
            degraded, stored.recorded, stored.spooled, stored.refused, exporter.sent if exporter else 0
        )

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Waits, at most so many seconds, until all spans so far are recorded and one export was tried.

        Returns:
            Whether all are recorded.
        """
        return not self.enabled or self._channel()[0].flush(seconds)

    def _policy(self) -> SpanPolicy:
        return SpanPolicy(self.include_inputs, self.include_outputs, self.max_output_length)

    def _note(self, kind: str, name: str, value: float, trace_id: str | None) -> None:
        span = AgentSpan("observability_connector", name, self._policy(), trace_id, kind=kind, run_id=self._run_id)
        span.set_attribute("value", float(value))
        self._record(span.finished())

    def _record(self, row: Record) -> None:
        if not self.enabled or not is_sampled(row["trace_id"], self.sample_rate):
            return
        try:
            writer, exporter = self._channel()
            writer.add({**row, "export_state": "pending" if exporter else "local"})
        except Exception:
            logger.exception("A span could not be taken; the work that it traces goes on.")

    def _channel(self) -> "_Channel":
        """The process's one way out for this configuration, made when first used."""
        spool = Path(self.spool_dir or Path(self.metadata.lock_dir) / "spool")
        url, key = _resolved(self.url), _resolved(self.api_key)
        name = (self.metadata.url, str(spool), url, bool(key), self.workspace, self.project_name)
        with _channels_lock:
            if name not in _channels:
                exporter = None
                if url or key:
                    exporter = OpikExporter(url, key, self.workspace, self.project_name, self.metadata)
                waiting, refused = Spool(spool / "spans.jsonl"), Spool(spool / "spans-refused.jsonl")
                export = exporter.export if exporter else None
                writer = SpanWriter(self.metadata.record_spans, waiting, refused, export)
                _channels[name] = _Channel(writer, exporter)
            return _channels[name]


class _Channel(NamedTuple):
    writer: SpanWriter
    exporter: OpikExporter | None


_channels: dict[tuple[Any, ...], _Channel] = {}
_channels_lock = threading.Lock()


def _resolved(value: str) -> str:
    """A field's value; outside a run Dagster has not read the variable yet."""
    return (value.get_value() or "") if isinstance(value, dg.EnvVar) else value


def _forget() -> None:
    """In a child of a fork: the threads are the parent's, and so are the spans in its queues."""
    global _channels_lock
    _channels_lock = threading.Lock()
    _channels.clear()


@atexit.register
def _close_all() -> None:
    for writer, _ in list(_channels.values()):
        writer.close(_FLUSH_SECONDS)


os.register_at_fork(after_in_child=_forget)
