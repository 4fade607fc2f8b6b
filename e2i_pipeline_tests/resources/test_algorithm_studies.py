"""A study over every algorithm that classifies, with conditions in its search space."""

from pathlib import Path
from typing import Any

import yaml

from e2i_pipeline.config.loader import PROJECT
from e2i_pipeline.domain.algorithms import ALGORITHMS
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.optuna_records import StudyOutcome
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

CLASSIFIERS = sorted(name for name, a in ALGORITHMS.items() if "classification" in a.problem_types)


def _study(folder: Path, threads: int) -> StudyOutcome:
    default = yaml.safe_load((PROJECT / "e2i_pipeline" / "config" / "e2i.yaml").read_text(encoding="utf-8"))
    space: dict[str, dict[str, Any]] = {name: default["optuna"]["search_space"][name] for name in CLASSIFIERS}
    for name in CLASSIFIERS:
        if "n_estimators" in space[name]:
            space[name]["n_estimators"] = [10, 30]
    resource = OptunaResource(
        storage=f"journal://{folder}/journal.log", sampler="RandomSampler", n_trials=25, n_jobs=threads
    )
    return resource.optimize(
        "study",
        CLASSIFIERS,
        space,
        modelling_rows(500, seed=1),
        modelling_rows(300, seed=2),
        FEATURES,
        metric="auc",
        direction="maximize",
        seed=4,
        early_stopping_rounds=10,
    )


def test_each_algorithm_is_tried_and_a_parameter_only_where_its_condition_holds(tmp_path: Path) -> None:
    found = _study(tmp_path / "one", threads=1)

    assert found.trials["FAIL"] == 0, found.failures
    assert {trial.algorithm for trial in found.history} == set(CLASSIFIERS)
    tried = [trial.parameters for trial in found.history if trial.algorithm == "catboost"]
    assert {parameters["bootstrap_type"] for parameters in tried} == {"Bayesian", "Bernoulli"}
    for parameters in tried:
        assert ("bagging_temperature" in parameters) == (parameters["bootstrap_type"] == "Bayesian")
        assert ("subsample" in parameters) == (parameters["bootstrap_type"] == "Bernoulli")
    again = _study(tmp_path / "two", threads=2)
    assert [(t.state, t.value, t.parameters) for t in again.history] == [
        (t.state, t.value, t.parameters) for t in found.history
    ]
