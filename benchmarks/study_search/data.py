"""Generated rows with a dependence that boosting has to search for, and the space that all arms search."""

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
    """Writes rows for learning, a quarter as many to judge trials by, and as many again to judge the result by."""
    import numpy as np

    rng = np.random.default_rng(7)
    total = rows + 2 * (rows // 4)
    x = rng.normal(size=(total, COLUMNS)).astype(np.float32)
    linear = x[:, :8] @ np.linspace(0.5, 0.1, 8, dtype=np.float32)
    logit = linear + 0.6 * x[:, 8] * x[:, 9] + 0.8 * (np.abs(x[:, 10]) < 0.7) + 0.5 * np.sin(2 * x[:, 11]) - 1.5
    y = (rng.random(total) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    x[rng.random(x.shape) < 0.05] = np.nan
    np.savez(path, x=x, y=y, rows=rows)


def read(path: Path) -> Rows:
    """Reads what `write` wrote."""
    import numpy as np

    with np.load(path) as kept:
        x, y, rows = kept["x"], kept["y"], int(kept["rows"])
    until = rows + rows // 4
    return Rows(x[:rows], y[:rows], x[rows:until], y[rows:until], x[until:], y[until:])
