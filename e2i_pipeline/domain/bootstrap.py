"""Confidence intervals by resampling patients: seeded, vectorized over resamples, the same for the same rows in order.

The percentile bootstrap (Efron and Tibshirani, 1993, chapter 13), with whole patients drawn with replacement, those
with and those without an outcome apart, so that no resample is of one class. A resample is how often each row counts,
so that scores are sorted once for all of them.
"""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.evaluation import Interval
from e2i_pipeline.domain.calibration import log_odds, recalibrate
from e2i_pipeline.domain.metrics import checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

MOST_CELLS = 100_000_000
"""Rows times resamples, at most: of very many rows fewer resamples are drawn, whose intervals are narrow anyway."""

FEWEST = 200
"""Resamples that are drawn at least; of fewer, the 2.5 % quantile would be one of the five outermost."""

_CHUNK_CELLS = 2_000_000  # 16 MB per array of a chunk
_EPSILON = 1e-15


class _Ranked(NamedTuple):
    """Rows by falling score: outcomes, scores, the last position of each tie, and the line that calibrates them."""

    outcome: "np.ndarray"
    score: "np.ndarray"
    ends: "np.ndarray"
    z: "np.ndarray"
    line: "np.ndarray"


def classification_intervals(
    y: "ArrayLike",
    p: "ArrayLike",
    capacity: float,
    threshold: float,
    *,
    seed: int,
    clusters: "np.ndarray | None" = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of the metrics of `metrics.evaluate` that a decision rests on.

    Args:
        y: Outcomes (rows,), 0 or 1; both classes must be there.
        p: Predicted probabilities (rows,), 0..1.
        capacity: Share of the rows that a team can act on, 0 < capacity < 1.
        threshold: Score at or above which a row is flagged.
        seed: Seed of the resamples, >= 0.
        clusters: Which patient each row is of (rows,); None takes the rows as independent.
        resamples: How many, >= 200; at most `MOST_CELLS` / rows are drawn.
        confidence: Of the intervals, 0..1.

    Returns:
        `auc`, `pr_auc`, `brier`, `log_loss`, `precision_at_k`, `lift_at_k`, `recall_at_k`, `fpr`,
        `calibration_slope`, `calibration_intercept`; empty with one class only. The expected calibration error has
        none: it is biased upwards, and more so in a resample.

    Raises:
        ValueError: As for `metrics.evaluate`.
    """
    import numpy as np

    outcome, score = checked(y, p)
    if not 0 < outcome.sum() < len(outcome):
        return {}
    order = np.argsort(-score, kind="stable")
    ranked = _ranked(outcome[order], score[order])
    drawn = [
        _statistics(weights[:, order], ranked, capacity, threshold)
        for weights in _weights(outcome, clusters, _affordable(resamples, len(outcome)), seed)
    ]
    whole = _statistics(np.ones((1, len(outcome))), ranked, capacity, threshold)
    return {
        name: _interval(float(values[0]), np.concatenate([part[name] for part in drawn]), confidence)
        for name, values in whole.items()
    }


def mean_interval(
    values: "np.ndarray", *, seed: int, clusters: "np.ndarray | None", resamples: int, confidence: float
) -> Interval:
    """The interval of a mean (rows,), e.g. of squared errors; arguments as above."""
    import numpy as np

    none = np.zeros(len(values))
    drawn = [
        (weights @ values) / weights.sum(axis=1)
        for weights in _weights(none, clusters, _affordable(resamples, len(values)), seed)
    ]
    return _interval(float(np.mean(values)), np.concatenate(drawn), confidence)


def slope_interval(
    outcome: "np.ndarray",
    predicted: "np.ndarray",
    *,
    seed: int,
    clusters: "np.ndarray | None",
    resamples: int,
    confidence: float,
) -> Interval:
    """The interval of the slope of outcome on prediction by least squares; arguments as above."""
    import numpy as np

    none, x = np.zeros(len(outcome)), predicted - predicted.mean()
    drawn: list[np.ndarray] = []
    resampled = _weights(none, clusters, _affordable(resamples, len(outcome)), seed)
    for weights in itertools.chain([np.ones((1, len(outcome)))], resampled):
        rows, across, up = weights.sum(axis=1), weights @ x, weights @ outcome
        spread = weights @ (x * x) - across**2 / rows
        both = weights @ (x * outcome) - across * up / rows
        drawn.append(np.divide(both, spread, out=np.full(len(rows), np.nan), where=spread > 0))
    return _interval(float(drawn[0][0]), np.concatenate(drawn[1:]), confidence)


def _affordable(resamples: int, rows: int) -> int:
    return max(FEWEST, min(resamples, MOST_CELLS // rows))


def _interval(estimate: float, drawn: "np.ndarray", confidence: float) -> Interval:
    import numpy as np

    finite = drawn[np.isfinite(drawn)]
    if not np.isfinite(estimate) or not len(finite):
        return Interval(estimate=None, low=None, high=None)
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate=estimate, low=float(low), high=float(high))


def _weights(outcome: "np.ndarray", clusters: "np.ndarray | None", resamples: int, seed: int) -> "Iterator[np.ndarray]":
    """How often each row counts, (resamples of a chunk, rows), chunk after chunk."""
    import numpy as np

    rows = len(outcome)
    member = np.arange(rows) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    count = int(member.max()) + 1
    has_outcome = np.bincount(member, outcome, count) > 0
    strata = [found for found in (np.flatnonzero(has_outcome), np.flatnonzero(~has_outcome)) if len(found)]
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK_CELLS // rows)
    for start in range(0, resamples, size):
        many = min(size, resamples - start)
        times = np.empty((many, count))
        for stratum in strata:
            n = len(stratum)
            places = rng.integers(0, n, (many, n)) + np.arange(many)[:, None] * n
            times[:, stratum] = np.bincount(places.ravel(), minlength=many * n).reshape(many, n)
        yield times if clusters is None else times[:, member]


def _ranked(outcome: "np.ndarray", score: "np.ndarray") -> _Ranked:
    import numpy as np

    ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    line = recalibrate(outcome, score)
    return _Ranked(outcome, score, ends, log_odds(score), np.array([line.intercept, line.slope]))


def _statistics(weights: "np.ndarray", ranked: _Ranked, capacity: float, threshold: float) -> "dict[str, np.ndarray]":
    """Each metric per resample, (resamples,); `weights` (resamples, rows) by falling score."""
    import numpy as np

    outcome, score = ranked.outcome, ranked.score
    hits = np.cumsum(weights * outcome, axis=1)[:, ranked.ends]
    flagged = np.cumsum(weights, axis=1)[:, ranked.ends]
    false, rows, positives = flagged - hits, flagged[:, -1], hits[:, -1]
    steps = np.diff(false, axis=1, prepend=0.0)
    before = np.concatenate([np.zeros((len(hits), 1)), hits[:, :-1]], axis=1)
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    k = np.maximum(1, np.floor(rows * capacity + 1e-9))
    among = np.array([_reached(*one) for one in zip(k, flagged, hits, strict=True)])
    clipped = np.clip(score, _EPSILON, 1 - _EPSILON)
    loss = -np.log(np.where(outcome == 1, clipped, 1 - clipped))
    is_false_alarm = (outcome == 0) & (score >= threshold)
    intercept, slope = _lines(weights, ranked)
    return {
        "auc": np.sum(steps * (hits + before), axis=1) / (2 * positives * (rows - positives)),
        "pr_auc": np.sum(np.diff(hits, axis=1, prepend=0.0) * precision, axis=1) / positives,
        "brier": weights @ (score - outcome) ** 2 / rows,
        "log_loss": weights @ loss / rows,
        "precision_at_k": among / k,
        "lift_at_k": among / k * rows / positives,
        "recall_at_k": among / positives,
        "fpr": weights @ is_false_alarm.astype(float) / (rows - positives),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }


def _reached(k: float, flagged: "np.ndarray", hits: "np.ndarray") -> float:
    """Positives among the top k rows; a tie at the cut counts by its own share."""
    import numpy as np

    at = int(np.searchsorted(flagged, k))
    rows_before, hits_before = (flagged[at - 1], hits[at - 1]) if at else (0.0, 0.0)
    within = flagged[at] - rows_before
    return float(hits_before + (hits[at] - hits_before) * (k - rows_before) / within) if within else float(hits_before)


def _lines(weights: "np.ndarray", ranked: _Ranked) -> "tuple[np.ndarray, np.ndarray]":
    """Intercept and slope per resample: two steps of Newton's method from the line of all rows.

    One step already agrees with the maximum to the order of 1 / rows, which is far within the interval.
    """
    import numpy as np

    z, many = ranked.z, len(weights)
    beta = np.tile(ranked.line, (many, 1))
    if not np.isfinite(ranked.line).all():
        return beta[:, 0], beta[:, 1]
    centre = float(z.mean())
    x = z - centre
    beta[:, 0] += beta[:, 1] * centre
    for is_first in (True, False):
        eta = beta[:1] if is_first else beta
        fitted = 1 / (1 + np.exp(-(eta[:, :1] + eta[:, 1:] * x)))
        miss = weights * (ranked.outcome - fitted)
        spread = weights * (fitted * (1 - fitted))
        a, b, d = spread.sum(axis=1), spread @ x, spread @ (x * x)
        up, across = miss.sum(axis=1), miss @ x
        determinant = a * d - b * b
        beta = beta + np.column_stack([d * up - b * across, a * across - b * up]) / determinant[:, None]
    return beta[:, 0] - beta[:, 1] * centre, beta[:, 1]
