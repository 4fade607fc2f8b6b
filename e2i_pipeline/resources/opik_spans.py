"""A span: one piece of work of one agent, timed, nested by itself, and free of data that it must not carry.

What becomes of a finished span stands in `opik_writer.py`. A span reads the clock, since its times are the very thing
that it records; nothing is decided by them.
"""

import asyncio
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from functools import wraps
from types import TracebackType
from typing import Any, NamedTuple

from e2i_pipeline.metadata.values import plain

AGENTS = frozenset(
    {
        "scope_definer",
        "data_preparer",
        "model_selector",
        "model_trainer",
        "feature_analyzer",
        "model_deployer",
        "observability_connector",
        "prediction_synthesizer",
    }
)
"""The agents whose work this pipeline does."""

TIER = "ml_foundation"
"""Their tier on the platform."""

_NAME_LENGTH = 255
_KEY_LENGTH = 64
_COLUMNS = ("agent_tier", "is_fallback_used", "dagster_run_id", "mlflow_run_id")
_current: ContextVar["AgentSpan | None"] = ContextVar("e2i_span", default=None)


class SpanPolicy(NamedTuple):
    """What spans may carry.

    Attributes:
        include_inputs: Whether the attributes `input` and `prompt_template` are kept.
        include_outputs: Whether the attribute `output` is kept.
        max_length: Characters of a text, or of a structure as JSON, that are kept.
    """

    include_inputs: bool
    include_outputs: bool
    max_length: int

    @property
    def left_out(self) -> tuple[str, ...]:
        """Attributes that are not kept."""
        inputs = () if self.include_inputs else ("input", "prompt_template")
        return inputs if self.include_outputs else (*inputs, "output")


class AgentSpan:
    """One piece of work while it goes on.

    Attributes:
        id: UUID, version 7.
        trace_id: The trace that it belongs to.
        parent_id: The span inside which it runs; None for the first of a trace.
        agent: Agent's name.
        trace_started_at: Start of the trace's first span in this process (UTC).
    """

    def __init__(
        self,
        agent: str,
        operation: str,
        policy: SpanPolicy,
        trace_id: str | None = None,
        parent: "AgentSpan | str | None" = None,
        kind: str = "agent",
        model: str | None = None,
        run_id: str = "",
    ) -> None:
        """Starts the span.

        Args:
            agent: Agent's name.
            operation: What it does.
            policy: What the span may carry.
            trace_id: Its trace; by default its parent's, else a new one.
            parent: The span around it, or that span's id; by default the one that is open in this context.
            kind: `agent`, `llm`, `metric` or `feedback`.
            model: Language model, for a call of one.
            run_id: Dagster run.
        """
        around = parent if isinstance(parent, AgentSpan) else _current.get()
        if around and trace_id not in (None, around.trace_id):
            around = None  # another trace: the span that happens to be open is not its parent
        self.started_at = datetime.now(UTC)
        self.id = uuid7(self.started_at)
        self.trace_id = trace_id or (around.trace_id if around else uuid7(self.started_at))
        self.parent_id = parent if isinstance(parent, str) else around.id if around else None
        self.trace_started_at = around.trace_started_at if around else self.started_at
        self.agent = agent
        self._start = time.perf_counter()
        self._policy = policy
        self._attributes: dict[str, Any] = {}
        self._events: list[dict[str, Any]] = []
        self._fields: dict[str, Any] = {
            "kind": kind,
            "operation": operation[:_NAME_LENGTH],
            "agent_tier": TIER if agent in AGENTS else "",
            "model": model,
            "input_tokens": None,
            "output_tokens": None,
            "total_tokens": None,
            "status": "ok",
            "error": None,
            "is_fallback_used": False,
            "dagster_run_id": run_id,
            "mlflow_run_id": None,
        }

    def set_attribute(self, key: str, value: Any) -> None:
        """Sets an attribute.

        Args:
            key: Name. `agent_tier`, `is_fallback_used`, `dagster_run_id` and `mlflow_run_id` fill the column of that
                name; `input` and `output` are left out where the policy says so.
            value: A JSON value. Of anything else only the type's name is kept: a data frame's text would carry rows.
        """
        if key in _COLUMNS:
            self._fields[key] = bool(value) if key == "is_fallback_used" else str(value)[:_KEY_LENGTH]
        elif key in self._policy.left_out:
            return
        else:
            self._attributes[str(key)] = self._kept(value)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Adds a moment within the span, with attributes like the span's own."""
        at = datetime.now(UTC).isoformat()
        self._events.append({"name": name, "at": at, "attributes": self._kept(dict(attributes or {}))})

    def set_status(self, status: str, error: str | None = None) -> None:
        """Sets the status.

        Args:
            status: `ok`, `error`, or another word of the caller's.
            error: Class of the error; not its message, which could carry data.
        """
        self._fields.update(status=status[:_NAME_LENGTH], error=error[:_NAME_LENGTH] if error else None)

    def set_metric(self, name: str, value: float) -> None:
        """Attaches a figure to the span."""
        self._attributes.setdefault("metrics", {})[name] = value

    def log_tokens(self, input: int, output: int, total: int | None = None) -> None:
        """Notes what a call of a language model used, in tokens; `total` is their sum unless given."""
        self._fields.update(
            input_tokens=input, output_tokens=output, total_tokens=input + output if total is None else total
        )

    def finished(self) -> dict[str, Any]:
        """Ends the span.

        Returns:
            Its row of `ml_observability_spans`.
        """
        milliseconds = (time.perf_counter() - self._start) * 1000
        return {
            "span_id": self.id,
            "trace_id": self.trace_id[:_NAME_LENGTH],
            "parent_span_id": self.parent_id,
            "agent_name": self.agent[:_NAME_LENGTH],
            "trace_started_at": self.trace_started_at,
            "started_at": self.started_at,
            "ended_at": datetime.now(UTC),
            "duration_ms": milliseconds,
            **self._fields,
            "attributes": self._attributes,
            "events": self._events,
        }

    def _kept(self, value: Any) -> Any:
        shown = _shown(value)
        text = shown if isinstance(shown, str) else json.dumps(shown)
        if len(text) <= self._policy.max_length:
            return shown
        return text[: self._policy.max_length]


