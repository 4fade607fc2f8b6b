"""The report of a run, written by the real resource from stored references, a real event log and real spans."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import duckdb
import pytest

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.references import ModelCardRef, PredictionsRef, RunReportRef
from e2i_pipeline.contracts.training import TrainedModelRef
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.run_report import RunParts, RunReportResource
from e2i_pipeline.storage.results import ResultStore
from e2i_pipeline_tests.domain.card_example import ONE_PIXEL
from e2i_pipeline_tests.domain.page_reader import Reader
from e2i_pipeline_tests.domain.run_example import run_data
from e2i_pipeline_tests.resources.stages.test_gate import gate

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
Ref = TypeVar("Ref", bound=Contract)
ANSWERED = {"largest_difference": 0.0, "start_seconds": 2.0}
HEAVY = ("mlflow", "opik", "great_expectations", "feast", "optuna", "shap", "bentoml", "pandas", "matplotlib", "duckdb")


class World:
    """A state folder after a run of which all stages have left their references.

    Args:
        state: The folder.
        instance: Dagster's instance.
        scored: Number of open journeys.
    """

    def __init__(self, state: Path, instance: dg.DagsterInstance, scored: int = 200) -> None:
        self.state, self.instance = state, instance
        self.gate = gate(state)
        self.parts = _parts(state, scored)
        self.opik = OpikResource(
            enabled=True,
            sample_rate=1.0,
            workspace="w",
            project_name="p",
            include_inputs=True,
            include_outputs=True,
            max_output_length=1000,
            metadata=self.gate.metadata,
        )
        self.results = ResultStore(root=str(state / "references"))

    @property
    def reports(self) -> RunReportResource:
        return RunReportResource(
            state_dir=str(self.state),
            engine=EngineResource(temp_dir=str(self.state / "spill")),
            files=ModelFilesResource(state_dir=str(self.state)),
            gate=self.gate,
            metadata=self.gate.metadata,
            source="synthetic",
            make_arguments=" CONFIG=own.yaml",
        )

    def run(self, unchanged: bool = False, latency_ms: float | None = 12.5) -> tuple[RunReportRef, Reader]:
        """A run of one asset, the study and the Bento's check, then its report."""
        study, tag = self.parts.hyperparameter_study, self.parts.bento.tag

        @dg.asset(group_name="source")
        @asset_boundary("data_preparer")
        def patient_journeys(context: dg.AssetExecutionContext, opik: OpikResource) -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata={"unchanged": unchanged})

        @dg.asset(
            partitions_def=dg.StaticPartitionsDefinition([study.brand]),
            group_name="training",
            io_manager_key="kept",
        )
        @asset_boundary("model_selector")
        def hyperparameter_study(
            context: dg.AssetExecutionContext, results: ResultStore, opik: OpikResource
        ) -> dg.MaterializeResult:
            history = dg.MetadataValue.md(f"![history](data:image/png;base64,{ONE_PIXEL})")
            kept = results.recall(context, study.key, lambda _: True)
            return kept or results.keep(context, study.key, study, {"history": history})

        @dg.asset_check(asset="patient_journeys")
        @asset_boundary("model_deployer")
        def bento_answers_golden_request(
            context: dg.AssetCheckExecutionContext, opik: OpikResource
        ) -> dg.AssetCheckResult:
            said = {"unchanged": True} if latency_ms is None else {**ANSWERED, "latency_ms": latency_ms}
            if latency_ms is not None:
                self.gate.record_infrastructure(self.parts.bento, "", context.run.run_id, NOON)
            return dg.AssetCheckResult(passed=True, metadata=said)

        result = dg.materialize(
            [patient_journeys, hyperparameter_study, bento_answers_golden_request],
            resources={"opik": self.opik, "results": self.results, "kept": dg.InMemoryIOManager()},
            instance=self.instance,
            partition_key=study.brand,
        )
        assert tag
        report = self.reports.write(self.parts, result.run_id, NOON, self.instance, self.results, self.opik)
        return report, Reader(Path(report.location).read_text(encoding="utf-8"))


