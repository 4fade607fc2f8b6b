"""Worlds whose effects are known."""

from typing import NamedTuple

import numpy as np


class World(NamedTuple):
    """Rows with a binary treatment, and what is true of them; each array has shape (rows,), x (rows, 3)."""

    x: np.ndarray
    treatment: np.ndarray
    outcome: np.ndarray
    propensity: np.ndarray
    untreated: np.ndarray
    effect: np.ndarray


def binary_world(rows: int, seed: int = 0) -> World:
    """The effect is 1 + x0; x1 drives treatment and outcome."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    propensity = 1 / (1 + np.exp(-0.8 * x[:, 1]))
    treatment = (rng.random(rows) < propensity).astype(float)
    effect, untreated = 1 + x[:, 0], 2 * x[:, 1] + x[:, 2]
    return World(x, treatment, untreated + treatment * effect + rng.normal(size=rows), propensity, untreated, effect)


class DoseWorld(NamedTuple):
    """Rows with a continuous treatment, and what is true of them; each array has shape (rows,), x (rows, 2)."""

    x: np.ndarray
    treatment: np.ndarray
    outcome: np.ndarray
    expected: np.ndarray
    variance: np.ndarray
    effect: np.ndarray

    @property
    def treatment_residual(self) -> np.ndarray:
        """T - E[T|X]."""
        return self.treatment - self.expected

    @property
    def outcome_residual(self) -> np.ndarray:
        """Y - E[Y|X]."""
        return self.outcome - (self.effect * self.expected + 3 * self.x[:, 1])


def dose_world(rows: int, seed: int = 0, strength: float = 0.5) -> DoseWorld:
    """The effect of a point is strength + 0.3 * x0, where the treatment varies more; x1 drives both."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    expected, variance = 4 + x[:, 1], np.exp(0.5 * x[:, 0])
    treatment = expected + np.sqrt(variance) * rng.normal(size=rows)
    effect = strength + 0.3 * x[:, 0]
    outcome = effect * treatment + 3 * x[:, 1] + rng.normal(size=rows)
    return DoseWorld(x, treatment, outcome, expected, variance, effect)
