"""Modelling rows with a known dependence: 30 numbers, some of them null, and an outcome."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COLUMNS = 30
PARAMETERS = {"n_estimators": 100, "max_depth": 6, "learning_rate": 0.1}
SEED = 7


def made(rows: int, seed: int) -> "tuple[pd.DataFrame, np.ndarray]":
    """Features (rows, 30) of float64 and outcomes (rows,) of float64, 0 or 1, about a third of them 1."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    values = rng.normal(size=(COLUMNS, rows))
    log_odds = values[0] + 0.7 * values[1] * (values[2] > 0) - 0.5 * np.abs(values[3]) + 0.3 * values[4] - 0.6
    outcome = (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    for column in range(5, 10):
        values[column, rng.random(rows) < 0.05] = np.nan
    return pd.DataFrame({f"x{i:02}": values[i] for i in range(COLUMNS)}), outcome


def validation(rows: int) -> "tuple[pd.DataFrame, np.ndarray]":
    """A fifth as many rows, to set threshold and calibration on."""
    return made(rows // 5, SEED + 1)
