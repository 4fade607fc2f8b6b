"""The learning algorithms of this product, a module per family; which name means which stands in `algorithms`."""

from e2i_pipeline.domain.learners.base import (
    CLASSIFICATION,
    LINEAR,
    REGRESSION,
    ROWS_PER_THREAD,
    STEP,
    TREE,
    Algorithm,
    Fit,
    OnStep,
    Parameters,
    Watch,
    tree_depth,
)
from e2i_pipeline.domain.learners.catboost import CatBoost
from e2i_pipeline.domain.learners.forest import RandomForest
from e2i_pipeline.domain.learners.lightgbm import LightGBM
from e2i_pipeline.domain.learners.linear import Lasso, LinearRegression, LogisticRegression, Ridge
from e2i_pipeline.domain.learners.xgboost import XGBoost

__all__ = [
    "CLASSIFICATION",
    "LINEAR",
    "REGRESSION",
    "ROWS_PER_THREAD",
    "STEP",
    "TREE",
    "Algorithm",
    "CatBoost",
    "Fit",
    "Lasso",
    "LightGBM",
    "LinearRegression",
    "LogisticRegression",
    "OnStep",
    "Parameters",
    "RandomForest",
    "Ridge",
    "Watch",
    "XGBoost",
    "tree_depth",
]
