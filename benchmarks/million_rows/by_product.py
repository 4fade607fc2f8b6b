"""`python -m benchmarks.million_rows.by_product <rows>`: what the product does, timed; JSON on standard output."""

import importlib
import json
import os
import sys
import time

from benchmarks.million_rows.rows import COLUMNS, PARAMETERS, SEED, made, validation
from e2i_pipeline.contracts.evaluation_rules import RecalibrationRules
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.algorithms import fit_model
from e2i_pipeline.domain.operating_point import set_operating_point

SCOPE = ExperimentScope(
    key="scope",
    brand="brand",
    target="outcome",
    problem_type="classification",
    population="rows",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.5,
    minimum_precision_at_k=1.0,
    maximum_fpr=1.0,
    capacity=0.1,
)


def main(rows: int) -> None:
    """Fits, recalibrates, sets the threshold and judges."""
    importlib.import_module("sklearn.compose")  # what is imported once per process does not count
    importlib.import_module("sklearn.isotonic")
    importlib.import_module("xgboost")
    frame, outcome = made(rows, SEED)
    held_out = validation(rows)
    features = [FeatureSpec(name=f"x{i:02}", kind="numeric", view="view") for i in range(COLUMNS)]
    names = {"training_key": "key", "brand": "brand"}
    began = time.perf_counter()
    threads = os.cpu_count() or 1
    fitted = fit_model(
        "xgboost", PARAMETERS, frame, outcome, features, **names, horizon_days=180, seed=SEED, threads=threads
    )
    model, _ = set_operating_point(fitted, *held_out, SCOPE, RecalibrationRules(), SEED)
    own = model.scores(frame)
    found = metrics.evaluate(outcome, model.recalibrated(own), SCOPE.capacity, model.manifest.threshold)
    seconds = time.perf_counter() - began
    answer = {"auc": round(found["auc"], 6), "rows": int(found["rows"])}
    sys.stdout.write(json.dumps({"seconds": seconds, "answer": answer}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
