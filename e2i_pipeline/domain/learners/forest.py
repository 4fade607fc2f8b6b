"""Forests of scikit-learn, kept as skops archives.

How a forest is explained stands in `forest_trees`, what an algorithm is in `base`.
"""

# scikit-learn ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.domain.learners.base import (
    CLASSIFICATION,
    REGRESSION,
    TREE,
    Algorithm,
    Contributions,
    Fit,
    OnStep,
    Parameters,
)
from e2i_pipeline.domain.learners.forest_trees import as_booster
from e2i_pipeline.domain.learners.xgboost import DISTRIBUTIONS as XGBOOST
from e2i_pipeline.domain.learners.xgboost import ask
from e2i_pipeline.domain.native_files import dump_object, load_object

if TYPE_CHECKING:
    import numpy as np

TRUSTED_TYPES = ("sklearn.tree._tree.Tree",)
"""A tree's arrays, rebuilt by scikit-learn's own constructor and state, which checks their types and shapes."""


class RandomForest(Algorithm):
    """A random forest (Breiman, 2001); nulls stay, and each category has a column.

    Its probability is the mean over trees, so that is what an explanation takes apart, and not log-odds.
    """

    name = "random_forest"
    problem_types = (CLASSIFICATION, REGRESSION)
    file_role = "estimator"
    file_name = "estimator.skops"
    explainer = TREE
    takes_nulls = True
    tunable = (
        "n_estimators",
        "max_depth",
        "max_features",
        "max_leaf_nodes",
        "max_samples",
        "min_samples_leaf",
        "min_samples_split",
        "min_impurity_decrease",
        "ccp_alpha",
        "criterion",
        "bootstrap",
        "class_weight",
    )
    classification_only = ("class_weight",)
    has_interactions = True
    distributions = (XGBOOST,)

    default_trees = 200

    def estimator(self, problem_type: str) -> Any:
        """The class to fit."""
        from sklearn import ensemble

        is_classifier = problem_type == CLASSIFICATION
        return ensemble.RandomForestClassifier if is_classifier else ensemble.RandomForestRegressor

    def unit(self, problem_type: str) -> str:
        """See `Algorithm.unit`."""
        return "probability" if problem_type == CLASSIFICATION else "outcome"

    def matrix(
        self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True, categories: Sequence[int] = ()
    ) -> Any:
        """The pair (x, y)."""
        return x, y

    def fit(
        self,
        parameters: Parameters,
        train: Any,
        validation: Any = None,
        *,
        seed: int,
        threads: int,
        metric: str | None = None,
        early_stopping_rounds: int | None = None,
        on_step: OnStep | None = None,
        problem_type: str = CLASSIFICATION,
    ) -> Fit:
        """See `Algorithm.fit`. Each tree has a seed of its own, so that threads change nothing."""
        chosen: dict[str, Any] = {"n_estimators": self.default_trees, **parameters}
        estimator = self.estimator(problem_type)(**chosen, random_state=seed % 2**32, n_jobs=threads).fit(*train)
        estimator.n_jobs = None  # several threads would add up the trees in any order
        return Fit(estimator, dict(parameters))

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        if hasattr(estimator, "predict_proba"):
            return estimator.predict_proba(x)[:, 1]
        return estimator.predict(x)

    def margins(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.margins`."""
        return self.score(estimator, x.astype("float32"))

    def contributions(self, estimator: Any, x: "np.ndarray", reference: "np.ndarray") -> Contributions:
        """Exact path-dependent tree SHAP: the numbers of `shap.TreeExplainer`."""
        answer = ask(as_booster(estimator), x, pred_contribs=True)
        return Contributions(answer[:, :-1], float(answer[0, -1]))

    def interactions(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.interactions`."""
        return ask(as_booster(estimator), x, pred_interactions=True)[:, :-1, :-1]

    def dump(self, estimator: Any) -> bytes:
        """A skops archive."""
        return dump_object(estimator)

    def load(self, data: bytes) -> Any:
        """See `Algorithm.load`."""
        return load_object(data, self.file_name, TRUSTED_TYPES)
