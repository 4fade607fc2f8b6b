"""Which feature moved a score, and by how much: SHAP values on the model's margin, per feature as the user knows it.

Exact values by closed form only: the path attributions of trees (the numbers of `shap.TreeExplainer`) and a linear
model's coefficients (the numbers of `shap.LinearExplainer` around a reference), as each algorithm computes them. What
a model sees after encoding is summed back to the feature it came from, which keeps the values additive. Sampling, plots
and the `shap` package belong to `resources.shap`; words belong to `narratives`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.domain.learners import LINEAR, TREE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from e2i_pipeline.domain.algorithms import ScoringModel

METHODS = {
    TREE: "exact path-dependent tree SHAP (the trees' own contributions)",
    LINEAR: "exact linear SHAP (coefficients around the mean of the reference rows)",
}
"""Kind of explainer (`Algorithm.explainer`) to the words that stand beside the numbers."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """SHAP values of some rows.

    Attributes:
        values: Shape (rows, features), on the model's margin. A row's values and `base_value` sum to the row's margin.
        base_value: Margin of the reference: the expected margin of trees over their training data, the margin at the
            mean of the reference rows of a linear model.
        feature_names: The model's features, in the order of the columns of `values`.
        method: How the values were computed, in words.
        unit: Of the margin: `log-odds` or `probability` of the positive class, or `outcome` (as it is measured).
    """

    values: "np.ndarray"
    base_value: float
    feature_names: tuple[str, ...]
    method: str
    unit: str = "log-odds"


class Interaction(NamedTuple):
    """Mean absolute interaction of two features on the margin; both directions together."""

    first: str
    second: str
    strength: float


class InstanceExplanation(NamedTuple):
    """One row's score taken apart, the contributions with the largest absolute value first.

    Attributes:
        base_value: Where every row starts, in the attribution's unit.
        margin: Where this one ends.
        score: The model's score: a probability, or in a regression the expected outcome.
        contributions: Per feature.
        unit: The attribution's.
    """

    base_value: float
    margin: float
    score: float
    contributions: dict[str, float]
    unit: str


def attribute(model: "ScoringModel", frame: "pd.DataFrame", reference: Sequence[float] = ()) -> Attribution:
    """Computes the SHAP values of every row.

    Args:
        model: The model.
        frame: Raw features, at least one row.
        reference: Where a linear model's values start: a point of its encoded matrix, as `reference_point` gives it.
            Empty takes the mean of `frame` itself. Trees bring their own.

    Returns:
        Values per raw feature.
    """
    import numpy as np

    learner = model.algorithm
    encoded = model.encode(frame).to_numpy(np.float64)
    point = np.asarray(reference, dtype=np.float64) if len(reference) else _mean(encoded)
    values, base = learner.contributions(model.estimator, encoded, point)
    names = tuple(feature.name for feature in model.manifest.features)
    origins = [origin for _, origin in model.manifest.encoded_features]
    unit = learner.unit(model.manifest.problem_type)
    return Attribution(sum_by_origin(values, origins, names), base, names, _method(model), unit)


def _method(model: "ScoringModel") -> str:
    """How the values were computed, and of which margin: recalibration comes after it and changes no ranking."""
    recalibration = model.manifest.recalibration
    how = METHODS[model.algorithm.explainer]
    return f"{how}; of the margin before {recalibration.method} recalibration" if recalibration else how


def reference_point(model: "ScoringModel", frame: "pd.DataFrame") -> tuple[float, ...]:
    """The mean of the encoded rows of `frame`, one number per encoded column, for `attribute`."""
    import numpy as np

    return tuple(float(value) for value in _mean(model.encode(frame).to_numpy(np.float64)))


def margins(model: "ScoringModel", frame: "pd.DataFrame") -> "np.ndarray":
    """The model's own margin per row, shape (rows,), against which additivity is checked."""
    import numpy as np

    return np.asarray(model.algorithm.margins(model.estimator, model.encode(frame).to_numpy(np.float64)))


