"""Where an asset ends and Dagster begins: our errors become `dg.Failure`, and the work is traced.

Three mechanisms retry in Dagster; only a step's `RetryPolicy` honours `allow_retries`. It is false for everything but
`ToolUnavailable`: bad data does not become good by trying again.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import dagster as dg

from e2i_pipeline.errors import E2IError, ToolUnavailable

F = TypeVar("F", bound=Callable[..., Any])


def asset_boundary(agent: str) -> Callable[[F], F]:
    """Wraps the body of an asset or check.

    The body's `opik` argument traces it as one span of the Dagster run's trace. The message of an `E2IError` is
    complete by itself and free of patients' values; the errors it came from may not be, so they are left behind.

    Args:
        agent: Name of the agent whose work this is, as in the data dictionary.
    """

    def wrap(body: F) -> F:
        @contextmanager
        def boundary(context: Any, opik: Any) -> Iterator[None]:
            try:
                with opik.trace_agent(agent, body.__name__, trace_id=context.run.run_id):
                    yield
            except E2IError as err:
                raise failure(err) from None
            except Exception as err:
                # a mistake of ours: trying again would only repeat it
                raise dg.Failure(f"{type(err).__name__} in {body.__name__}", allow_retries=False) from err

        @functools.wraps(body)
        def bounded(context: Any, *args: Any, **kwargs: Any) -> Any:
            with boundary(context, kwargs["opik"]):
                return body(context, *args, **kwargs)

        @functools.wraps(body)
        def bounded_generator(context: Any, *args: Any, **kwargs: Any) -> Any:
            with boundary(context, kwargs["opik"]):
                yield from body(context, *args, **kwargs)

        return cast(F, bounded_generator if inspect.isgeneratorfunction(body) else bounded)

    return wrap


def failure(err: E2IError) -> dg.Failure:
    """The error in Dagster's words: its class as a label, its message as it is."""
    return dg.Failure(
        description=str(err),
        metadata={"error": type(err).__name__},
        allow_retries=isinstance(err, ToolUnavailable),
    )
