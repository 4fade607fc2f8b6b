"""What a person wants to know when a run is over: the model, its figures, and where everything lies.

It reads the stored references only: no tool is imported.
"""

import os
from pathlib import Path
from typing import cast

from e2i_pipeline.config.make_arguments import make_arguments
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.references import BentoRef, DatasetRef, PredictionsRef, RunReportRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import TuningResult
from e2i_pipeline.domain.next_steps import MLFLOW_UI, UI, next_steps
from e2i_pipeline.domain.overrides import sentence
from e2i_pipeline.storage.references import ReferenceIOManager


def summarize(brand: str, chosen: Settings) -> str:
    """The summary of a brand's last results as text.

    Raises:
        ReferenceNotFound: The brand was not run in this state folder.
    """
    store = ReferenceIOManager(root=str(chosen.state_dir / "references"))
    dataset = cast(DatasetRef, store.current("validated_dataset"))
    training = cast(TrainingDatasetRef, store.current("training_dataset", brand))
    study = cast(TuningResult, store.current("hyperparameter_study", brand))
    evaluation = cast(EvaluationRef, store.current("model_evaluation", brand))
    version = cast(ModelVersion, store.current("registered_model", brand))
    promotion = cast(PromotionRef, store.current("promoted_model", brand))
    bento = cast(BentoRef, store.current("bento", brand))
    report = cast(RunReportRef, store.current("run_report", brand))
    scored = cast(PredictionsRef, store.current("batch_predictions", brand))
    test = evaluation.metrics["test"]
    defects = [d for table in dataset.tables.values() for d in table.defects if d.rows]
    request = _short(str(Path(bento.golden_request).with_name("request.json")))
    is_mlflow_local = chosen.stores.mlflow_tracking_uri.get_secret_value().startswith("sqlite:")
    steps = next_steps(brand, make_arguments(chosen, os.environ), request, is_mlflow_local)
    lines = [
        ("Model", f"{version.name} version {version.version}, {study.algorithm}"),
        ("Test split", "  ".join(f"{n} {test[k]:.3f}" for n, k in _METRICS if k in test)),
        ("Criteria", _criteria(evaluation)),
        ("Promotion", promotion.reason),
        ("Learned from", f"{training.split_counts.get('train', 0):,} journeys, known as of {dataset.as_of:%Y-%m-%d}"),
        ("Open journeys", f"{scored.rows:,} scored, in {_short(scored.location)}" if scored.rows else "none scored"),
        *(("Overridden" if at == 0 else "", sentence(each)) for at, each in enumerate(report.overrides)),
        ("Input defects", f"{len(defects)} kinds counted, listed in the report" if defects else "none found"),
        ("Bento", bento.tag),
        ("", ""),
        ("Report", _short(report.location)),
        ("Dagster UI", f"{steps.dagster_ui}, then {UI}"),
        ("MLflow UI", f"{steps.mlflow_ui}, then {MLFLOW_UI}" if steps.mlflow_ui else "at the tracking server"),
        ("Serve it", f"{steps.serve}, then:"),
        ("", steps.ask),
    ]
    return "\n".join(["", *(f"  {name:<14}{text}".rstrip() for name, text in lines), ""])


_METRICS = (
    ("AUC", "auc"),
    ("PR AUC", "pr_auc"),
    ("Brier", "brier"),
    ("lift@10%", "lift_at_k"),
    ("RMSE", "rmse"),
    ("R2", "r2"),
)


def _criteria(evaluation: EvaluationRef) -> str:
    """Whether the gate is passed, or what it found; a regression may have no criterion to meet."""
    if not evaluation.is_passed:
        return " ".join(evaluation.unmet)
    held = [f for f in evaluation.findings if f.part == "success_criteria" and f.observed is not None]
    is_free = evaluation.problem_type == "regression" and not held
    return "none was set; the rest of the gate is passed" if is_free else "all met"


def _short(location: str) -> str:
    path = Path(location)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else location
