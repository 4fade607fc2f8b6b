"""Whether an effect model ranks people rightly: the targeting operator characteristic, AUTOC and Qini.

Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), Evaluating Treatment Prioritization Rules via Rank-Weighted
Average Treatment Effects, JASA 120: TOC(u) is the average effect among the share u with the highest priorities minus
that of everybody; AUTOC is its integral over u from 0 to 1, Qini that of u * TOC(u). Both are 0 for a ranking by
chance. The priorities must come from a model that did not see the rows.
"""

from typing import TYPE_CHECKING, Literal, NamedTuple

from e2i_pipeline.domain.causal.estimates import Estimate, error_of, group_count

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["autoc", "qini"]


class Curve(NamedTuple):
    """The targeting operator characteristic at some shares.

    Attributes:
        share: Share (points,) of the rows, by falling priority, 0..1, rising.
        gain: TOC (points,): average effect of this share beyond that of everybody.
        low: Lower end (points,) of its interval of 95 %.
        high: Upper end.
    """

    share: "np.ndarray"
    gain: "np.ndarray"
    low: "np.ndarray"
    high: "np.ndarray"


def rank_weighted_effect(
    scores: "np.ndarray", priorities: "np.ndarray", kind: Kind, groups: "np.ndarray | None" = None
) -> Estimate:
    """AUTOC or Qini with its standard error by the influence function.

    Rows of equal priority share their weight, so the order of rows decides nothing, and a constant priority gives 0.

    Args:
        scores: Doubly robust scores (rows,).
        priorities: Predicted effects (rows,); the highest come first.
        kind: `autoc` looks at the first few, `qini` at the broad ranking.
        groups: (rows,), whole numbers from 0, what is independent of each other; None: each row.

    Returns:
        On the scale of the scores.
    """
    import numpy as np

    rows = len(scores)
    order = np.argsort(-priorities, kind="stable")
    rank_weight = _weights(rows, kind)
    weight = np.empty(rows)
    weight[order] = _shared_by_ties(rank_weight, priorities[order])
    value = float(weight @ scores / rows)
    centred: np.ndarray = scores - scores.mean()  # a constant changes nothing: it is left out of both parts
    influence = weight * centred - value + _through_ranks(centred, order, kind)
    return Estimate(value, error_of(influence - influence.mean(), groups), rows, group_count(rows, groups))


def targeting_curve(
    scores: "np.ndarray", priorities: "np.ndarray", points: int = 50, groups: "np.ndarray | None" = None
) -> Curve:
    """The targeting operator characteristic at equidistant shares.

    Args:
        scores: Doubly robust scores (rows,).
        priorities: Predicted effects (rows,).
        points: Shares to look at, the last of which is 1.
        groups: As for `rank_weighted_effect`.
    """
    import numpy as np

    from e2i_pipeline.domain.causal.estimates import Z_95

    rows, mean = len(scores), scores.mean()
    order = np.argsort(-priorities, kind="stable")
    share = np.linspace(1 / points, 1, points)
    gain, error = np.empty(points), np.empty(points)
    is_in = np.empty(rows)
    for index, u in enumerate(share):
        first = max(1, round(u * rows))
        is_in[order] = _shared_by_ties((np.arange(rows) < first).astype(float), priorities[order])
        gain[index] = is_in @ scores / first - mean
        # Of a mean over a part of the rows: each moves it by its distance from it, over the part's share.
        influence = is_in * rows / first * (scores - gain[index] - mean) - (scores - mean)
        error[index] = error_of(influence - influence.mean(), groups)
    return Curve(share, gain, gain - Z_95 * error, gain + Z_95 * error)


def _weights(rows: int, kind: Kind) -> "np.ndarray":
    """Weight of the row at each rank, so that their mean product with the scores is the integral."""
    import numpy as np

    rank = np.arange(1, rows + 1)
    if kind == "qini":  # mean over j of j/n * (mean of the first j - mean of all)
        return (rows - rank + 1) / rows - (rows + 1) / (2 * rows)
    return np.cumsum((1 / rank)[::-1])[::-1] - 1


def _shared_by_ties(weight: "np.ndarray", sorted_priorities: "np.ndarray") -> "np.ndarray":
    import numpy as np

    starts = np.flatnonzero(np.diff(sorted_priorities, prepend=np.nan) != 0)
    sizes = np.diff(np.append(starts, len(weight)))
    return np.repeat(np.add.reduceat(weight, starts) / sizes, sizes)


def _through_ranks(centred: "np.ndarray", order: "np.ndarray", kind: Kind) -> "np.ndarray":
    """What a row moves by its place in the ranking: it shifts the weights of the rows behind it.

    The weight is w(F) of a row's rank share F; a further row adds its indicator of standing before, so its part is
    the mean over the rows behind it of w'(F) times their centred score.
    """
    import numpy as np

    rows = len(centred)
    share = (np.arange(1, rows + 1) - 0.5) / rows
    slope = np.full(rows, -1.0) if kind == "qini" else -1 / share
    behind = np.empty(rows)
    shifted = centred[order] * slope / rows
    behind[order] = np.cumsum(shifted[::-1])[::-1]
    return behind - behind.mean()