def sum_by_origin(values: "np.ndarray", origins: Sequence[str], names: Sequence[str]) -> "np.ndarray":
    """Sums columns that come from the same feature.

    Args:
        values: Shape (rows, encoded columns).
        origins: The feature each encoded column comes from.
        names: The features, in the order wanted. One without an encoded column (a constant) gets zeros.

    Returns:
        Shape (rows, features); each row's sum is unchanged.

    Raises:
        ValueError: A column comes from a feature that is not in `names`, so its share would be lost.
    """
    import numpy as np

    if unknown := sorted(set(origins) - set(names)):
        raise ValueError(f"encoded columns come from features that the model does not name: {', '.join(unknown)}")
    position = {name: index for index, name in enumerate(names)}
    summed = np.zeros((len(values), len(names)), dtype=np.float64)
    for column, origin in enumerate(origins):
        summed[:, position[origin]] += values[:, column]
    return summed


def largest_gap(attribution: Attribution, margin: "np.ndarray") -> float:
    """The largest absolute difference between a row's margin and the sum of its values."""
    import numpy as np

    return float(np.abs(attribution.values.sum(axis=1) + attribution.base_value - margin).max())


def stacked(parts: Sequence[Attribution]) -> Attribution:
    """Puts attributions of consecutive rows of one model, with one reference, together; at least one."""
    import numpy as np

    first = parts[0]
    values = np.concatenate([part.values for part in parts])
    return Attribution(values, first.base_value, first.feature_names, first.method, first.unit)


def importance(attribution: Attribution) -> dict[str, float]:
    """Mean absolute value per feature, as shares that sum to 1, largest first.

    All shares are 0.0 where no feature moves any row's score (a constant model): there is nothing to share out.
    """
    import numpy as np

    strength = np.abs(attribution.values).mean(axis=0)
    total = float(strength.sum())
    shares = {
        name: float(value) / total if total > 0 else 0.0
        for name, value in zip(attribution.feature_names, strength, strict=True)
    }
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def explanation_of(attribution: Attribution, row: int, score: float) -> InstanceExplanation:
    """Takes one row of an attribution apart.

    Args:
        attribution: Values of some rows.
        row: Position of the row.
        score: The model's score of the row.
    """
    values = attribution.values[row]
    contributions = {name: float(v) for name, v in zip(attribution.feature_names, values, strict=True)}
    ordered = dict(sorted(contributions.items(), key=lambda item: (-abs(item[1]), item[0])))
    margin = attribution.base_value + sum(contributions.values())
    return InstanceExplanation(attribution.base_value, margin, score, ordered, attribution.unit)


def interactions(model: "ScoringModel", frame: "pd.DataFrame") -> list[Interaction]:
    """Mean absolute SHAP interaction of each pair of features, strongest first; of some trees only.

    Costs about 50 times an attribution and memory of rows x columns^2: give it a small sample. An interaction comes in
    two equal halves, one per direction; they are added up here. Interactions between columns of one feature belong to
    that feature alone and are left out.

    Args:
        model: The model.
        frame: Raw features of a small sample, at least one row.

    Raises:
        ValueError: The model is linear, so that its features do not interact, or its library does not know.
    """
    import numpy as np

    if model.algorithm.explainer != TREE:
        raise ValueError("a linear model has no interactions between its features")
    if not model.algorithm.has_interactions:
        raise ValueError(f"{model.algorithm.name} does not tell how features interact")
    raw = model.algorithm.interactions(model.estimator, model.encode(frame).to_numpy(np.float64))
    names = [feature.name for feature in model.manifest.features]
    origins = [origin for _, origin in model.manifest.encoded_features]
    member = np.array([[origin == name for name in names] for origin in origins], dtype=np.float64)
    by_feature = np.einsum("nij,ia,jb->nab", raw, member, member, optimize=True)
    strength = 2.0 * np.abs(by_feature).mean(axis=0)
    pairs = [Interaction(names[a], names[b], float(strength[a, b])) for a in range(len(names)) for b in range(a)]
    return sorted(pairs, key=lambda pair: (-pair.strength, pair.first, pair.second))


def _mean(encoded: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return encoded.sum(axis=0, dtype=np.float64) / len(encoded)
