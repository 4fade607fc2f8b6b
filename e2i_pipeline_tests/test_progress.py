"""What a person sees of a run: one line a step, why a step failed, and nothing else."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from e2i_pipeline.errors import QCGateBlockedError, ToolUnavailable
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.progress import ProgressHandler, TrialBar, progress_logger
from e2i_pipeline.storage.references import ReferenceIOManager

SECONDS = re.compile(r"^ +\d+\.\d s  ")


class Untraced:
    """Takes spans and keeps none."""

    @contextmanager
    def trace_agent(self, agent: str, operation: str, trace_id: str) -> Iterator[None]:
        yield


class Run:
    """Runs assets and checks as `e2i run` does, and says what the terminal showed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._resources = {"opik": Untraced(), "io_manager": ReferenceIOManager(root=str(folder))}

    def __call__(self, *defined: dg.AssetsDefinition | dg.AssetChecksDefinition) -> list[str]:
        definitions = dg.Definitions(
            assets=[d for d in defined if not isinstance(d, dg.AssetChecksDefinition)],
            asset_checks=[d for d in defined if isinstance(d, dg.AssetChecksDefinition)],
            resources=self._resources,
            loggers={"progress": progress_logger},
        )
        job = definitions.get_implicit_global_asset_job_def()
        job.execute_in_process(run_config={"loggers": {"progress": {}}}, raise_on_error=False)
        shown = self._capsys.readouterr()
        assert shown.out == ""
        return [SECONDS.sub("    N s  ", line) for line in shown.err.splitlines()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return Run(capsys, tmp_path)


def raising(err: Exception, retries: int = 0) -> dg.AssetsDefinition:
    policy = dg.RetryPolicy(max_retries=retries) if retries else None

    @dg.asset(retry_policy=policy)
    @asset_boundary("data_preparer")
    def validated_dataset(context: dg.AssetExecutionContext, opik: dg.ResourceParam[Untraced]) -> None:
        raise err

    return validated_dataset


def showing(**metadata: dg.MetadataValue) -> dg.AssetsDefinition:
    @dg.asset
    def patient_journeys() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={name.replace("__", "/"): value for name, value in metadata.items()})

    return patient_journeys


def checking(**result: object) -> dg.AssetChecksDefinition:
    is_blocking = bool(result.pop("blocking", False))

    @dg.asset_check(asset="patient_journeys", blocking=is_blocking)
    def brand_is_configured() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(**result)  # type: ignore[arg-type]

    return brand_is_configured


@pytest.mark.parametrize(
    ("metadata", "shown"),
    [
        ({}, ""),
        ({"dagster__row_count": dg.MetadataValue.int(60_000)}, "60,000 rows"),
        (
            {"dagster__row_count": dg.MetadataValue.int(970), "defects": dg.MetadataValue.int(10)},
            "970 rows, defects 10",
        ),
        ({"auc": dg.MetadataValue.float(0.73571)}, "auc 0.7357"),
        (
            {"unchanged": dg.MetadataValue.bool(True), "best_value": dg.MetadataValue.float(0.5)},
            "unchanged, best_value 0.5000",
        ),
        (
            {"unchanged": dg.MetadataValue.bool(False), "model": dg.MetadataValue.text("m version 1")},
            "model m version 1",
        ),
        ({"location": dg.MetadataValue.path("/somewhere"), "seconds": dg.MetadataValue.float(3.0)}, ""),
    ],
)
def test_a_materialization_is_one_line_with_its_figures(
    run: Run, metadata: dict[str, dg.MetadataValue], shown: str
) -> None:
    assert run(showing(**metadata)) == [f"    N s  {'patient_journeys':<22}{shown}".rstrip()]


def test_a_failing_step_says_our_message_and_not_where_it_was_raised(run: Run) -> None:
    shown = run(raising(QCGateBlockedError("The quality gate is closed.\n  Correct the source.")))

    assert shown == [
        "    N s  validated_dataset FAILED",
        "           The quality gate is closed.",
        "             Correct the source.",
    ]