class TracedWork:
    """A span around work: `with` or `async with` a block, or as a decorator of a function, a coroutine too."""

    def __init__(self, start: Callable[[], AgentSpan], finish: Callable[[dict[str, Any]], None]) -> None:
        """Prepares the span.

        Args:
            start: Makes the span when the work begins.
            finish: Takes its row when the work has ended.
        """
        self._make = start
        self._finish = finish
        self._span: AgentSpan | None = None
        self._token: Token[AgentSpan | None] | None = None

    def __enter__(self) -> AgentSpan:
        self._span = self._make()
        self._token = _current.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        span, token, self._span, self._token = self._span, self._token, None, None
        if not span or not token:
            return
        try:
            _current.reset(token)
        except ValueError:
            _current.set(None)  # left in another context than entered, as an abandoned generator is
        if kind:
            span.set_status("error", kind.__name__)
        self._finish(span.finished())

    async def __aenter__(self) -> AgentSpan:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Traces every call of a function, each in a span of its own."""
        if asyncio.iscoroutinefunction(function):

            @wraps(function)
            async def traced_coroutine(*args: Any, **kwargs: Any) -> Any:
                with TracedWork(self._make, self._finish):
                    return await function(*args, **kwargs)

            return traced_coroutine

        @wraps(function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with TracedWork(self._make, self._finish):
                return function(*args, **kwargs)

        return traced


def current_span() -> AgentSpan | None:
    """The span that is open in this context."""
    return _current.get()


def is_sampled(trace_id: str, rate: float) -> bool:
    """Whether a trace is recorded: the same answer for all its spans, in every process.

    Args:
        trace_id: The trace.
        rate: Share of the traces to record, 0..1.
    """
    return int.from_bytes(hashlib.sha256(trace_id.encode()).digest()[:8], "big") < rate * 2**64


def uuid7(at: datetime, entropy: bytes | None = None) -> str:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, then randomness.

    Args:
        at: The moment it carries.
        entropy: Ten bytes in place of randomness, to get the same id again.
    """
    random = int.from_bytes((entropy or os.urandom(10))[:10], "big")
    number = int(at.timestamp() * 1000) << 80 | random
    number = number & ~(0xF << 76) | 7 << 76
    number = number & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=number))


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    try:
        return plain(value)
    except TypeError:
        return f"<{type(value).__name__}>"
