"""Writes the report of a run: gathers what the stages left behind, and what is recorded of the run itself.

No model is loaded, no table is read but the scored journeys once per version, and no tool is imported. How the page
looks stands in `domain/run_report.py`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.references import (
    AttributionRef,
    BentoRef,
    DatasetRef,
    DeploymentRef,
    FeatureRegistryRef,
    ModelCardRef,
    OnlineFeaturesRef,
    PredictionsRef,
    RunReportRef,
    TrainingDatasetRef,
)
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.resources.engine import EngineResource, parquet
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.run_events import RunEvents, run_events
from e2i_pipeline.resources.stages.stage_results import stage_results
from e2i_pipeline.storage.references import write_text
from e2i_pipeline.storage.results import ResultStore

if TYPE_CHECKING:
    from e2i_pipeline.domain.report_data import GoldenAnswer, RunFacts, Scores, StageResults

LATEST = "latest.html"

GOLDEN_CHECK = "bento_answers_golden_request"
"""The check that tries the Bento; what it measured is kept with the run that did so."""

_PICTURE = "base64,"
_MEASURED = ("largest_difference", "start_seconds", "latency_ms")
_FLUSH_SECONDS = 5.0


class RunParts(NamedTuple):
    """The references that a report is made of, each under the name of its asset."""

    validated_dataset: DatasetRef
    feature_registry: FeatureRegistryRef
    online_features: OnlineFeaturesRef
    training_dataset: TrainingDatasetRef
    experiment_scope: ExperimentScope
    hyperparameter_study: TuningResult
    trained_model: TrainedModelRef
    model_evaluation: EvaluationRef
    registered_model: ModelVersion
    shap_analysis: AttributionRef
    model_card: ModelCardRef
    bento: BentoRef
    promoted_model: PromotionRef
    deployment: DeploymentRef
    batch_predictions: PredictionsRef


class RunReportResource(dg.ConfigurableResource):
    """Reports what a run did for one brand.

    Attributes:
        state_dir: The state folder; pages lie under `reports/<brand>` in it.
        engine: Sums up the scored journeys.
        files: Keeps that sum.
        gate: Keeps audits and verdicts.
        metadata: Keeps the spans of the run.
        source: Kind of the source.
        make_arguments: What `make` must be told to find the configuration and the state folder.
        is_mlflow_local: Whether MLflow's store is a local file, and not a server.
    """

    state_dir: str
    engine: EngineResource
    files: ModelFilesResource
    gate: GateResource
    metadata: MetadataResource
    source: str
    make_arguments: str = ""
    is_mlflow_local: bool = True

    def write(
        self,
        parts: RunParts,
        run_id: str,
        now: datetime,
        instance: dg.DagsterInstance,
        results: ResultStore,
        opik: OpikResource,
    ) -> RunReportRef:
        """Writes the page of this run, and the same as the brand's latest.

        Args:
            parts: What the stages left behind.
            run_id: Dagster run.
            now: When (UTC).
            instance: Dagster's instance, which keeps the run's events.
            results: Keeps what people see of a result.
            opik: Writes the run's spans.
        """
        from e2i_pipeline.domain.report_data import RunReportData
        from e2i_pipeline.domain.run_report import run_report

        events, is_complete = run_events(instance, run_id), opik.flush(_FLUSH_SECONDS)
        brand, folder = parts.bento.brand, Path(self.state_dir) / "reports" / parts.bento.brand
        verdict = self.gate.infrastructure_verdict(parts.bento)
        gathered = self._stage_results(parts, results, verdict, folder)
        page = run_report(
            RunReportData(
                **dict(gathered),
                run=self._run(parts, run_id, now, events, is_complete),
                online=parts.online_features,
                deployment=parts.deployment,
                predictions=parts.batch_predictions,
                golden=self._golden(parts.bento, verdict, events, instance),
                scores=self._scores(parts.batch_predictions),
                card=parts.model_card.location,
                commands=self._commands(parts.bento),
            )
        )
        for name in (f"{run_id}.html", LATEST):
            write_text(folder / name, page)
        return RunReportRef(
            key=content_key(*(part.key for part in parts)),
            brand=brand,
            location=str(folder / LATEST),
            version=hashlib.sha256(page.encode()).hexdigest(),
            dagster_run_id=run_id,
            overrides=tuple(v.override for v in gathered.verdicts if v.override),
        )

    def _stage_results(
        self, parts: RunParts, results: ResultStore, verdict: Verdict | None, folder: Path
    ) -> "StageResults":
        """What the card shows too, with what came after it: the Bento, the decision and the places."""
        champion, version = parts.promoted_model.champion, parts.registered_model
        is_ours = champion is not None and (champion.name, champion.version) == (version.name, version.version)
        gathered = stage_results(
            self.gate,
            self.source,
            parts.validated_dataset,
            parts.feature_registry,
            parts.training_dataset,
            parts.experiment_scope,
            parts.hyperparameter_study,
            parts.model_evaluation,
            champion if champion is not None and is_ours else version,
            parts.shap_analysis,
        )
        study = parts.hyperparameter_study
        history = str(results.shown("hyperparameter_study", study.key, study.brand).get("history", ""))
        places = {
            "Model card": parts.model_card.location,
            **gathered.places,
            "Model files": parts.trained_model.location,
            "Batch predictions": parts.batch_predictions.location,
            "Deployment": parts.deployment.location,
            "Golden request": parts.bento.golden_request,
            "Optuna study": study.study,
            "All reports of the brand": str(folder),
        }
        pages = [place for place in places.values() if place.endswith(".html")]
        return gathered.model_copy(
            update={
                "verdicts": (*gathered.verdicts, *([verdict] if verdict else [])),
                "history_plot": history.rpartition(_PICTURE)[2].rstrip(")") if _PICTURE in history else "",
                "bento": parts.bento,
                "promotion": parts.promoted_model,
                "places": places,
                "home": self.state_dir,
                "links": {place: place if "://" in place else _relative(place, folder) for place in pages},
            }
        )

    def _run(self, parts: RunParts, run_id: str, now: datetime, events: RunEvents, is_complete: bool) -> "RunFacts":
        """What the run did so far."""
        from e2i_pipeline.domain.report_data import RunFacts
        from e2i_pipeline.domain.run_times import step_times

        assets = [*parts.validated_dataset.tables, *parts.feature_registry.tables, *parts._fields]
        return RunFacts(
            run_id=run_id,
            started_at=events.started_at or now,
            written_at=now,
            made=events.made,
            elsewhere=tuple(asset for asset in assets if asset not in events.made),
            checks=events.checks,
            steps=step_times(self.metadata.spans(run_id)),
            are_steps_complete=is_complete,
        )

    def _scores(self, predictions: PredictionsRef) -> "Scores | None":
        """The scored journeys in sum, computed once per version of their table."""
        from e2i_pipeline.domain.report_data import Scores

        if predictions.is_absent:
            return None
        brand, key = predictions.brand, predictions.version[:32]
        kept = Path(self.state_dir) / "score_summaries" / brand / key / "scores.json"
        if kept.is_file():
            return Scores.model_validate_json(kept.read_bytes())
        scores = self._summed(predictions)
        self.files.keep("score_summaries", brand, key, {"scores.json": scores.model_dump_json(indent=1).encode()})
        return scores

    def _summed(self, predictions: PredictionsRef) -> "Scores":
        from e2i_pipeline.domain.metrics import MINIMUM_CELL
        from e2i_pipeline.domain.report_data import Scores, ScoreTenth

        is_regression = predictions.has("value")
        if predictions.rows < MINIMUM_CELL:
            return Scores(rows=predictions.rows, is_regression=is_regression)
        table = parquet(predictions.location)
        if is_regression:
            with self.engine.connect() as connection:
                [[mean]] = connection.execute(f"SELECT avg(value) FROM {table}").fetchall()
            return Scores(rows=predictions.rows, is_regression=True, mean=mean)
        tenths = f"SELECT probability, ntile(10) OVER (ORDER BY probability DESC) AS tenth FROM {table}"
        with self.engine.connect() as connection:
            flagged, mean = connection.execute(
                f"SELECT count(*) FILTER (is_flagged), avg(probability) FROM {table}"
            ).fetchall()[0]
            rows = connection.execute(
                f"SELECT count(*), avg(probability) FROM ({tenths}) GROUP BY tenth ORDER BY tenth"
            ).fetchall()
        is_shown = predictions.rows >= 10 * MINIMUM_CELL
        return Scores(
            rows=predictions.rows,
            flagged=flagged,
            mean=mean,
            tenths=tuple(ScoreTenth(rows=n, mean=p) for n, p in rows) if is_shown else (),
        )

    def _golden(
        self, bento: BentoRef, verdict: Verdict | None, events: RunEvents, instance: dg.DagsterInstance
    ) -> "GoldenAnswer":
        """What the model gives its golden rows, and how the Bento answered when it was tried; kept once it is known."""
        from e2i_pipeline.domain.report_data import GoldenAnswer

        kept = Path(self.state_dir) / "golden_answers" / bento.brand / bento.key / "answer.json"
        said = events.said.get(GOLDEN_CHECK, {})
        if not _is_measured(said):
            if kept.is_file():
                return GoldenAnswer.model_validate_json(kept.read_bytes())
            said = run_events(instance, verdict.run_id).said.get(GOLDEN_CHECK, {}) if verdict else {}
        expected = json.loads(Path(bento.golden_request).read_text(encoding="utf-8"))["scores"]
        answer = GoldenAnswer(
            expected=tuple(expected), **({m: said[m] for m in _MEASURED} if _is_measured(said) else {})
        )
        if _is_measured(said):
            content = answer.model_dump_json(indent=1).encode()
            self.files.keep("golden_answers", bento.brand, bento.key, {"answer.json": content})
        return answer

    def _commands(self, bento: BentoRef) -> dict[str, str]:
        from e2i_pipeline.domain.next_steps import MLFLOW_UI, UI, next_steps

        request = str(Path(bento.golden_request).with_name("request.json"))
        steps = next_steps(bento.brand, self.make_arguments, request, self.is_mlflow_local)
        commands = {
            "Start the deployed model": steps.serve,
            "Ask it": steps.ask,
            f"Dagster UI, on {UI}": steps.dagster_ui,
            f"MLflow UI, on {MLFLOW_UI}": steps.mlflow_ui,
            "Run again": steps.again,
            "Say where things are": steps.summary,
        }
        return {what: command for what, command in commands.items() if command}


def _is_measured(said: Mapping[str, Any]) -> bool:
    return all(name in said for name in _MEASURED)


def _relative(place: str, folder: Path) -> str:
    """Where a reader of a page in `folder` finds another page; an address stays as it is."""
    return place if "://" in place else quote(Path(os.path.relpath(place, folder)).as_posix())
