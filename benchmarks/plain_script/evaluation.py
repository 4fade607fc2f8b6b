"""Metrics and calibration per split, slices and curves; SHAP values and their picture; scores of open journeys."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.plain_script.study import Modelling
from benchmarks.plain_script.tracking import log_files
from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.domain import attribution, metrics, narratives
from e2i_pipeline.domain.algorithms import ScoringModel, load_model
from e2i_pipeline.domain.evaluation_plots import evaluation_plots
from e2i_pipeline.domain.judgement import Terms, TestRows, judge_classification

SLICES = ("geographic_region", "gender", "insurance_type", "specialty", "age_at_diagnosis")
MOST_SHOWN = 20
MOST_ROWS = 1000


def evaluate(model: ScoringModel, modelling: Modelling) -> dict[str, dict[str, float]]:
    """Judges the model on each split, and logs figures, curves, slices and groups, with intervals.

    Returns:
        Metrics by split.
    """
    import mlflow

    threshold, capacity = model.manifest.threshold or 0.5, modelling.capacity
    found: dict[str, dict[str, float]] = {}
    for split in ("train", "validation"):
        frame, outcome = modelling.rows(split)
        found[split] = metrics.evaluate(outcome, model.predict(frame), capacity, threshold)
    chosen = modelling.chosen
    rules = EvaluationRules.model_validate(chosen["evaluation"])
    terms = Terms(modelling.scope, rules, chosen["promotion"]["slice_floor"], modelling.seed)
    frame, outcome = modelling.rows("test", [*SLICES, "patient_id"])
    patients, names = frame["patient_id"].factorize()
    features = frame[[feature.name for feature in modelling.features]]
    rows = TestRows(features, outcome, frame, None if len(names) == len(frame) else patients)
    own = model.scores(features)
    judged = judge_classification(model.predict, rows, model.recalibrated(own), own, threshold, terms)
    found["test"] = judged.metrics
    content = json.dumps({"metrics": found, "curves": judged.curves, "slices": judged.slices}).encode()
    mlflow.log_metrics({f"{split}_{name}": v for split, values in found.items() for name, v in values.items()})
    drawn = evaluation_plots(judged.curves, judged.floors, judged.fairness)
    log_files({"evaluation.json": content, **{f"{name}.png": png for name, png in drawn.items()}}, "evaluation")
    return found


def explain(model: ScoringModel, modelling: Modelling) -> dict[str, float]:
    """Attributes a sample of the test split, draws it and says it in words.

    Returns:
        Share of each feature.
    """
    frame, _ = modelling.rows("test")
    sample = frame.sample(min(len(frame), MOST_ROWS), random_state=modelling.seed).sort_index()
    found = attribution.attribute(model, sample)
    if not attribution.largest_gap(found, attribution.margins(model, sample)) <= 1e-3:
        raise SystemExit("the SHAP values do not sum to the margins")
    drivers = narratives.key_drivers(found, sample, modelling.features)
    told = narratives.narrative(drivers, {f.name: f.description for f in modelling.features})
    log_files({"shap.png": _picture(found, sample), "narrative.json": json.dumps(list(told)).encode()}, "explanation")
    return attribution.importance(found)


def score_open(files: Mapping[str, bytes], modelling: Modelling, folder: Path) -> dict[str, Any]:
    """Scores the journeys whose outcome is open with the model from the registry.

    Returns:
        Their number, and a hash of their probabilities by journey.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    model = load_model(files)
    frame, outcome = modelling.rows("unassigned", ["patient_journey_id", "observation_date"])
    frame = frame[outcome != outcome]
    scores = model.predict(frame)
    columns = {"patient_journey_id": frame["patient_journey_id"], "observation_date": frame["observation_date"]}
    flagged = scores >= (model.manifest.threshold or 1.0)
    pq.write_table(pa.table({**columns, "probability": scores, "is_flagged": flagged}), folder / "predictions.parquet")
    return {"rows": len(scores), "digest": digest(dict(zip(frame["patient_journey_id"], scores, strict=True)))}


def digest(scores: Mapping[str, float]) -> str:
    """A hash of probabilities, each to nine digits, in the order of the journeys."""
    lines = [f"{journey} {scores[journey]:.9f}" for journey in sorted(scores)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _picture(found: attribution.Attribution, sample: Any) -> bytes:
    import matplotlib as mpl

    mpl.use("Agg")
    import numpy as np
    import pandas as pd
    import shap
    from matplotlib import pyplot

    shown = np.column_stack([pd.to_numeric(sample[name], errors="coerce") for name in found.feature_names])
    explanation = shap.Explanation(
        values=found.values,
        base_values=np.full(len(found.values), found.base_value),
        data=shown,
        feature_names=list(found.feature_names),
    )
    picture = io.BytesIO()
    shap.plots.beeswarm(explanation, max_display=MOST_SHOWN, show=False)
    pyplot.savefig(picture, format="png", dpi=100, bbox_inches="tight")
    pyplot.close("all")
    return picture.getvalue()
