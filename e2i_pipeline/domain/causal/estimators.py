"""The estimators of effects, which are EconML's: fitted on one fold, chosen on another, exported as plain numbers.

EconML comes with the extra `causal`. What is done to its results stands beside this module.
"""

# EconML ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingImports=false, reportArgumentType=false

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.causal import EffectFigure, TargetTrialProtocol
from e2i_pipeline.domain.causal.design import EffectData
from e2i_pipeline.domain.causal.linear_effect import LinearEffect
from e2i_pipeline.domain.causal.nuisance import NuisanceSpec, splits_of
from e2i_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

LINEAR_DML, CAUSAL_FOREST, DR_LEARNER = "linear_dml", "causal_forest", "dr_learner"
SERVABLE = (LINEAR_DML, DR_LEARNER)
"""Estimators whose effect is a line in the modifiers, and so plain numbers. No reviewed format reads a causal forest
back: skops dumps EconML's and cannot load it."""


class ForestSpec(NamedTuple):
    """The causal forest: trees, the most rows that it is grown on, and threads.

    EconML's forest was seen to take 180 GB at 2 million rows: memory grows with rows and trees, so the number of
    rows bounds it. Beyond it a sample of whole groups is drawn.
    """

    trees: int
    maximum_rows: int
    threads: int


class Effects(NamedTuple):
    """Effects of some rows with their intervals of 95 %, each (rows,)."""

    value: "np.ndarray"
    low: "np.ndarray"
    high: "np.ndarray"


class Fitted(NamedTuple):
    """A fitted estimator.

    Attributes:
        name: Its name.
        estimator: EconML's object.
        linear: The same as plain numbers; None where it is no line.
    """

    name: str
    estimator: Any
    linear: LinearEffect | None

    def effects(self, data: EffectData) -> Effects:
        """The effects of some rows."""
        import numpy as np

        if self.linear is not None:
            rows = len(data.outcome)
            return Effects(*self.linear.effect(np.empty((rows, 0)) if data.modifiers is None else data.modifiers))
        inference = self.estimator.effect_inference(data.modifiers)
        return Effects(inference.point_estimate.ravel(), *(end.ravel() for end in inference.conf_int(alpha=0.05)))


def require_econml() -> None:
    """Checks that EconML can be imported, without importing it.

    Raises:
        ConfigurationError: It is not installed.
    """
    if importlib.util.find_spec("econml") is None:
        raise ConfigurationError(
            'effects need EconML, which is not installed here: pip install "e2i-pipeline[causal]". `make run '
            "STAGE=causal` does it by itself."
        )


def average_effect(data: EffectData, protocol: TargetTrialProtocol, spec: NuisanceSpec) -> EffectFigure:
    """The average effect by a partially linear model with one effect for everybody (Robinson, 1988), by LinearDML.

    Args:
        data: Rows to fit on.
        protocol: The protocol.
        spec: The nuisance models.

    Returns:
        E[Cov(T, Y | X)] / E[Var(T | X)], with its interval.
    """
    estimator = _linear_dml(protocol, spec, data)
    estimator.fit(data.outcome, data.treatment, X=None, W=data.confounders, inference="statsmodels")
    inference = estimator.const_marginal_ate_inference()
    low, high = inference.conf_int_mean(alpha=0.05)
    point = float(_number(inference.mean_point))
    return EffectFigure(name="average", value=point, low=_number(low), high=_number(high), rows=len(data.outcome))


def fit_effects(
    data: EffectData, protocol: TargetTrialProtocol, names: Sequence[str], spec: NuisanceSpec, forest: ForestSpec
) -> list[Fitted]:
    """Fits estimators of how the effect differs with the modifiers.

    Args:
        data: Rows of the fit fold.
        protocol: The protocol.
        names: Estimators; the causal forest needs modifiers, `dr_learner` a binary treatment.
        spec: The nuisance models.
        forest: The causal forest.

    Raises:
        ConfigurationError: An estimator does not fit the protocol, or EconML is not installed.
    """
    require_econml()
    if DR_LEARNER in names and protocol.treatment_kind != "binary":
        raise ConfigurationError(
            "causal.estimators: dr_learner needs a binary treatment; a continuous one takes linear_dml or causal_forest"
        )
    made = {LINEAR_DML: _fit_linear, CAUSAL_FOREST: _fit_forest, DR_LEARNER: _fit_dr}
    wanted = [name for name in names if name != CAUSAL_FOREST or data.modifiers is not None]
    return [made[name](data, protocol, spec, forest) for name in wanted]


