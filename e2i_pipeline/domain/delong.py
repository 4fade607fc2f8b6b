"""How certain an AUC is, and whether two of the same rows differ: by its structural components, without resampling.

DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, 837-845, by midranks (Sun and Xu, 2014). Rows of one patient
are no independent rows: with clusters given, the variance is that of Obuchowski (1997), Biometrics 53, 567-578, which
is DeLong's where every cluster is one row.
"""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.evaluation import Interval
from e2i_pipeline.domain.metrics import checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike


class PairedTest(NamedTuple):
    """Two AUCs on the same rows: their difference (first minus second) with interval, and a two-sided p-value."""

    first: float
    second: float
    gain: Interval
    p_value: float


class _Components(NamedTuple):
    """Of one score: its AUC, and per row the share of the other class that it is ranked rightly against."""

    auc: float
    shares: "np.ndarray"


def auc_interval(
    y: "ArrayLike", p: "ArrayLike", confidence: float = 0.95, clusters: "np.ndarray | None" = None
) -> Interval:
    """The AUC with its interval, made on the log-odds scale so that it stays within 0 and 1.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Scores (rows,), 0..1.
        confidence: Of the interval, 0..1.
        clusters: Which patient each row is of (rows,); None takes the rows as independent.

    Returns:
        All None with one class only. Where no row is ranked wrongly (or all are) the variance is 0 and says nothing:
        the interval is then that of a perfect ranking of as few rows, by the rule of three (Hanley and Lippman-Hand,
        1983) on the smaller class.

    Raises:
        ValueError: As for `metrics.evaluate`.
    """
    outcome, score = checked(y, p)
    found = _components(outcome, score)
    if found is None:
        return Interval(estimate=None, low=None, high=None)
    few = min(float(outcome.sum()), len(outcome) - float(outcome.sum()))
    if found.auc in (0.0, 1.0):
        reach = 1 - (1 - confidence) ** (1 / few)
        low, high = (1 - reach, 1.0) if found.auc else (0.0, reach)
        return Interval(estimate=found.auc, low=low, high=high)
    error = math.sqrt(_variance(outcome, found.shares, found.auc, clusters))
    width = NormalDist().inv_cdf((1 + confidence) / 2) * error / (found.auc * (1 - found.auc))
    middle = math.log(found.auc / (1 - found.auc))
    return Interval(estimate=found.auc, low=_expit(middle - width), high=_expit(middle + width))


def compare_aucs(
    y: "ArrayLike",
    first: "ArrayLike",
    second: "ArrayLike",
    confidence: float = 0.95,
    clusters: "np.ndarray | None" = None,
) -> PairedTest | None:
    """Whether two scores of the same rows rank differently well.

    Args:
        y: Outcomes (rows,), 0 or 1.
        first: Scores (rows,), 0..1.
        second: Other scores of the same rows.
        confidence: Of the interval of the difference, 0..1.
        clusters: As for `auc_interval`.

    Returns:
        None with one class only. Scores that rank alike give a difference of 0 and a p-value of 1.

    Raises:
        ValueError: As for `metrics.evaluate`.
    """
    outcome, ours = checked(y, first)
    _, theirs = checked(y, second)
    one, other = _components(outcome, ours), _components(outcome, theirs)
    if one is None or other is None:
        return None
    gain = one.auc - other.auc
    error = math.sqrt(_variance(outcome, one.shares - other.shares, gain, clusters))
    if error == 0:
        same = Interval(estimate=gain, low=gain, high=gain)
        return PairedTest(one.auc, other.auc, same, 1.0 if gain == 0 else 0.0)
    width = NormalDist().inv_cdf((1 + confidence) / 2) * error
    p_value = 2 * NormalDist().cdf(-abs(gain) / error)
    return PairedTest(one.auc, other.auc, Interval(estimate=gain, low=gain - width, high=gain + width), p_value)


def _components(outcome: "np.ndarray", score: "np.ndarray") -> _Components | None:
    import numpy as np

    positive = outcome == 1
    ups, downs = np.sort(score[positive]), np.sort(score[~positive])
    if not len(ups) or not len(downs):
        return None
    shares = np.empty(len(score))
    mine = score[positive]
    shares[positive] = (np.searchsorted(downs, mine, "left") + np.searchsorted(downs, mine, "right")) / (2 * len(downs))
    mine = score[~positive]
    below = (np.searchsorted(ups, mine, "left") + np.searchsorted(ups, mine, "right")) / (2 * len(ups))
    shares[~positive] = 1 - below
    return _Components(float(shares[positive].mean()), shares)


def _variance(outcome: "np.ndarray", shares: "np.ndarray", mean: float, clusters: "np.ndarray | None") -> float:
    """Variance of the mean of `shares` over positives, which equals that over negatives."""
    import numpy as np

    positive = outcome == 1
    ups, downs = int(positive.sum()), int((~positive).sum())
    centred = shares - mean
    if clusters is None:
        spread_up = float(np.sum(centred[positive] ** 2)) / max(ups - 1, 1)
        spread_down = float(np.sum(centred[~positive] ** 2)) / max(downs - 1, 1)
        return spread_up / ups + spread_down / downs
    _, member = np.unique(clusters, return_inverse=True)
    count = int(member.max()) + 1
    up = np.bincount(member, np.where(positive, centred, 0.0), count)
    down = np.bincount(member, np.where(positive, 0.0, centred), count)
    with_up, with_down = len(np.unique(member[positive])), len(np.unique(member[~positive]))
    spread_up = float(up @ up) * with_up / max(with_up - 1, 1)
    spread_down = float(down @ down) * with_down / max(with_down - 1, 1)
    both = float(up @ down) * count / max(count - 1, 1)
    return max(spread_up / ups**2 + spread_down / downs**2 + 2 * both / (ups * downs), 0.0)


def _expit(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