def test_a_defect_of_ours_is_called_one_and_named_by_its_type(run: Run) -> None:
    shown = run(raising(ZeroDivisionError("division by zero")))

    said = "ZeroDivisionError in validated_dataset. This is a defect of the pipeline; the event log has the trace."
    assert shown == ["    N s  validated_dataset FAILED", f"           {said}"]


def test_a_retry_is_announced(run: Run) -> None:
    first, second, *failed = run(raising(ToolUnavailable("The registry does not answer."), retries=2))

    assert re.fullmatch(r" +retry  validated_dataset: .* failed and has requested a retry.*", first)
    assert second.strip().startswith("retry")
    assert failed == ["    N s  validated_dataset FAILED", "           The registry does not answer."]


def test_a_step_that_a_failure_keeps_from_running_is_not_mentioned(run: Run) -> None:
    @dg.asset(deps=["validated_dataset"])
    def patient_features() -> None: ...

    assert not any("patient_features" in line for line in run(raising(ToolUnavailable("Gone.")), patient_features))


def test_a_missing_upstream_is_no_defect_of_ours(run: Run) -> None:
    @dg.asset
    def features(elsewhere: object) -> None: ...

    shown = run(features, dg.AssetSpec("elsewhere"))  # type: ignore[arg-type]

    assert shown[0] == "    N s  features FAILED"
    assert shown[1].strip().startswith("elsewhere has not been materialized in this state folder.")
    assert len(shown) == 2


def test_a_blocking_check_that_passed_is_a_line(run: Run) -> None:
    shown = run(showing(), checking(passed=True, blocking=True, description="All is well."))

    assert shown[1:] == ["       ok  brand_is_configured"]


def test_a_plain_check_is_a_line_only_when_it_failed(run: Run) -> None:
    warned = checking(passed=False, severity=dg.AssetCheckSeverity.WARN, description="3 of 12 rows.")

    assert run(showing(), checking(passed=True))[1:] == []
    assert run(showing(), warned)[1:] == ["     WARN  brand_is_configured"]


def test_a_blocking_check_that_failed_says_why_and_is_no_defect_of_ours(run: Run) -> None:
    @dg.asset(deps=["patient_journeys"])
    def validated_dataset() -> None: ...

    reasons = "patient_journeys.brand: 3 of 12 rows.\nCorrect the source."
    shown = run(showing(), checking(passed=False, blocking=True, description=reasons), validated_dataset)

    assert shown[1:] == [
        "    ERROR  brand_is_configured",
        "           patient_journeys.brand: 3 of 12 rows.",
        "           Correct the source.",
        "    N s  patient_journeys_brand_is_configured FAILED",
        "           A blocking check failed, so nothing that depends on it was started.",
    ]


def test_a_check_that_was_not_evaluated_is_not_mentioned(run: Run) -> None:
    """An expectation on a column that is declared absent yields nothing."""

    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec(name, asset="patient_journeys") for name in ("first", "second")], can_subset=True
    )
    def audit() -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(check_name="first", asset_key="patient_journeys", passed=True)

    assert len(run(showing(), audit)) == 1


def test_what_an_asset_says_is_shown_beside_the_steps(run: Run) -> None:
    @dg.asset
    def hyperparameter_study(context: dg.AssetExecutionContext) -> None:
        context.log.debug("of no interest")
        context.log.info("trial 10 of 40, best so far 0.7591")
        context.log.info("Unchanged: nothing was computed, the earlier result holds.")

    shown = run(hyperparameter_study)

    assert shown == ["           trial 10 of 40, best so far 0.7591", "    N s  hyperparameter_study"]


def test_a_bar_shows_the_trials_in_a_terminal_and_makes_way_for_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = logging.LogRecord("e2i", logging.INFO, "", 0, "trial 10 of 20", None, None)
    with TrialBar() as bar:
        bar.show(1, 20, "nobody watches")
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        bar.show(10, 20, "best so far 0.7")
        assert capsys.readouterr().err.endswith(f"[{'#' * 15}{'.' * 15}] 10 of 20, best so far 0.7")
        ProgressHandler().emit(line)
        assert capsys.readouterr().err == f"\r\033[K{'':11}trial 10 of 20\n"
        bar.show(20, 20, "best so far 0.8")
    assert capsys.readouterr().err.endswith("best so far 0.8\r\033[K")