def _write(path: Path, content: bytes | Mapping[str, Any] | list[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(path)


def _moved(reference: Ref, **changes: Any) -> Ref:
    return reference.model_copy(update=changes)


def _parts(state: Path, scored: int) -> RunParts:
    """The example's references, with their files in the folder."""
    data = run_data()
    assert data.bento is not None
    assert data.promotion is not None
    slices = {name: table.model_dump() for name, table in data.slices.items()}
    evaluation = _write(state / "evaluations" / "evaluation.json", {"curves": data.curves, "slices": slices})
    values = _write(state / "attributions" / "values.parquet", b"")
    plot = _write(state / "attributions" / "summary.png", base64.b64decode(ONE_PIXEL))
    _write(state / "attributions" / "narrative.json", ["disease_severity carries it."])
    golden = _write(state / "bentos" / "golden_request.json", {"rows": [{}, {}], "scores": [0.25, 0.5]})
    card = _write(state / "cards" / "Kisqali" / "k" / "model_card.html", b"<!doctype html>")
    brand, key = data.version.brand, data.version.key
    return RunParts(
        validated_dataset=data.dataset,
        feature_registry=data.registry,
        online_features=data.online,
        training_dataset=data.training,
        experiment_scope=data.scope,
        hyperparameter_study=data.study,
        trained_model=TrainedModelRef(
            key=key,
            brand=brand,
            algorithm="xgboost",
            location=str(state / "models"),
            version="m",
            mlflow_run_id="r",
            model_uri="models:/m",
            fit_rows=9000,
            seconds=1.0,
        ),
        model_evaluation=_moved(data.evaluation, location=evaluation),
        registered_model=_moved(data.version, stage="development"),
        shap_analysis=_moved(data.attribution, location=values, plot=plot),
        model_card=ModelCardRef(key="c", brand=brand, location=card, version="c"),
        bento=_moved(data.bento, golden_request=golden),
        promoted_model=data.promotion,
        deployment=data.deployment,
        batch_predictions=_predictions(state, data.predictions, scored),
    )


def _predictions(state: Path, reference: PredictionsRef, rows: int) -> PredictionsRef:
    """So many journeys, scores rising evenly from 0 to 1, the upper half flagged."""
    path = state / "predictions" / "data.parquet"
    path.parent.mkdir(parents=True)
    scores = f"SELECT 'patient-4711' AS patient_journey_id, (i + 0.5) / {rows} AS probability FROM range({rows}) t(i)"
    duckdb.sql(f"COPY (SELECT *, probability >= 0.5 AS is_flagged FROM ({scores})) TO '{path}' (FORMAT parquet)")
    return _moved(reference, location=str(path), rows=rows)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path / "state of mine", instance)


def test_the_page_lies_under_its_run_and_as_the_brands_latest(world: World) -> None:
    report, _ = world.run()

    folder = world.state / "reports" / "Kisqali"
    assert Path(report.location) == folder / "latest.html"
    assert Path(report.page) == folder / f"{report.dagster_run_id}.html"
    assert Path(report.page).read_bytes() == Path(report.location).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(["latest.html", Path(report.page).name])


def test_each_run_has_a_page_of_its_own_and_the_newest_is_the_latest(world: World) -> None:
    first, _ = world.run()
    second, _ = world.run(unchanged=True)

    assert Path(first.page).is_file()
    assert Path(second.page).read_bytes() == Path(second.location).read_bytes() != Path(first.page).read_bytes()
    assert (first.key, first.location) == (second.key, second.location)
    assert first.version != second.version


def test_the_steps_of_this_run_are_shown_with_time_memory_and_stage(world: World) -> None:
    world.run()

    report, page = world.run(unchanged=True)

    steps = page.text.partition("Times and memory")[2]
    assert "3 steps took" in steps
    for wanted in ("source", "training", "patient_journeys unchanged", "hyperparameter_study unchanged"):
        assert wanted in steps
    assert re.search(r"\d [MG]iB", steps)  # as large as the tests before have made this process
    assert f"Run {report.dagster_run_id}." in page.text
    assert "Not part of this run: hcp_profiles, " in steps
    assert ", model_card, bento, promoted_model, deployment, batch_predictions." in steps


def test_the_bentos_answer_is_remembered_when_it_was_tried_in_an_earlier_run(world: World) -> None:
    world.run(latency_ms=12.5)

    _, page = world.run(latency_ms=None)

    assert "0.250, 0.500" in page.text
    assert "12.5 ms for all rows" in page.text


def test_an_earlier_runs_answer_is_found_when_no_report_has_kept_it(world: World) -> None:
    world.run(latency_ms=12.5)
    shutil.rmtree(world.state / "golden_answers")

    _, page = world.run(latency_ms=None)

    assert "12.5 ms for all rows" in page.text


def test_a_later_try_replaces_what_was_remembered(world: World) -> None:
    world.run(latency_ms=12.5)

    _, page = world.run(latency_ms=77.0)

    assert "77.0 ms for all rows" in page.text


def test_predictions_are_shown_in_sum_and_nobody_in_particular(world: World) -> None:
    _, page = world.run()

    assert "200 journeys whose outcome is still open" in page.text
    assert "100 (50.0%), at " in page.text
    assert page.tags.count("rect") == 10
    assert "95%" in page.text
    assert "patient-4711" not in Path(world.state / "reports" / "Kisqali" / "latest.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("rows", "is_summed"), [(3, False), (60, True)])
def test_few_predictions_are_not_shown_by_decile(tmp_path: Path, rows: int, is_summed: bool) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        _, page = World(tmp_path, instance, rows).run()

    assert "Too few journeys to be shown by decile." in page.text
    assert ("Mean probability" in page.text) == is_summed


def test_without_a_champion_nothing_was_scored(world: World) -> None:
    absent = PredictionsRef(key="n", name="batch_predictions", version="absent", is_absent=True, brand="Kisqali")
    world.parts = world.parts._replace(
        promoted_model=_moved(world.parts.promoted_model, champion=None), batch_predictions=absent
    )

    _, page = world.run()

    assert "Kisqali: no version serves yet" in page.text
    assert "Nothing was scored" in page.text


def test_pictures_come_from_what_is_stored_and_the_card_is_a_relative_link(world: World) -> None:
    _, page = world.run()

    assert page.values("src") == [f"data:image/png;base64,{ONE_PIXEL}"] * 2
    [link] = {link for link in page.values("href") if not link.startswith("#")}
    assert link == "../../cards/Kisqali/k/model_card.html"
    assert (world.state / "reports" / "Kisqali" / link).is_file()
    assert "make serve CONFIG=own.yaml BRAND=Kisqali" in page.text


def test_a_champions_stage_is_told_and_not_that_at_registration(world: World) -> None:
    _, page = world.run()

    assert "production: version 7" in page.text


def test_writing_a_report_imports_no_heavy_module() -> None:
    code = (
        "import sys\n"
        "import e2i_pipeline.resources.stages.run_report, e2i_pipeline.domain.run_report\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603

    assert said.stdout.strip() == "[]"


def test_the_scored_journeys_are_read_once_per_version(world: World) -> None:
    world.run()
    Path(world.parts.batch_predictions.location).unlink()

    _, page = world.run()

    assert page.tags.count("rect") == 10
