"""How long the steps of a run took, and how much memory, from the spans of its trace.

A step is the body of an asset or of its checks. Who measures stands in `failures.py`, where spans are kept in
`ml_observability_spans`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from e2i_pipeline.contracts.base import Contract

OTHER = "other"
"""Stage of a step whose asset is in no stage."""


class StepTime(Contract):
    """One step of a run.

    Attributes:
        step: Name of the asset, or of its checks.
        asset: Asset that it makes or checks.
        stage: Stage of that asset.
        started_at: When its first attempt began (UTC).
        seconds: Wall-clock seconds in the body, over all attempts.
        attempts: How often it was tried.
        is_ok: Whether the last attempt succeeded.
        peak_mib: Highest resident memory of its process so far, in MiB; None where it was not recorded.
        raised_mib: By how much the step raised it.
    """

    step: str
    asset: str
    stage: str
    started_at: datetime
    seconds: float
    attempts: int = 1
    is_ok: bool = True
    peak_mib: float | None = None
    raised_mib: float | None = None

    @property
    def name(self) -> str:
        """The step's name; that of a check without the name of its asset before it."""
        return self.step.removeprefix(f"{self.asset}_") if self.is_check else self.step

    @property
    def is_check(self) -> bool:
        """Whether the step checks its asset, in place of making it."""
        return self.step != self.asset


class StageTime(NamedTuple):
    """The steps of one stage together.

    Attributes:
        stage: Name of the stage.
        seconds: Sum over its steps.
        peak_mib: Highest peak of its steps, in MiB; None where none was recorded.
        steps: In order of their start, the checks of an asset behind it.
    """

    stage: str
    seconds: float
    peak_mib: float | None
    steps: tuple[StepTime, ...]


def step_times(spans: Iterable[Mapping[str, Any]]) -> tuple[StepTime, ...]:
    """The steps of a run, in order of their start.

    Args:
        spans: Rows of `ml_observability_spans` of one trace. What runs inside a step, and what no asset's boundary
            recorded, is left out.
    """
    found: dict[str, StepTime] = {}
    for span in sorted(spans, key=lambda row: row["started_at"]):
        asset = span["attributes"].get("asset")
        if not asset or span["parent_span_id"] or span["kind"] != "agent":
            continue
        step = _step(span, str(asset))
        before = found.get(step.step)
        found[step.step] = _again(before, step) if before else step
    return tuple(found.values())


def by_stage(steps: Iterable[StepTime]) -> tuple[StageTime, ...]:
    """The steps by stage, in the order in which the stages began."""
    stages: dict[str, list[StepTime]] = {}
    for step in _grouped(steps):
        stages.setdefault(step.stage, []).append(step)
    return tuple(
        StageTime(
            stage,
            sum(step.seconds for step in each),
            max((step.peak_mib for step in each if step.peak_mib is not None), default=None),
            tuple(each),
        )
        for stage, each in stages.items()
    )


def _grouped(steps: Iterable[StepTime]) -> list[StepTime]:
    """The steps of one asset together."""
    assets: dict[str, list[StepTime]] = {}
    for step in steps:
        assets.setdefault(step.asset, []).append(step)
    return [step for each in assets.values() for step in each]


def _step(span: Mapping[str, Any], asset: str) -> StepTime:
    noted = span["attributes"]
    peak, before = noted.get("peak_rss_mib"), noted.get("peak_rss_before_mib")
    return StepTime(
        step=span["operation"],
        asset=asset,
        stage=noted.get("stage") or OTHER,
        started_at=span["started_at"],
        seconds=span["duration_ms"] / 1000,
        is_ok=span["status"] == "ok",
        peak_mib=peak,
        raised_mib=None if peak is None or before is None else max(peak - before, 0.0),
    )


def _again(before: StepTime, step: StepTime) -> StepTime:
    """A step with one more attempt."""
    changes: dict[str, Any] = {
        "started_at": before.started_at,
        "seconds": before.seconds + step.seconds,
        "attempts": before.attempts + 1,
        "peak_mib": _largest(before.peak_mib, step.peak_mib),
        "raised_mib": _largest(before.raised_mib, step.raised_mib),
    }
    return step.model_copy(update=changes)


def _largest(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)
