"""Sends stored spans to an Opik server, and marks them sent only when the server has said so.

It goes through the REST client that the opik package generates from the server's own description; the package's own
queue reports deliveries that did not happen. Imported and used only where a server is configured.
"""

import hashlib
import logging
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.opik_spans import uuid7
from e2i_pipeline.resources.resilience import CircuitBreaker

logger = logging.getLogger(__name__)

_BATCH = 200  # the server takes 1000 spans at a time; long texts make fewer of them heavy
_TIMEOUT_SECONDS = 2
_REFUSALS = (400, 409, 413, 422)  # about the content: the same again would be refused again

Row = dict[str, Any]


class OpikExporter:
    """Sends what waits; at least once, since a process may die between the answer and the mark."""

    def __init__(self, url: str, api_key: str, workspace: str, project: str, metadata: MetadataResource) -> None:
        """Makes an exporter; nothing is imported or sent yet.

        Args:
            url: The server's API, e.g. `http://localhost:5173/api`; empty for the vendor's cloud.
            api_key: Key; empty for a server without one.
            workspace: Workspace.
            project: Project.
            metadata: Where the spans are stored.
        """
        self.breaker = CircuitBreaker("The Opik server")
        self.sent = 0
        self._url = url
        self._api_key = api_key
        self._workspace = workspace
        self._project = project
        self._metadata = metadata
        self._lock = Path(metadata.lock_dir) / "opik-export.lock"
        self._client: Any = None

    def export(self) -> None:
        """Sends all that waits, unless another process is at it. Never raises: what is not sent waits on."""
        from filelock import FileLock, Timeout

        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock, timeout=0):
                while rows := self._metadata.spans_to_export(_BATCH):
                    self.breaker.call(lambda rows=rows: self._send(rows))
        except Timeout:
            return
        except Exception as err:
            if self.breaker.state == "closed":
                logger.warning("Spans were not sent to the Opik server and wait in the table: %s", _reason(err))

    def _send(self, rows: Sequence[Row]) -> None:
        try:
            self._request(rows)
        except ToolRejected as err:
            if len(rows) > 1:
                for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                    self._send(half)
                return
            logger.error("The Opik server refused a span; it stays in the table: %s", err)  # noqa: TRY400
            self._metadata.mark_spans([rows[0]["span_id"]], "refused")
        else:
            self._metadata.mark_spans([row["span_id"] for row in rows], "sent")
            self.sent += len(rows)

    def _request(self, rows: Sequence[Row]) -> None:
        """Sends traces, spans and scores, and returns only if each got an answer of 2xx."""
        client = self._connected()
        import httpx
        from opik.rest_api.core.api_error import ApiError

        options = {"timeout_in_seconds": _TIMEOUT_SECONDS, "max_retries": 0}
        try:
            traces, spans, scores = self._payload(rows)
            if traces:
                client.traces.create_traces(traces=traces, request_options=options)
            if spans:
                client.spans.create_spans(spans=spans, request_options=options)
            if scores:
                client.traces.score_batch_of_traces(scores=scores, request_options=options)
        except ApiError as err:
            kind = ToolRejected if err.status_code in _REFUSALS else ToolUnavailable
            raise kind(f"The Opik server answered {err.status_code}.") from None
        except httpx.HTTPError as err:
            raise ToolUnavailable(f"The Opik server did not answer: {type(err).__name__}.") from None
        except ValueError as err:
            raise ToolRejected(f"A span has no form that Opik takes: {type(err).__name__}.") from None

    def _payload(self, rows: Sequence[Row]) -> tuple[list[Any], list[Any], list[Any]]:
        """The rows as traces (one for each first span), spans and scores."""
        spans = [row for row in rows if row["kind"] in ("agent", "llm")]
        roots = {row["trace_id"]: row for row in spans if row["parent_span_id"] is None}
        scores = [self._score(row) for row in rows if row["kind"] in ("metric", "feedback")]
        return [self._trace(row) for row in roots.values()], [self._span(row) for row in spans], scores

    def _connected(self) -> Any:
        """The client, made when first used."""
        if self._client is None:
            # The package's defaults report to its vendor; an operator's own setting is kept.
            os.environ.setdefault("OPIK_SENTRY_ENABLE", "false")
            os.environ.setdefault("OPIK_ANALYTICS_ENABLE", "false")
            os.environ.setdefault("OPIK_DEFAULT_FLUSH_TIMEOUT", str(_TIMEOUT_SECONDS))
            if self._url:
                os.environ["OPIK_URL_OVERRIDE"] = self._url
            import httpx
            from opik.config import OPIK_URL_CLOUD
            from opik.rest_api.client import OpikApi

            self._client = OpikApi(
                base_url=(self._url or OPIK_URL_CLOUD).rstrip("/"),
                api_key=self._api_key or None,
                workspace_name=self._workspace or None,
                # No redirects: the key must not follow to another host.
                httpx_client=httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False),
            )
        return self._client

    def _trace(self, row: Row) -> Any:
        from opik.rest_api.types.trace_write import TraceWrite

        common = self._common(row)
        return TraceWrite(**{**common, "id": _trace_uuid(row), "start_time": row["trace_started_at"]})

    def _span(self, row: Row) -> Any:
        from opik.rest_api.types.span_write import SpanWrite

        tokens = {"prompt": row["input_tokens"], "completion": row["output_tokens"], "total": row["total_tokens"]}
        return SpanWrite(
            **self._common(row),
            id=row["span_id"],
            trace_id=_trace_uuid(row),
            parent_span_id=row["parent_span_id"],
            type="llm" if row["kind"] == "llm" else "general",
            model=row["model"],
            usage={f"{name}_tokens": count for name, count in tokens.items() if count is not None} or None,
        )

    def _common(self, row: Row) -> Row:
        from opik.rest_api.types.error_info_write import ErrorInfoWrite

        attributes = dict(row["attributes"])
        # The server requires a traceback; ours stays here, since it could carry data.
        error = ErrorInfoWrite(exception_type=row["error"], traceback="not recorded") if row["error"] else None
        columns = ("agent_name", "agent_tier", "status", "is_fallback_used", "dagster_run_id", "mlflow_run_id")
        return {
            "project_name": self._project or None,
            "name": f"{row['agent_name']}.{row['operation']}",
            "start_time": row["started_at"],
            "end_time": row["ended_at"],
            "input": _object(attributes.pop("input", None)),
            "output": _object(attributes.pop("output", None)),
            "metadata": {**attributes, **{name: row[name] for name in columns}, "events": row["events"]},
            "tags": [row["agent_name"]],
            "error_info": error,
        }

    def _score(self, row: Row) -> Any:
        from opik.rest_api.types.feedback_score_batch_item import FeedbackScoreBatchItem

        return FeedbackScoreBatchItem(
            id=_trace_uuid(row),
            project_name=self._project or None,
            name=row["operation"],
            value=row["attributes"]["value"],
            source="sdk",
        )


def _trace_uuid(row: Row) -> str:
    """The trace's id as the server takes it: a UUID of version 7, whose time it sorts and filters by.

    Another id, a Dagster run's for one, is turned into one by its hash and the trace's start.
    """
    try:
        if uuid.UUID(row["trace_id"]).version == 7:
            return row["trace_id"]
    except ValueError:
        pass
    return uuid7(row["trace_started_at"], hashlib.sha256(row["trace_id"].encode()).digest())


def _object(value: Any) -> Any:
    return value if value is None or isinstance(value, dict) else {"value": value}


def _reason(err: Exception) -> str:
    return str(err) if isinstance(err, (ToolUnavailable, ToolRejected)) else type(err).__name__
