"""Runs studies: `python -m benchmarks.tracked_study.study FOLDER ROWS TRIALS SIDE [POSTGRESQL_URL...]`.

SIDE is `tracked` (one study on local storage, one on PostgreSQL where two addresses are given: of Optuna and of MLflow)
or `bare` (one study in a local file, without MLflow). A small study comes first in each place, which imports what is
needed and makes the tables. Prints JSON: the seconds of each study, those spent in MLflow and in the study's storage,
and what each found.
"""

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.tracked_study.timing import Clock

_COLUMNS, _SMALL = 20, 400
_SPACE = {
    "n_estimators": {"low": 300, "high": 400},
    "max_depth": {"low": 6, "high": 9},
    "learning_rate": {"low": 0.02, "high": 0.1, "log": True},
    "subsample": {"low": 0.6, "high": 1.0},
    "colsample_bytree": {"low": 0.6, "high": 1.0},
}


def main(folder: Path, rows: int, trials: int, side: str, *urls: str) -> dict[str, Any]:
    clock = Clock()
    _watch_storages(clock)
    local = (f"journal://{folder}/optuna/journal.log", f"sqlite:///{folder}/mlflow/mlflow.db")
    places = {"local": local} | ({"postgresql": (urls[0], urls[1])} if urls else {})
    said: dict[str, Any] = {}
    for place, (storage, tracking) in places.items():
        study = _Study(folder / place, storage, tracking if side == "tracked" else "", clock)
        study.run("warm", _SMALL, 2)
        clock.seconds.clear()
        clock.calls.clear()
        said[place] = study.run("timed", rows, trials)
    return said


def _watch_storages(clock: Clock) -> None:
    from optuna import storages

    names = {name for name in dir(storages.BaseStorage) if not name.startswith("_")}
    pending = [storages.BaseStorage]
    while pending:
        for kind in pending.pop().__subclasses__():
            clock.watch(kind, names, "storage")
            pending.append(kind)


class _Study:
    """A study in one place; without an address of MLflow, no MLflow."""

    def __init__(self, folder: Path, storage: str, tracking: str, clock: Clock) -> None:
        from e2i_pipeline.resources.mlflow import MlflowResource
        from e2i_pipeline.resources.optuna import OptunaResource

        for place in ("optuna", "mlflow"):
            (folder.parent / place).mkdir(parents=True, exist_ok=True)
        self._clock, self._is_tracked = clock, bool(tracking)
        # one worker: the calls to the storage are this process's, and the trials take their time one after another
        self._optuna = OptunaResource(storage=storage, pruner="NopPruner", n_jobs=1)
        self._mlflow = MlflowResource(
            tracking_uri=tracking, artifact_root=f"{folder}/artifacts", lock_dir=f"{folder}/locks", default_tags={}
        )

    def run(self, name: str, rows: int, trials: int) -> dict[str, Any]:
        clock, began = self._clock, time.perf_counter()
        tracked = self._mlflow.run(name, "Brand", name, name) if self._is_tracked else nullcontext()
        with clock.counting("mlflow"):
            handle = tracked.__enter__()
        outcome = self._optuna.model_copy(update={"n_trials": trials}).optimize(
            study_name=name,
            algorithms=["xgboost"],
            search_space={"xgboost": _SPACE},
            train=_rows(rows, 1),
            validation=_rows(rows // 4, 2),
            features=_features(),
            metric="log_loss",
            direction="minimize",
            seed=7,
            early_stopping_rounds=1_000,
        )
        with clock.counting("mlflow"):
            if handle is not None:
                self._mlflow.log_batch(handle.run_id, params=outcome.parameters, metrics={"best": outcome.best_value})
                self._mlflow.log_trials(handle.run_id, [trial._asdict() for trial in outcome.history], "log_loss")
            tracked.__exit__(None, None, None)
        return {
            "seconds": time.perf_counter() - began,
            "mlflow": clock.seconds["mlflow"],
            "storage": clock.seconds["storage"],
            "calls": clock.calls["storage"],
            "trial": outcome.seconds / trials,
            "answer": {"parameters": outcome.parameters, "value": round(outcome.best_value, 9)},
        }


def _rows(count: int, seed: int) -> tuple[Any, Any]:
    import numpy as np
    import pandas as pd

    chance = np.random.default_rng(seed)
    values = chance.normal(size=(count, _COLUMNS))
    margin = values[:, :6] @ np.linspace(0.2, 1.0, 6) + values[:, 0] * values[:, 1]
    outcome = (chance.random(count) < 1 / (1 + np.exp(-margin))).astype(float)
    return pd.DataFrame({f"x{number}": values[:, number] for number in range(_COLUMNS)}), outcome


def _features() -> list[Any]:
    from e2i_pipeline.contracts.references import FeatureSpec

    return [FeatureSpec(name=f"x{number}", kind="numeric", view="v") for number in range(_COLUMNS)]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])))
