"""Where an asset ends and Dagster begins: our errors become `dg.Failure`, and the work is traced.

Three mechanisms retry in Dagster; only a step's `RetryPolicy` honours `allow_retries`. It is false for everything but
`ToolUnavailable`: bad data does not become good by trying again.
"""

import functools
import inspect
import resource
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import dagster as dg

from e2i_pipeline import last_words
from e2i_pipeline.errors import E2IError, ToolUnavailable
from e2i_pipeline.packages import missing_package

F = TypeVar("F", bound=Callable[..., Any])


def asset_boundary(agent: str) -> Callable[[F], F]:
    """Wraps the body of an asset or check.

    The body's `opik` argument traces it as one span of the Dagster run's trace, named as the step; the attributes
    `asset`, `stage`, `peak_rss_before_mib` and `peak_rss_mib` say what it is about and what memory it took. The message
    of an `E2IError` is complete by itself and free of patients' values; the errors it came from, and any other error's
    text, may not be, so they are left behind.

    Args:
        agent: Name of the agent whose work this is, as in the data dictionary.
    """

    def wrap(body: F) -> F:
        @contextmanager
        def boundary(context: Any, opik: Any) -> Iterator[None]:
            try:
                with (
                    opik.trace_agent(agent, _step(context), trace_id=context.run.run_id) as span,
                    _measured(span, context),
                ):
                    yield
            except E2IError as err:
                raise failure(err, _step(context)) from None
            except Exception as err:
                if problem := missing_package(err):
                    raise failure(problem, _step(context)) from None
                raise _defect(err, _step(context)) from None

        @functools.wraps(body)
        def bounded(context: Any, *args: Any, **kwargs: Any) -> Any:
            last_words.forget(_step(context))
            with boundary(context, kwargs["opik"]):
                return _noted(context, body(context, *args, **kwargs))

        @functools.wraps(body)
        def bounded_generator(context: Any, *args: Any, **kwargs: Any) -> Any:
            last_words.forget(_step(context))
            with boundary(context, kwargs["opik"]):
                for result in body(context, *args, **kwargs):
                    yield _noted(context, result)

        return cast(F, bounded_generator if inspect.isgeneratorfunction(body) else bounded)

    return wrap


def failure(err: E2IError, step: str = "") -> dg.Failure:
    """The error in Dagster's words: its class as a label, its message as it is.

    Args:
        err: The error.
        step: The step that it ends, where that is known.
    """
    last_words.remember(step or str(err), str(err))
    return dg.Failure(
        description=str(err),
        metadata={"error": type(err).__name__},
        allow_retries=isinstance(err, ToolUnavailable),
    )


def _defect(err: Exception, step: str) -> dg.Failure:
    """A mistake of ours in Dagster's words: trying again would only repeat it.

    The text of such an error may quote a patient's value (DuckDB, pandas and NumPy do), so Dagster gets its type, and
    where it was raised.
    """
    what = f"{type(err).__name__} in {step}. This is a defect of the pipeline; the event log has the trace."
    last_words.remember(step, what)
    trace = dg.MetadataValue.md(f"```\n{_trace(err)}\n```")
    return dg.Failure(what, metadata={"error": type(err).__name__, "trace": trace}, allow_retries=False)


def _trace(err: BaseException) -> str:
    """Where an error, and what it came from, was raised: types, files, lines and functions, without a word of text."""
    lines: list[str] = []
    cause: BaseException | None = err
    while cause is not None:
        frames = traceback.StackSummary.extract(traceback.walk_tb(cause.__traceback__), lookup_lines=False)
        lines += [f"{type(cause).__name__}, raised by:", *(f"  {f.filename}:{f.lineno} {f.name}" for f in frames)]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n".join(lines)


@contextmanager
def _measured(span: Any, context: Any) -> Iterator[None]:
    """Notes on a step's span its asset, and the peak of the process's memory before and after it.

    Args:
        span: The span, or None where nothing is traced.
        context: The step's context.
    """
    before = _peak_rss_mib()
    try:
        yield
    finally:
        if span is not None:
            asset, stage = _asset(context)
            span.set_attribute("asset", asset)
            span.set_attribute("stage", stage)
            span.set_attribute("peak_rss_before_mib", before)
            span.set_attribute("peak_rss_mib", _peak_rss_mib())


def _peak_rss_mib() -> float:
    """Highest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)


def _asset(context: Any) -> tuple[str, str]:
    """The asset that a step makes or checks, and its stage, which is its group."""
    if isinstance(context, dg.AssetCheckExecutionContext):
        keys = {key.asset_key for key in context.selected_asset_check_keys}
    else:
        keys = set(context.selected_asset_keys)
    key = min(keys, key=lambda each: each.to_user_string())
    return key.to_user_string(), context.job_def.asset_layer.asset_graph.get(key).group_name or ""


def _step(context: Any) -> str:
    return context.op_def.name


def _noted(context: Any, result: Any) -> Any:
    """A body's result as it is; the reasons of a check that did not hold are kept for the end of the process."""
    if isinstance(result, dg.AssetCheckResult) and not result.passed and result.description:
        last_words.remember(f"{_step(context)}.{result.check_name}", result.description)
    return result
