"""The loop that people write by hand: one trial after another, each by `XGBClassifier.fit` on all cores.

python -m benchmarks.study_search.loops <rows.npz> <trials> <seed> plain|pruned
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.study_search.data import EARLY_STOPPING_ROUNDS, SPACE, Rows, read
from e2i_pipeline.domain.search_space import parse_space, suggest


def pruning_callback(trial: Any) -> Any:
    """What optuna-integration's `XGBoostPruningCallback` does: reports each round, and ends a trial that is pruned."""
    import optuna
    import xgboost

    class PruningCallback(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            """Reports the round."""
            trial.report(evals_log["validation_0"]["auc"][-1], step=epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"Trial was pruned at iteration {epoch}.")
            return False

    return PruningCallback()


def fitted(rows: Rows, parameters: dict[str, Any], seed: int, callbacks: list[Any]) -> Any:
    """One fit on all cores with early stopping."""
    import xgboost

    model = xgboost.XGBClassifier(
        **parameters,
        n_jobs=-1,
        random_state=seed,
        eval_metric="auc",
        early_stopping_rounds=EARLY_STOPPING_ROUNDS,
        callbacks=callbacks,
    )
    return model.fit(rows.x, rows.y, eval_set=[(rows.x_validation, rows.y_validation)], verbose=False)


def main() -> None:
    """Searches, fits again with what is best, and says how long the search took and how good the result is."""
    import optuna
    import xgboost  # noqa: F401 - before the clock
    from sklearn.metrics import roc_auc_score

    rows, trials, seed, is_pruned = read(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "pruned"
    space = parse_space(SPACE)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))

    def objective(trial: optuna.Trial) -> float:
        model = fitted(rows, suggest(trial, space), seed, [pruning_callback(trial)] if is_pruned else [])
        return float(roc_auc_score(rows.y_validation, model.predict_proba(rows.x_validation)[:, 1]))

    began, worked = time.perf_counter(), time.process_time()
    study.optimize(objective, n_trials=trials)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    best = fitted(rows, study.best_params, seed, [])
    auc = float(roc_auc_score(rows.y_test, best.predict_proba(rows.x_test)[:, 1]))
    pruned = sum(t.state.name == "PRUNED" for t in study.trials)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "auc": auc, "trials": len(study.trials), "pruned": pruned}))


if __name__ == "__main__":
    main()