def r_scores(
    fitted: Sequence[Fitted], held_out: EffectData, protocol: TargetTrialProtocol, spec: NuisanceSpec
) -> dict[str, float]:
    """R-score (Nie and Wager, 2021) of each estimator on rows that it was not fitted on.

    1 - loss / loss of the best constant effect, where the loss is the mean of (Y~ - effect * T~)^2 over cross-fitted
    residuals. 0 for no better than one effect for everybody.
    """
    from econml.score import RScorer

    if held_out.modifiers is None:
        return {one.name: 0.0 for one in fitted}
    scorer = RScorer(
        model_y=spec.model(protocol.outcome_kind),
        model_t=spec.model(protocol.treatment_kind),
        discrete_treatment=protocol.treatment_kind == "binary",
        discrete_outcome=protocol.outcome_kind == "binary",
        cv=splits_of(held_out, spec),
        random_state=spec.seed,
    )
    scorer.fit(held_out.outcome, held_out.treatment, X=held_out.modifiers, W=held_out.confounders)
    return {one.name: float(scorer.score(one.estimator)) for one in fitted}


def _linear_dml(protocol: TargetTrialProtocol, spec: NuisanceSpec, data: EffectData) -> Any:
    from econml.dml import LinearDML

    return LinearDML(**_common(protocol, spec, data))


def _common(protocol: TargetTrialProtocol, spec: NuisanceSpec, data: EffectData) -> dict[str, Any]:
    return {
        "model_y": spec.model(protocol.outcome_kind),
        "model_t": spec.model(protocol.treatment_kind),
        "discrete_treatment": protocol.treatment_kind == "binary",
        "discrete_outcome": protocol.outcome_kind == "binary",
        "cv": splits_of(data, spec),
        "random_state": spec.seed,
    }


def _fit_linear(data: EffectData, protocol: TargetTrialProtocol, spec: NuisanceSpec, _forest: ForestSpec) -> Fitted:
    estimator = _linear_dml(protocol, spec, data)
    estimator.fit(data.outcome, data.treatment, X=data.modifiers, W=data.confounders, inference="statsmodels")
    return Fitted(LINEAR_DML, estimator, _exported(estimator.model_final_, data))


def _fit_forest(data: EffectData, protocol: TargetTrialProtocol, spec: NuisanceSpec, forest: ForestSpec) -> Fitted:
    from econml.dml import CausalForestDML

    sample = _sampled(data, forest.maximum_rows, spec.seed)
    estimator = CausalForestDML(
        **_common(protocol, spec, sample), n_estimators=forest.trees, n_jobs=forest.threads, inference=True
    )
    estimator.fit(sample.outcome, sample.treatment, X=sample.modifiers, W=sample.confounders)
    return Fitted(CAUSAL_FOREST, estimator, None)


def _fit_dr(data: EffectData, protocol: TargetTrialProtocol, spec: NuisanceSpec, _forest: ForestSpec) -> Fitted:
    from econml.dr import LinearDRLearner

    estimator = LinearDRLearner(
        model_propensity=spec.model("binary"),
        model_regression=spec.model(protocol.outcome_kind),
        discrete_outcome=protocol.outcome_kind == "binary",
        min_propensity=0.01,
        cv=splits_of(data, spec),
        random_state=spec.seed,
    )
    estimator.fit(data.outcome, data.treatment, X=data.modifiers, W=data.confounders, inference="statsmodels")
    return Fitted(DR_LEARNER, estimator, _exported(estimator.fitted_models_final[0], data))


def _exported(final: Any, data: EffectData) -> LinearEffect:
    """EconML's final linear model as plain numbers."""
    import numpy as np

    covariance = np.asarray(final._var, dtype=np.float64).reshape(len(data.modifier_names) + 1, -1)
    coefficients = np.ravel(final._param)
    ranges = data.modifiers if data.modifiers is not None else np.empty((1, 0))
    return LinearEffect(
        names=data.modifier_names,
        coefficients=tuple(coefficients.tolist()),
        covariance=tuple(tuple(row) for row in covariance.tolist()),
        low=tuple(ranges.min(axis=0).tolist()),
        high=tuple(ranges.max(axis=0).tolist()),
    )


def _sampled(data: EffectData, maximum: int, seed: int) -> EffectData:
    """All rows, or whole groups by hash up to the maximum."""
    import numpy as np

    if len(data.outcome) <= maximum:
        return data
    order = np.random.default_rng(seed).permutation(int(data.groups.max()) + 1)
    rank = order[data.groups]
    kept = np.sort(rank)[:maximum].max()
    return data.of(rank < kept)


def _number(value: Any) -> float:
    import numpy as np

    return float(np.ravel(value)[0])
