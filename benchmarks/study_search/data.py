"""Generated rows of the kind that patients' histories give, and the space that all arms search."""

from pathlib import Path
from typing import Any, NamedTuple

COLUMNS = 30
EARLY_STOPPING_ROUNDS = 30
SPACE: dict[str, Any] = {
    "n_estimators": {"low": 100, "high": 1000},
    "max_depth": {"low": 3, "high": 10},
    "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
    "subsample": {"low": 0.5, "high": 1.0},
    "colsample_bytree": {"low": 0.5, "high": 1.0},
    "min_child_weight": {"low": 1, "high": 20},
    "reg_alpha": {"low": 1.0e-8, "high": 10.0, "log": True},
    "reg_lambda": {"low": 1.0e-8, "high": 10.0, "log": True},
}
"""The product's default space of XGBoost."""


class Rows(NamedTuple):
    """Features (rows, 30) of float32 and outcomes (rows,), per split."""

    x: Any
    y: Any
    x_validation: Any
    y_validation: Any
    x_test: Any
    y_test: Any


def write(path: Path, rows: int) -> None:
    """Writes rows for learning, a tenth as many to judge trials by, and a quarter as many to judge the result by.

    The columns are what patients' rows are made of: twelve flags, ten counts and eight measurements, one value in 20
    missing. A third of them matter, by slopes, thresholds and two interactions.
    """
    import numpy as np

    rng = np.random.default_rng(7)
    total = rows + rows // 10 + rows // 4
    flags = (rng.random((total, 12)) < np.linspace(0.05, 0.5, 12)).astype(np.float32)
    counts = rng.poisson(np.linspace(0.5, 6, 10), size=(total, 10)).astype(np.float32)
    measured = rng.normal(size=(total, 8)).astype(np.float32)
    logit = -1.6 + flags[:, [1, 4, 7, 10]] @ np.array([0.9, -0.7, 0.6, 0.4], np.float32)
    logit += 0.25 * np.minimum(counts[:, 3], 4) - 0.3 * (counts[:, 6] > 4)
    logit += 0.5 * measured[:, 0] + 0.4 * (measured[:, 1] > 0.5)
    logit += 0.6 * flags[:, 11] * (counts[:, 8] > 5) + 0.3 * measured[:, 2] * flags[:, 10]
    y = (rng.random(total) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    x = np.concatenate([flags, counts, measured], axis=1)
    x[rng.random(x.shape) < 0.05] = np.nan
    np.savez(path, x=x, y=y, rows=rows)


def read(path: Path) -> Rows:
    """Reads what `write` wrote."""
    import numpy as np

    with np.load(path) as kept:
        x, y, rows = kept["x"], kept["y"], int(kept["rows"])
    until = rows + rows // 10
    return Rows(x[:rows], y[:rows], x[rows:until], y[rows:until], x[until:], y[until:])
