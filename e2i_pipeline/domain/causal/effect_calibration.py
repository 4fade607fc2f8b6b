"""Whether predicted effects mean what they say: by groups of predicted effect, and by the best linear predictor."""

from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.domain.causal.estimates import Estimate, average, error_of, group_count

if TYPE_CHECKING:
    import numpy as np


class EffectGroup(NamedTuple):
    """Rows whose predicted effects are alike.

    Attributes:
        share: Of all rows, 0..1.
        predicted: Mean predicted effect.
        found: Average effect by the scores, with its interval.
    """

    share: float
    predicted: float
    found: Estimate


class EffectCalibration(NamedTuple):
    """Predicted against found effects.

    Attributes:
        groups: By rising predicted effect.
        r_squared: 1 where the groups' effects are as predicted, 0 where predicting the average effect for everybody
            would be as good, below 0 where it would be better; NaN where all groups have the average effect.
    """

    groups: tuple[EffectGroup, ...]
    r_squared: float


def calibrate_effects(
    scores: "np.ndarray",
    predicted: "np.ndarray",
    reference: "np.ndarray",
    bins: int = 4,
    groups: "np.ndarray | None" = None,
) -> EffectCalibration:
    """The calibration score of Dwivedi et al. (2020), Stable Discovery of Interpretable Subgroups, as in EconML.

    Args:
        scores: Doubly robust scores (rows,).
        predicted: Predicted effects (rows,).
        reference: Predicted effects of the rows that the model was fitted on (any number,): their quantiles cut the
            groups, so that the evaluated rows have no say in it.
        bins: Groups to make, >= 2; equal predictions share a group, so there may be fewer.
        groups: (rows,), whole numbers from 0, what is independent of each other; None: each row.
    """
    import numpy as np

    cuts = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(cuts, predicted, side="left")
    found: list[EffectGroup] = []
    for index in range(len(cuts) + 1):
        is_in = place == index
        if is_in.any():
            mean = average(scores[is_in], None if groups is None else groups[is_in])
            found.append(EffectGroup(float(is_in.mean()), float(predicted[is_in].mean()), mean))
    overall = scores.mean()
    off = sum(g.share * abs(g.found.value - g.predicted) for g in found)
    spread = sum(g.share * abs(g.found.value - overall) for g in found)
    return EffectCalibration(tuple(found), float(1 - off / spread) if spread else float("nan"))


def best_linear_predictor(
    scores: "np.ndarray", predicted: "np.ndarray", groups: "np.ndarray | None" = None
) -> Estimate | None:
    """The slope of the scores on the predicted effects: 1 where the spread is right, 0 where there is nothing in it.

    Chernozhukov, Demirer, Duflo and Fernandez-Val (2018), Generic Machine Learning Inference on Heterogeneous
    Treatment Effects; the standard error is robust to unequal variances and to dependence within groups.

    Args:
        scores: Doubly robust scores (rows,).
        predicted: Predicted effects (rows,).
        groups: As for `calibrate_effects`.

    Returns:
        The slope; None where all predictions are the same.
    """
    import numpy as np

    centred: np.ndarray = predicted - predicted.mean()
    variance = float(np.mean(centred**2))
    if variance <= np.finfo(float).eps * max(1.0, float(np.mean(predicted**2))):
        return None
    slope = float(np.mean(centred * scores)) / variance
    residual: np.ndarray = scores - scores.mean() - slope * centred
    rows = len(scores)
    return Estimate(slope, error_of(centred * residual / variance, groups), rows, group_count(rows, groups))
