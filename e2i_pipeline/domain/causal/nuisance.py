"""The models of outcome and treatment behind an effect, by algorithms of the registry, never on the row they judge."""

# scikit-learn ships no types, and a model's base classes depend on what it is.
# pyright: reportMissingTypeStubs=false, reportUntypedBaseClass=false, reportGeneralTypeIssues=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.domain.algorithms import algorithm
from e2i_pipeline.domain.causal.design import EffectData

if TYPE_CHECKING:
    import numpy as np

Parameters = Mapping[str, bool | int | float | str | None]

SMALLEST_VARIANCE_SHARE = 0.05
"""A modelled variance of the treatment counts as no less than this share of its mean: noise in the model of a variance
would otherwise give single rows the weight of hundreds."""


class NuisanceSpec(NamedTuple):
    """How nuisance models are made.

    Attributes:
        algorithm: Name in the registry.
        parameters: Its parameters.
        folds: Folds of cross-fitting.
        seed: Seed of everything random.
        threads: Threads of a fit; changes no result.
    """

    algorithm: str
    parameters: Parameters
    folds: int
    seed: int
    threads: int

    def model(self, kind: str) -> Any:
        """An unfitted model as scikit-learn and EconML take it.

        Args:
            kind: `binary` (it has `predict_proba`) or `continuous`.
        """
        return registry_estimator(self, kind)


class Nuisance(NamedTuple):
    """What is expected of rows that the models have not seen; each of shape (rows,).

    Attributes:
        outcome: E[Y|X].
        treatment: E[T|X]: the propensity, of a binary treatment.
        variance: Var(T|X).
        untreated: E[Y|X, T=0] of a binary treatment; else None.
        treated: E[Y|X, T=1] of a binary treatment; else None.
    """

    outcome: "np.ndarray"
    treatment: "np.ndarray"
    variance: "np.ndarray"
    untreated: "np.ndarray | None" = None
    treated: "np.ndarray | None" = None


def registry_estimator(spec: NuisanceSpec, kind: str) -> Any:
    """An algorithm of the registry behind scikit-learn's interface.

    Args:
        spec: Algorithm, parameters, seed and threads.
        kind: `binary` or `continuous`.
    """
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    is_binary = kind == "binary"
    problem_type = "classification" if is_binary else "regression"

    class Model(ClassifierMixin if is_binary else RegressorMixin, BaseEstimator):
        """One fit on a matrix; the same data give the same model."""

        def fit(self, x: "np.ndarray", y: "np.ndarray") -> "Model":
            learner = algorithm(spec.algorithm)
            outcome = np.asarray(y, dtype=np.float32).ravel()
            matrix = learner.matrix(np.asarray(x, dtype=np.float32), outcome, spec.threads)
            fitted = learner.fit(
                spec.parameters, matrix, seed=spec.seed, threads=spec.threads, problem_type=problem_type
            )
            self.learner_, self.estimator_ = learner, fitted.estimator
            self.classes_ = np.array([0, 1])
            return self

        def predict(self, x: "np.ndarray") -> "np.ndarray":
            score = self._score(x)
            return (score >= 0.5).astype(int) if is_binary else score

        def _score(self, x: "np.ndarray") -> "np.ndarray":
            return np.asarray(self.learner_.score(self.estimator_, np.asarray(x, dtype=np.float32)), dtype=np.float64)

    if is_binary:

        def predict_proba(self: Any, x: "np.ndarray") -> "np.ndarray":
            positive = self._score(x)
            return np.column_stack([1 - positive, positive])

        Model.predict_proba = predict_proba  # type: ignore[attr-defined]
    return Model()


def expected(model: Any, x: "np.ndarray") -> "np.ndarray":
    """What a fitted model expects (rows,): the probability of 1, or the value."""
    return model.predict_proba(x)[:, 1] if hasattr(model, "predict_proba") else model.predict(x)


