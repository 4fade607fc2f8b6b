# ruff: noqa: TID253 - it runs in a process of its own, which needs them
"""Takes many worlds without an effect through the rules of the causal stage, and counts what they let through."""

import json
import sys
import time
import warnings

import numpy as np

from benchmarks.effects.worlds import SPEC, journeys, protocol
from e2i_pipeline.contracts.causal import EffectFigure, TargetTrialProtocol
from e2i_pipeline.domain.causal.design import EVALUATION, FIT, EffectData, effect_data
from e2i_pipeline.domain.causal.effect_table import effect_table
from e2i_pipeline.domain.causal.estimators import ForestSpec, average_effect, fit_effects
from e2i_pipeline.domain.causal.evaluation import evaluate_effect
from e2i_pipeline.domain.causal.nuisance import cross_fitted, nuisance_on
from e2i_pipeline.domain.causal.overlap_report import OverlapRules, assess_overlap
from e2i_pipeline.domain.causal.refutation import Attack, refute

RULES = OverlapRules((0.05, 0.95), (0.05, 20.0), minimum_kept=0.8, minimum_effective=0.3, maximum_imbalance=0.25)


def passes(rows: int, seed: int) -> bool:
    """Whether the gate lets the effect of one world through."""
    trial = protocol(seed)
    data = effect_data(journeys("null_effect", rows, seed), trial)
    kinds = (trial.treatment_kind, trial.outcome_kind, trial.is_randomized)
    report = assess_overlap(data, cross_fitted(data, SPEC, *kinds), trial, RULES)
    kept = data.of(report.is_kept)
    learn, judged = kept.in_fold(FIT), kept.in_fold(EVALUATION)
    average = average_effect(learn, trial, SPEC)
    [line] = fit_effects(learn, trial, ["linear_dml"], SPEC, ForestSpec(8, 1_000, 1))
    everywhere = np.ones(len(judged.outcome), bool)
    table = effect_table(judged, line.effects(judged), nuisance_on(learn, judged, SPEC, *kinds), everywhere, trial)
    found = evaluate_effect(table, trial, average, line.effects(learn).value)
    if any(f.blocks and not f.holds for f in (*report.findings, *found.findings)):
        return False  # refutation can only refuse more
    return _withstands(learn, average, trial)


def _withstands(learn: EffectData, average: EffectFigure, trial: TargetTrialProtocol) -> bool:
    attacked = refute(learn, average, trial, SPEC, Attack(10, 0.8), {})
    return all(f.holds or not f.blocks for f in attacked)


def main(seeds: int, rows: int) -> None:
    """Prints the share of the seeds whose effect the gate lets through, as of 100."""
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    passed = sum(passes(rows, seed) for seed in range(seeds))
    counts = {"passed": 100 * passed / seeds}
    json.dump({"seconds": time.perf_counter() - began, "counts": counts}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
