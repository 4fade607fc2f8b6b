"""The modelling rows, the leakage audit, the Optuna study and the fit."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation_rules import RecalibrationRules
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain import leakage
from e2i_pipeline.domain.algorithms import ScoringModel, algorithm, fit_model
from e2i_pipeline.domain.encoding import raw_features
from e2i_pipeline.domain.examples import example_rows
from e2i_pipeline.domain.learners import STEP
from e2i_pipeline.domain.operating_point import set_operating_point
from e2i_pipeline.domain.search_space import parse_space, suggest
from e2i_pipeline.domain.selection import compare, patient_folds
from e2i_pipeline.domain.tuning import Tuning

STARTUP_TRIALS = 10
FIRST_BATCH = STARTUP_COMPLETED = 4


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
        self.scope = ExperimentScope(
            key=brand,
            brand=brand,
            target=chosen["target"],
            problem_type=chosen["problem_type"],
            population=brand,
            observation_window_days=None,
            prediction_horizon_days=chosen["cohort"]["outcome_window_days"],
            **chosen["success_criteria"],
        )

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
        features = raw_features(frame, self.features)
        return features.join(frame[[name for name in columns if name not in features]]), outcomes

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
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_COMPLETED, n_warmup_steps=STEP),
        )
        size = settings["search"]["batch_size"]
        first, end = 0, min(FIRST_BATCH, size)
        while first < wanted:
            # seeded by batch, as the product does, so that a study that was interrupted goes on the same
            study.sampler = optuna.samplers.TPESampler(
                seed=int(content_key(self.seed, first)[:8], 16),
                n_startup_trials=STARTUP_TRIALS,
                multivariate=True,
                group=True,
                constant_liar=True,
            )
            _try(study, tuning, spaces, min(end, wanted) - first)
            first, end = end, end + size
        return self._chosen(study, tuning, settings["selection_folds"])

    def _chosen(self, study: Any, tuning: Tuning, count: int) -> Found:
        """The best trial of the algorithm that cross-validation on train and validation prefers."""
        import numpy as np

        complete = [t for t in study.trials if t.state.name == "COMPLETE"]
        best = {
            name: max((t for t in complete if t.params["algorithm"] == name), key=lambda t: (t.value, -t.number))
            for name in sorted({t.params["algorithm"] for t in complete})
        }
        if len(best) < 2:
            return _found(study, study.best_trial)
        patients = [self.rows(split, ["patient_id"])[0]["patient_id"] for split in ("train", "validation")]
        folds = patient_folds(np.concatenate(patients), tuning.outcomes, count, self.seed)
        scores = {
            name: [tuning.held_out(name, t.user_attrs["fit"], folds == k, os.cpu_count() or 1) for k in range(count)]
            for name, t in best.items()
        }
        values = {name: t.value for name, t in best.items()}
        ranked = compare(scores, dict.fromkeys(best, 0), values, is_maximized=True)
        return _found(study, best[ranked[0].algorithm])

    def fit(self, found: Found) -> ScoringModel:
        """Fits on train alone, recalibrates and sets the threshold on validation."""
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
        rules = RecalibrationRules.model_validate(self.chosen["evaluation"]["recalibration"])
        rows, outcomes = self.rows("validation", ["patient_id"])
        return set_operating_point(model, rows, outcomes, self.scope, rules, self.seed, rows["patient_id"])[0]


def _space(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(sorted(parse_space(settings["search_space"][name]).items()))


def _try(study: Any, tuning: Tuning, spaces: Mapping[str, Any], count: int) -> None:
    """A batch: its trials are chosen before the first one is tried, and told when the last one has ended."""
    import optuna

    batch: list[tuple[Any, str, dict[str, Any]]] = []
    for _ in range(count):
        trial = study.ask()
        name = trial.suggest_categorical("algorithm", list(spaces))
        batch.append((trial, name, suggest(trial, spaces[name], f"{name}.")))

    def tried(trial: Any, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        def on_step(step: int, value: float) -> None:
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            found = tuning.fit(name, parameters, on_step if algorithm(name).is_incremental else None)
        except optuna.TrialPruned:
            return {"state": optuna.trial.TrialState.PRUNED}
        trial.set_user_attr("fit", found.parameters)
        return {"values": found.value}

    results = [tried(*one) for one in batch]
    for (trial, _, _), result in zip(batch, results, strict=True):
        study.tell(trial, **result)


def _found(study: Any, best: Any) -> Found:
    trials = study.get_trials(deepcopy=False)
    states = [trial.state.name for trial in trials]
    history = [{"number": t.number, "state": t.state.name, "value": t.value, "parameters": t.params} for t in trials]
    return Found(
        algorithm=best.params["algorithm"],
        parameters=json.loads(json.dumps(best.user_attrs["fit"])),
        best_value=best.value,
        trials={state: states.count(state) for state in ("COMPLETE", "PRUNED", "FAIL")},
        history=history,
    )
