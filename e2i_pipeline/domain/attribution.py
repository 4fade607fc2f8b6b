"""Which feature moved a score, and by how much: SHAP values on the log-odds margin, per feature as the user knows it.

Exact values by closed form only: a booster's own path attributions (the numbers of `shap.TreeExplainer`) and a linear
model's coefficients (the numbers of `shap.LinearExplainer` around a reference). What a model sees after
encoding is summed back to the feature it came from, which keeps the values additive. Sampling, plots and the `shap`
package belong to `resources.shap`; words belong to `narratives`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from e2i_pipeline.domain.algorithms import ScoringModel

TREE = "tree"
LINEAR = "linear"

METHODS = {
    TREE: "exact path-dependent tree SHAP (the booster's own contributions)",
    LINEAR: "exact linear SHAP (coefficients around the mean of the reference rows)",
}
"""Kind of explainer (`Algorithm.explainer`) to the words that stand beside the numbers."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """SHAP values of some rows.

    Attributes:
        values: Shape (rows, features), on the log-odds margin of the positive class. A row's values and `base_value`
            sum to the row's margin.
        base_value: Margin of the reference: the expected margin of a booster over its training data, the margin at
            the mean of the reference rows of a linear model.
        feature_names: The model's features, in the order of the columns of `values`.
        method: How the values were computed, in words.
    """

    values: "np.ndarray"
    base_value: float
    feature_names: tuple[str, ...]
    method: str


class Interaction(NamedTuple):
    """Mean absolute interaction of two features on the margin; both directions together."""

    first: str
    second: str
    strength: float


class InstanceExplanation(NamedTuple):
    """One row's score taken apart: margins in log-odds, the contributions with the largest absolute value first."""

    base_value: float
    margin: float
    probability: float
    contributions: dict[str, float]


def attribute(model: "ScoringModel", frame: "pd.DataFrame", reference: Sequence[float] = ()) -> Attribution:
    """Computes the SHAP values of every row.

    Args:
        model: A model with a booster or a logistic regression on its encoded matrix.
        frame: Raw features, at least one row.
        reference: Where a linear model's values start: a point of its encoded matrix, as `reference_point` gives it.
            Empty takes the mean of `frame` itself. A booster brings its own.

    Returns:
        Values per raw feature.
    """
    import numpy as np

    kind = model.algorithm.explainer
    encoded = model.encode(frame).to_numpy(np.float64)
    if kind == TREE:
        contributions = _booster(model, encoded, pred_contribs=True)
        values, base = contributions[:, :-1], float(contributions[0, -1])  # the last column is the base value
    else:
        weights = np.asarray(model.estimator.coef_, dtype=np.float64).ravel()
        point = np.asarray(reference, dtype=np.float64) if len(reference) else _mean(encoded)
        values = (encoded - point) * weights
        base = float(np.ravel(model.estimator.intercept_)[0] + point @ weights)
    names = tuple(feature.name for feature in model.manifest.features)
    origins = [origin for _, origin in model.manifest.encoded_features]
    return Attribution(sum_by_origin(values, origins, names), base, names, METHODS[kind])


def reference_point(model: "ScoringModel", frame: "pd.DataFrame") -> tuple[float, ...]:
    """The mean of the encoded rows of `frame`, one number per encoded column, for `attribute`."""
    import numpy as np

    return tuple(float(value) for value in _mean(model.encode(frame).to_numpy(np.float64)))


def margins(model: "ScoringModel", frame: "pd.DataFrame") -> "np.ndarray":
    """The model's own log-odds margin per row, shape (rows,), against which additivity is checked."""
    import numpy as np

    encoded = model.encode(frame).to_numpy(np.float64)
    if model.algorithm.explainer == LINEAR:
        return np.asarray(model.estimator.decision_function(encoded), dtype=np.float64)
    return _booster(model, encoded, output_margin=True)


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
    return Attribution(values, first.base_value, first.feature_names, first.method)


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


def explanation_of(attribution: Attribution, row: int, probability: float) -> InstanceExplanation:
    """Takes one row of an attribution apart.

    Args:
        attribution: Values of some rows.
        row: Position of the row.
        probability: The model's score of the row, 0..1.
    """
    values = attribution.values[row]
    contributions = {name: float(v) for name, v in zip(attribution.feature_names, values, strict=True)}
    ordered = dict(sorted(contributions.items(), key=lambda item: (-abs(item[1]), item[0])))
    margin = attribution.base_value + sum(contributions.values())
    return InstanceExplanation(attribution.base_value, margin, probability, ordered)


def interactions(model: "ScoringModel", frame: "pd.DataFrame") -> list[Interaction]:
    """Mean absolute SHAP interaction of each pair of features, strongest first; boosters only.

    Costs about 50 times an attribution and memory of rows x columns^2: give it a small sample. The booster splits an
    interaction in two equal halves, one per direction; they are added up here. Interactions between columns of one
    feature belong to that feature alone and are left out.

    Args:
        model: A model with a booster.
        frame: Raw features of a small sample, at least one row.

    Raises:
        ValueError: The model is linear: its features do not interact.
    """
    import numpy as np

    if model.algorithm.explainer != TREE:
        raise ValueError("a linear model has no interactions between its features")
    encoded = model.encode(frame).to_numpy(np.float64)
    raw = _booster(model, encoded, pred_interactions=True)[:, :-1, :-1]
    names = [feature.name for feature in model.manifest.features]
    origins = [origin for _, origin in model.manifest.encoded_features]
    member = np.array([[origin == name for name in names] for origin in origins], dtype=np.float64)
    by_feature = np.einsum("nij,ia,jb->nab", raw, member, member, optimize=True)
    strength = 2.0 * np.abs(by_feature).mean(axis=0)
    pairs = [Interaction(names[a], names[b], float(strength[a, b])) for a in range(len(names)) for b in range(a)]
    return sorted(pairs, key=lambda pair: (-pair.strength, pair.first, pair.second))


def _booster(model: "ScoringModel", encoded: "np.ndarray", **what: bool) -> "np.ndarray":
    """Asks the booster, by position: XGBoost refuses names with a bracket or `<`, which a category may hold."""
    import numpy as np
    import xgboost

    answer = model.estimator.predict(xgboost.DMatrix(encoded), validate_features=False, **what)
    return np.asarray(answer, dtype=np.float64)


def _mean(encoded: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return encoded.sum(axis=0, dtype=np.float64) / len(encoded)
