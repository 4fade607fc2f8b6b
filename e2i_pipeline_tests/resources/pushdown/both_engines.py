"""The same expectations by GX's own pandas engine on a whole data frame, and by the push-down. Tests only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from e2i_pipeline.resources.audit_plans import Step
from e2i_pipeline.resources.audit_results import redact
from e2i_pipeline.resources.audit_run import RESULT_FORMAT, comparable, great_expectations, run_suite
from e2i_pipeline.resources.data_docs import Docs
from e2i_pipeline.resources.engine import EngineResource, parquet
from e2i_pipeline.resources.pushdown.batch import Batch
from e2i_pipeline.resources.pushdown.columns import Field
from e2i_pipeline.resources.pushdown.push import DUCKDB, Push
from e2i_pipeline.resources.suites import Expectation, resolved

Found = tuple[bool | None, dict[str, Any]]
"""Whether an expectation is met, None where the engine raised an error, and what GX keeps of its result."""


class Case(NamedTuple):
    """One expectation to compare."""

    type: str
    kwargs: dict[str, Any]


class Compared(NamedTuple):
    """What both engines said of one case."""

    case: Case
    by_pandas: Found
    by_push: Found
    is_pushed: bool

    @property
    def differs(self) -> bool:
        """Whether they did not say the same."""
        return self.by_pandas != self.by_push


def batch_of(path: Path, columns: Sequence[str], helpers: Mapping[str, str] | None = None, where: str = "") -> Batch:
    """A batch of a Parquet file."""
    fields = {name: Field(name, "") for name in (*columns, *(helpers or {}))}
    return Batch(parquet(str(path)), fields, dict(helpers or {}), where)


def compared(
    folder: Path, batch: Batch, cases: Sequence[Case], parameters: Mapping[str, Any] | None = None
) -> list[Compared]:
    """Runs cases by both engines."""
    return compared_steps(folder, batch, [_step(f"case_{i}", case) for i, case in enumerate(cases)], parameters or {})


def compared_steps(folder: Path, batch: Batch, steps: Sequence[Step], parameters: Mapping[str, Any]) -> list[Compared]:
    """Runs steps by both engines."""
    with EngineResource(temp_dir=str(folder / "tmp")).connect() as connection:
        whole = comparable(connection.execute(batch.select(batch.fields)).df())
        oracle = _by_pandas(whole, [step._replace(kwargs=resolved(step.kwargs, parameters)) for step in steps])
        push = Push(connection, batch, steps, parameters)
        pairs = [(step, "warning") for step in steps]
        pushed, _ = run_suite("compared", pairs, push.snapshot, "batch", "v", parameters, Docs())
    return [
        Compared(
            Case(step.type, step.kwargs), _found(oracle[name]), _found(pushed[name]), push.engine_of(name) == DUCKDB
        )
        for step, name in ((step, step.expectation.name) for step in steps)
    ]


def _by_pandas(frame: Any, steps: Sequence[Step]) -> dict[str, Any]:
    """Great Expectations as it comes: its own pandas data source on the whole frame."""
    gx = great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    data = context.data_sources.add_pandas("oracle").add_dataframe_asset("frame")
    entries = [{"type": s.type, "kwargs": s.kwargs, "meta": {"name": s.expectation.name}} for s in steps]
    suite = context.suites.add(gx.ExpectationSuite(name="oracle", expectations=entries))
    definition = gx.ValidationDefinition(
        name="oracle", data=data.add_batch_definition_whole_dataframe("whole"), suite=suite
    )
    result = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": frame}, result_format=RESULT_FORMAT
    )
    redact(result)
    return {one.expectation_config.meta["name"]: one for one in result.results}


def _step(name: str, case: Case) -> Step:
    return Step(Expectation(name, case.type, case.kwargs), case.type, case.kwargs)


def _found(result: Any) -> Found:
    raised = bool((result.exception_info or {}).get("raised_exception"))
    return (None, {}) if raised else (bool(result.success), dict(result.result))
