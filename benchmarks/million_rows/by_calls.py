"""`python -m benchmarks.million_rows.by_calls <rows>`: the bare calls, timed; JSON on standard output.

The matrices are there already: only `train` and `predict` count. The figure that is compared is made afterwards.
"""

import json
import os
import sys
import time

from benchmarks.million_rows.rows import PARAMETERS, SEED, made, validation


def main(rows: int) -> None:
    """Fits and predicts."""
    import numpy as np
    import xgboost
    from sklearn.metrics import roc_auc_score

    frame, outcome = made(rows, SEED)
    x, held_out = frame.to_numpy(np.float32), validation(rows)[0].to_numpy(np.float32)
    options = {
        "max_depth": PARAMETERS["max_depth"],
        "learning_rate": PARAMETERS["learning_rate"],
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": 256,
        "seed": SEED,
        "nthread": os.cpu_count() or 1,
    }
    began = time.perf_counter()
    train = xgboost.QuantileDMatrix(x, outcome.astype(np.float32), max_bin=256)
    booster = xgboost.train(options, train, int(PARAMETERS["n_estimators"]))
    booster.inplace_predict(held_out)
    predicted = booster.inplace_predict(x)
    seconds = time.perf_counter() - began
    answer = {"auc": round(float(roc_auc_score(outcome, predicted)), 6), "rows": len(predicted)}
    sys.stdout.write(json.dumps({"seconds": seconds, "answer": answer}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