def nuisance_on(
    learned: EffectData, judged: EffectData, spec: NuisanceSpec, treatment_kind: str, outcome_kind: str, chance: bool
) -> Nuisance:
    """Fits on some rows and says what is expected of others.

    Args:
        learned: Rows to learn from.
        judged: Rows of other patients and physicians.
        spec: How.
        treatment_kind: `binary` or `continuous`.
        outcome_kind: `binary` or `continuous`.
        chance: Whether the treatment was assigned by chance: then it is expected to be its mean.
    """
    import numpy as np

    x, new = learned.confounders, judged.confounders
    outcome = expected(spec.model(outcome_kind).fit(x, learned.outcome), new)
    if chance:
        treatment = np.full(len(new), learned.treatment.mean())
        variance = np.full(len(new), learned.treatment.var())
    else:
        treatment = expected(spec.model(treatment_kind).fit(x, learned.treatment), new)
        variance = treatment * (1 - treatment) if treatment_kind == "binary" else _variance(learned, spec, new)
    if treatment_kind != "binary":
        return Nuisance(outcome, treatment, variance)
    arms = [
        expected(
            spec.model(outcome_kind).fit(x[learned.treatment == arm], learned.outcome[learned.treatment == arm]), new
        )
        for arm in (0, 1)
    ]
    return Nuisance(outcome, treatment, variance, *arms)


def cross_fitted(
    data: EffectData, spec: NuisanceSpec, treatment_kind: str, outcome_kind: str, chance: bool
) -> Nuisance:
    """The same for each row by models that saw none of its group; see `nuisance_on`."""
    import numpy as np

    splits = splits_of(data, spec)
    found = [
        nuisance_on(
            data.of(_mask(learn, data)), data.of(_mask(judge, data)), spec, treatment_kind, outcome_kind, chance
        )
        for learn, judge in splits
    ]

    def joined(parts: "list[np.ndarray]") -> "np.ndarray":
        whole = np.empty(len(data.outcome))
        for (_, judge), part in zip(splits, parts, strict=True):
            whole[judge] = part
        return whole

    parts = {name: [getattr(one, name) for one in found] for name in Nuisance._fields}
    return Nuisance(**{name: joined(values) for name, values in parts.items() if values[0] is not None})


def residual(data: EffectData, values: "np.ndarray", spec: NuisanceSpec, kind: str) -> "np.ndarray":
    """Values less what the confounders say of them (rows,), by models that saw none of the row's group.

    Args:
        data: The rows.
        values: (rows,).
        spec: How.
        kind: `binary` or `continuous`.
    """
    import numpy as np

    left = np.empty(len(values))
    for learn, judge in splits_of(data, spec):
        model = spec.model(kind).fit(data.confounders[learn], values[learn])
        left[judge] = values[judge] - expected(model, data.confounders[judge])
    return left


def splits_of(data: EffectData, spec: NuisanceSpec) -> "list[tuple[np.ndarray, np.ndarray]]":
    """Folds of cross-fitting as pairs of row numbers (learn, judge); no group is on both sides."""
    import numpy as np

    from e2i_pipeline.domain.causal.folds import assign_folds

    shares = {str(fold): 1 / spec.folds for fold in range(spec.folds)}
    fold = assign_folds(data.groups, shares, spec.seed)
    return [(np.flatnonzero(fold != name), np.flatnonzero(fold == name)) for name in shares]


def _mask(rows: "np.ndarray", data: EffectData) -> "np.ndarray":
    import numpy as np

    is_in = np.zeros(len(data.outcome), dtype=bool)
    is_in[rows] = True
    return is_in


def _variance(learned: EffectData, spec: NuisanceSpec, new: "np.ndarray") -> "np.ndarray":
    """Var(T|X) by a model of squared residuals that are themselves cross-fitted (Fan and Yao, 1998)."""
    import numpy as np

    squared = residual(learned, learned.treatment, spec, "continuous") ** 2
    found = spec.model("continuous").fit(learned.confounders, squared).predict(new)
    return np.clip(found, SMALLEST_VARIANCE_SHARE * squared.mean(), None)
