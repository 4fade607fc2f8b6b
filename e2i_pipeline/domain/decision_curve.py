"""What acting on a score is worth against acting on everybody or nobody: the decision curve.

Vickers and Elkin (2006), Medical Decision Making 26, 565-574. Who acts from a probability t on weighs a false alarm as
t / (1 - t) of a hit; the net benefit is hits minus weighted false alarms, per row.
"""

from typing import TYPE_CHECKING

from e2i_pipeline.domain.metrics import checked, cumulated

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

POINTS = 99
"""Thresholds, at most: each per cent."""


def decision_curve(y: "ArrayLike", p: "ArrayLike", points: int = POINTS) -> dict[str, list[float]]:
    """Net benefit by threshold probability.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: Predicted probabilities (rows,), 0..1: calibrated, or the thresholds mean nothing.
        points: Thresholds, >= 2, evenly from 0 (excluded) up to the highest prediction or twice the base rate,
            whichever is higher, but below 1.

    Returns:
        `threshold`, and the net benefit of the `model` and of treating `all`, as equally long lists; that of treating
        nobody is 0.

    Raises:
        ValueError: As for `metrics.evaluate`.
    """
    import numpy as np

    outcome, score = checked(y, p)
    rows, rate = len(outcome), float(outcome.mean())
    end = min(max(float(score.max()), 2 * rate, 0.02), 0.99)
    thresholds = np.linspace(0, end, points + 1)[1:]
    hits, flagged = cumulated(outcome, score)
    falling = np.unique(score)[::-1]
    at = np.searchsorted(-falling, -thresholds, side="right")  # distinct scores at or above each threshold
    hit = np.concatenate([[0.0], hits])[at]
    false = np.concatenate([[0.0], flagged - hits])[at]
    odds = thresholds / (1 - thresholds)
    return {
        "threshold": thresholds.tolist(),
        "model": ((hit - false * odds) / rows).tolist(),
        "all": (rate - (1 - rate) * odds).tolist(),
    }
