# ruff: noqa: TID253 - it runs in a process of its own, which needs them
"""Fits the linear effect and the causal forest: by the product, or by EconML's bare calls with the same settings."""

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.effects.worlds import SPEC, protocol
from e2i_pipeline.contracts.causal import TargetTrialProtocol
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.causal.design import EffectData, effect_data
from e2i_pipeline.domain.causal.estimators import ForestSpec, fit_effects
from e2i_pipeline.domain.causal.nuisance import splits_of

FOREST = ForestSpec(trees=100, maximum_rows=10_000_000, threads=2)


def rows_of(rows: int, columns: int) -> tuple[EffectData, TargetTrialProtocol]:
    """Made-up rows, all of them in the fit fold: the first column changes the effect, the first three drive both."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, columns))
    treatment = x[:, :3].sum(axis=1) / 2 + rng.normal(size=rows)
    outcome = (0.5 + 0.3 * x[:, 0]) * treatment + x[:, :3].sum(axis=1) + rng.normal(size=rows)
    frame = pd.DataFrame(x, columns=[f"x{number}" for number in range(columns)])
    frame = frame.assign(engagement_score=treatment, target=outcome)
    frame["patient_id"] = frame["patient_journey_id"] = np.arange(rows).astype(str)
    features = tuple(FeatureSpec(name=f"x{n}", kind="numeric", view="patient_features") for n in range(columns))
    changed = {
        "confounders": features,
        "modifiers": ("x0", "x1", "x2"),
        "segments": (),
        "outcome_kind": "continuous",
        "folds": {"fit": 0.999, "validation": 0.0005, "evaluation": 0.0005},
        "split_by": "patient",
    }
    trial = protocol(7).model_copy(update=changed)
    return effect_data(frame, trial).in_fold("fit"), trial


def by_product(data: EffectData, trial: TargetTrialProtocol) -> list[float]:
    """The product's estimators: what people call."""
    spec = SPEC._replace(threads=2)
    fitted = fit_effects(data, trial, ["linear_dml", "causal_forest"], spec, FOREST)
    return [float(one.effects(data.of(np.arange(len(data.outcome)) < 2000)).value.mean()) for one in fitted]


def by_econml(data: EffectData, trial: TargetTrialProtocol) -> list[float]:
    """EconML's own calls with scikit-learn's interface to the same boosted trees."""
    from econml.dml import CausalForestDML, LinearDML
    from xgboost import XGBRegressor

    def model() -> Any:
        return XGBRegressor(**SPEC.parameters, tree_method="hist", random_state=SPEC.seed, n_jobs=2)

    common = {"model_y": model(), "model_t": model(), "cv": splits_of(data, SPEC), "random_state": SPEC.seed}
    linear = LinearDML(**common).fit(data.outcome, data.treatment, X=data.modifiers, W=data.confounders)
    forest = CausalForestDML(**common, n_estimators=FOREST.trees, n_jobs=2)
    forest.fit(data.outcome, data.treatment, X=data.modifiers, W=data.confounders)
    modifiers: Any = data.modifiers
    shown = modifiers[:2000]
    linear.effect_inference(shown).conf_int()
    forest.effect_inference(shown).conf_int()
    return [float(np.mean(one.effect(shown))) for one in (linear, forest)]


def main(side: str, rows: int, columns: int) -> None:
    """Prints the seconds that fitting took, and both mean effects."""
    warnings.simplefilter("ignore")
    import xgboost  # noqa: F401

    data, trial = rows_of(rows, columns)
    began = time.perf_counter()
    found = (by_product if side == "product" else by_econml)(data, trial)
    json.dump({"seconds": time.perf_counter() - began, "answer": [round(value, 2) for value in found]}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
