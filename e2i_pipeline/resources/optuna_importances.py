"""Which parameters decide how good a trial is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from e2i_pipeline.domain.search_space import Space
from e2i_pipeline.resources.optuna_past import ALGORITHM
from e2i_pipeline.resources.optuna_records import Found, record

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST_TRIALS = 10
"""Completed trials of an algorithm below which no importance is told: it would be that of chance."""


def importances(found: Found, spaces: Mapping[str, Space]) -> dict[str, dict[str, float]]:
    """Importance of each algorithm's parameters by PED-ANOVA (Watanabe et al., 2023), which is not random.

    Args:
        found: What the study found.
        spaces: Search space per algorithm.

    Returns:
        Per algorithm with enough completed trials: parameter to its share, largest first.
    """
    kinds: dict[str, list[FrozenTrial]] = {name: [] for name in spaces}
    for trial in found.trials:
        if trial.state.name == "COMPLETE":
            kinds[record(trial, found.only).algorithm].append(trial)
    shares = {name: _shares(name, trials, found.is_maximized) for name, trials in kinds.items()}
    return {name: share for name, share in shares.items() if share}


def _shares(name: str, trials: "list[FrozenTrial]", is_maximized: bool) -> dict[str, float]:
    import optuna

    if len(trials) < FEWEST_TRIALS:
        return {}
    varied = [p for p in trials[0].params if p != ALGORITHM and len({t.params[p] for t in trials}) > 1]
    if len(varied) < 2:
        return {}
    study = optuna.create_study(direction="maximize" if is_maximized else "minimize")
    for trial in trials:
        study._storage.create_new_trial(study._study_id, trial)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied)
    return {parameter.removeprefix(f"{name}."): float(share) for parameter, share in found.items()}
