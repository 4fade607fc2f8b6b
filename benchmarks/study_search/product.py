"""The product's study.

python -m benchmarks.study_search.product <rows.npz> <trials> <seed> <workers>
"""

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.study_search.data import COLUMNS, EARLY_STOPPING_ROUNDS, SPACE, read
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.algorithms import fit_model
from e2i_pipeline.resources.optuna import OptunaResource


def main() -> None:
    """Searches, fits again with what is best, and says how long the search took and how good the result is."""
    # Imported before the clock starts, as for the loops.
    import optuna  # noqa: F401
    import pandas as pd
    import xgboost  # noqa: F401
    from sklearn.compose import ColumnTransformer  # noqa: F401
    from sklearn.metrics import roc_auc_score

    path, trials, seed, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    rows = read(path)
    names = [f"x{i}" for i in range(COLUMNS)]
    features = [FeatureSpec(name=name, kind="numeric", view="view") for name in names]
    train = pd.DataFrame(rows.x.astype("float64"), columns=names), rows.y
    validation = pd.DataFrame(rows.x_validation.astype("float64"), columns=names), rows.y_validation
    resource = OptunaResource(
        storage=f"journal://{Path.cwd()}/journal.log", n_trials=trials, n_jobs=workers, timeout=10**6
    )
    began, worked = time.perf_counter(), _cpu()
    outcome = resource.optimize(
        "study",
        ["xgboost"],
        {"xgboost": SPACE},
        train,
        validation,
        features,
        metric="auc",
        direction="maximize",
        seed=seed,
        early_stopping_rounds=EARLY_STOPPING_ROUNDS,
    )
    seconds, cpu = time.perf_counter() - began, _cpu() - worked
    given = {"training_key": "k", "brand": "b", "horizon_days": 1, "seed": seed, "threads": os.cpu_count() or 1}
    model = fit_model("xgboost", outcome.parameters, *train, features, **given)
    auc = roc_auc_score(rows.y_test, model.predict(pd.DataFrame(rows.x_test.astype("float64"), columns=names)))
    finished = outcome.trials["COMPLETE"] + outcome.trials["PRUNED"]
    answer = {"seconds": seconds, "cpu": cpu, "auc": auc, "trials": finished, "pruned": outcome.trials["PRUNED"]}
    print(json.dumps({**answer, "best": outcome.parameters, "best_value": outcome.best_value}))


def _cpu() -> float:
    """Seconds of processors of this process and of the workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
