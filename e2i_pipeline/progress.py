"""One line per finished step for people who watch a terminal; Dagster keeps the full event log.

Used by `e2i run` as the Dagster logger `progress`, with a bar for the trials of a study. It decides nothing.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import dagster as dg

_NOISE = ("did not yield or return expected outputs", "Dependencies for step", "Unchanged: nothing was computed")
"""Dagster's notes on a check that was not evaluated, as an expectation on an absent column is not, and on each step
that a failure keeps from running; and our own note on a result that the step's line marks as unchanged."""

_SHOWN = ("dagster/row_count", "rows", "auc", "best_value", "model", "bento", "decision", "defects")

_BAR_WIDTH = 30
_CLEAR = "\r\033[K"  # back to the start of the line, and empty it

_CHECK_FAILED = "DagsterAssetCheckFailedError"
"""Class of the error by which Dagster ends a step whose blocking check has failed."""


@dg.logger(config_schema={}, description="One line per finished step.")
def progress_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """The logger that `e2i run` selects by run configuration."""
    logger = logging.getLogger(f"e2i.progress.{context.run_id}")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if not logger.handlers:  # Dagster asks twice per run
        logger.addHandler(ProgressHandler())
    return logger


class ProgressHandler(logging.Handler):
    """Turns Dagster's events into lines such as `  12.3 s  patient_journeys   60,000 rows`."""

    def __init__(self) -> None:
        super().__init__()
        self._began: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line for an event that people wait for; everything else stays in the event log."""
        line = self.line(record)
        if line:
            TrialBar.clear()
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def line(self, record: logging.LogRecord) -> str:
        """The line for a record; empty where there is nothing to say."""
        meta: Mapping[str, Any] = getattr(record, "dagster_meta", {})
        event: dg.DagsterEvent | None = meta.get("dagster_event")
        if event is None:
            text = str(meta.get("orig_message", record.getMessage()))
            is_shown = record.levelno >= logging.INFO and not any(noise in text for noise in _NOISE)
            return f"{'':11}{text}" if is_shown else ""
        return self._event_line(event, record.created)

    def _event_line(self, event: dg.DagsterEvent, at: float) -> str:
        kind = event.event_type_value
        if kind == "STEP_START":
            self._began[event.step_key or ""] = at
            return ""
        if kind == "ASSET_MATERIALIZATION":
            materialization = event.step_materialization_data.materialization
            shown = _shown({name: value.value for name, value in materialization.metadata.items()})
            return f"{self._seconds(event, at)}  {materialization.label:<22}{shown}".rstrip()
        if kind == "ASSET_CHECK_EVALUATION":
            return _check_line(event.asset_check_evaluation_data)
        if kind == "STEP_FAILURE":
            return f"{self._seconds(event, at)}  {event.step_key} FAILED\n{_indented(_reason(event))}"
        if kind == "STEP_UP_FOR_RETRY":
            return f"{'retry':>9}  {event.step_key}: {event.message}"
        return ""

    def _seconds(self, event: dg.DagsterEvent, at: float) -> str:
        began = self._began.get(event.step_key or "", at)
        return f"{max(at - began, 0.0):7.1f} s"


class TrialBar:
    """A bar on the last line of a terminal: how far a study is. Where nobody watches, nothing is written."""

    _is_shown = False  # of the process, since a terminal has one last line

    def __enter__(self) -> "TrialBar":
        """Shows nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the line empty."""
        self.clear()

    def show(self, done: int, wanted: int, text: str) -> None:
        """Draws the bar.

        Args:
            done: Finished trials.
            wanted: Trials that are asked for, >= 1.
            text: What is said beside it.
        """
        if not sys.stderr.isatty():
            return
        filled = _BAR_WIDTH * min(done, wanted) // wanted
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        sys.stderr.write(f"{_CLEAR}{'':11}[{bar}] {done} of {wanted}, {text}")
        sys.stderr.flush()
        TrialBar._is_shown = True

    @staticmethod
    def clear() -> None:
        """Empties the line for what comes next; the bar comes back with the next trial."""
        if TrialBar._is_shown:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            TrialBar._is_shown = False


def _check_line(check: dg.AssetCheckEvaluation) -> str:
    """A check that blocks, or one that failed; what blocks says why."""
    if check.passed:
        return f"{'ok':>9}  {check.check_name}" if check.blocking else ""
    line = f"{check.severity.value:>9}  {check.check_name}"
    return f"{line}\n{_indented(check.description)}" if check.blocking and check.description else line


def _reason(event: dg.DagsterEvent) -> str:
    """What a person must know of a failed step: our message, or the last cause of an error that is not ours."""
    failed = event.step_failure_data
    if failed.user_failure_data and failed.user_failure_data.metadata.get("error"):
        return str(failed.user_failure_data.description)
    error = failed.error
    if error is not None and error.cls_name == _CHECK_FAILED:
        return "A blocking check failed, so nothing that depends on it was started."
    while error is not None and error.cause is not None:
        error = error.cause
    message = error.message if error else str(event.message)
    return f"{message.strip()}\nThis is a defect of the pipeline; the event log has the trace."


def _shown(metadata: Mapping[str, Any]) -> str:
    parts: list[str] = []
    if metadata.get("unchanged"):
        parts.append("unchanged")
    for name in _SHOWN:
        value = metadata.get(name)
        if value is None:
            continue
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)
        parts.append(f"{text} rows" if name.endswith(("rows", "row_count")) else f"{name} {text}")
    return ", ".join(parts)


def _indented(text: str) -> str:
    return "\n".join(f"           {line}" for line in text.splitlines())
