"""The modelling rows, the leakage audit, the Optuna study and the fit."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain import leakage, metrics
from e2i_pipeline.domain.algorithms import ScoringModel, algorithm, fit_model
from e2i_pipeline.domain.encoding import raw_features
from e2i_pipeline.domain.examples import example_rows
from e2i_pipeline.domain.learners import STEP
from e2i_pipeline.domain.search_space import parse_space, suggest
from e2i_pipeline.domain.tuning import Tuning

STARTUP_TRIALS = 10


class Found(NamedTuple):
    """What the study found: the best trial, the trials by state, and all of them for the record."""

    algorithm: str
    parameters: dict[str, Any]
    best_value: float
    trials: dict[str, int]
    history: list[dict[str, Any]]


class Modelling:
    """The modelling rows of one brand, and what is learned from them."""

    def __init__(self, location: str, features: Sequence[FeatureSpec], chosen: Mapping[str, Any], brand: str) -> None:
        self.location, self.features, self.chosen, self.brand = location, tuple(features), chosen, brand
        self.seed = chosen["seed"]
        self.capacity = chosen["success_criteria"]["capacity"]

    def rows(self, split: str, columns: Sequence[str] = ()) -> Any:
        """A split's features and further columns, and its outcomes."""
        import duckdb
        import numpy as np

        names = dict.fromkeys([*columns, *(f.name for f in self.features), "target"])
        wanted = ", ".join(f'"{name}"' for name in names)
        with duckdb.connect() as connection:
            query = f"SELECT {wanted} FROM '{self.location}' WHERE data_split = ?"
            frame = connection.execute(query, [split]).df()
        outcomes = frame.pop("target").to_numpy(dtype=np.float64, na_value=np.nan)
        return raw_features(frame, self.features).join(frame[list(columns)]), outcomes

    def examples(self, rows: int) -> Any:
        """Made-up rows within the range of the data."""
        return example_rows(self.rows("train")[0], self.features, rows)

    def require_no_leakage(self) -> None:
        """Audits the modelling rows.

        Raises:
            SystemExit: They leak.
        """
        import duckdb

        with duckdb.connect() as connection:
            frame = connection.execute(f"SELECT * FROM '{self.location}'").df()
        if findings := leakage.audit(frame, self.features, {}, [self.chosen["target"]]):
            raise SystemExit(findings[0].sentence)

    def study(self, folder: Path) -> Found:
        """Searches as the configuration says: each trial is judged on validation, and kept in a journal."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        settings = self.chosen["optuna"]
        wanted = settings["search"]["n_trials"]
        spaces = {name: _space(settings, name) for name in sorted(settings["algorithms"])}
        tuning = Tuning(
            self.rows("train"),
            self.rows("validation"),
            self.features,
            metric=settings["study_defaults"]["metric"],
            seed=self.seed,
            threads=min(settings["search"]["n_jobs"], os.cpu_count() or 1),
            early_stopping_rounds=settings["early_stopping_rounds"],
        )
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            study_name=self.brand,
            storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=2 * STEP),
        )
        for number in range(wanted):
            # seeded by trial, as the product does, so that a study that was interrupted goes on the same
            study.sampler = optuna.samplers.TPESampler(
                seed=int(content_key(self.seed, number)[:8], 16),
                n_startup_trials=STARTUP_TRIALS,
                multivariate=True,
                group=True,
                constant_liar=False,
            )
            _try(study, tuning, spaces)
        return _found(study)

    def fit(self, found: Found) -> ScoringModel:
        """Fits on train alone, and sets the threshold on validation."""
        frame, outcome = self.rows("train")
        model = fit_model(
            found.algorithm,
            found.parameters,
            frame,
            outcome,
            self.features,
            training_key=self.brand,
            brand=self.brand,
            horizon_days=self.chosen["cohort"]["outcome_window_days"],
            seed=self.seed,
            threads=os.cpu_count() or 1,
        )
        held_out, _ = self.rows("validation")
        return model.with_threshold(metrics.threshold_for(model.predict(held_out), self.capacity))


def _space(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(sorted(parse_space(settings["search_space"][name]).items()))


def _try(study: Any, tuning: Tuning, spaces: Mapping[str, Any]) -> None:
    import optuna

    trial = study.ask()
    name = trial.suggest_categorical("algorithm", list(spaces))

    def on_step(step: int, value: float) -> None:
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        parameters = suggest(trial, spaces[name], f"{name}.")
        tried = tuning.fit(name, parameters, on_step if algorithm(name).is_incremental else None)
        trial.set_user_attr("fit", tried.parameters)
        study.tell(trial, tried.value)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def _found(study: Any) -> Found:
    trials = study.get_trials(deepcopy=False)
    states = [trial.state.name for trial in trials]
    best = study.best_trial
    history = [{"number": t.number, "state": t.state.name, "value": t.value, "parameters": t.params} for t in trials]
    return Found(
        algorithm=best.params["algorithm"],
        parameters=json.loads(json.dumps(best.user_attrs["fit"])),
        best_value=best.value,
        trials={state: states.count(state) for state in ("COMPLETE", "PRUNED", "FAIL")},
        history=history,
    )
