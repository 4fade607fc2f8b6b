"""Linear models by scikit-learn, on imputed and standardized columns, kept as skops archives.

Their coefficients are the same in every process, but another kind of CPU may move their last bits: BLAS brings kernels
per kind (seen by setting OPENBLAS_CORETYPE). What an algorithm is stands in `base`.
"""

# scikit-learn and threadpoolctl ship no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.domain.learners.base import (
    CLASSIFICATION,
    LINEAR,
    REGRESSION,
    Algorithm,
    Contributions,
    Fit,
    OnStep,
    Parameters,
)
from e2i_pipeline.domain.native_files import dump_object, load_object

if TYPE_CHECKING:
    import numpy as np

MAXIMUM_ITERATIONS = 1000
"""Iterations of a solver unless the search space says otherwise."""


class LinearModel(Algorithm):
    """A linear model of scikit-learn: how it is fitted, explained and kept. What it minimizes says `estimator`."""

    file_role = "estimator"
    file_name = "estimator.skops"
    explainer = LINEAR
    takes_nulls = False

    @abstractmethod
    def estimator(self, parameters: dict[str, Any], seed: int) -> Any:
        """The estimator to fit, of these parameters."""

    def matrix(
        self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True, categories: Sequence[int] = ()
    ) -> Any:
        """The pair (x, y); x as float64, in which the solver converges to its tolerance."""
        return x.astype("float64"), y

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
        """See `Algorithm.fit`. One thread whatever is asked: BLAS sums in another order on several."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            return Fit(self.estimator(dict(parameters), seed % 2**32).fit(*train), dict(parameters))

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        return estimator.predict(x.astype("float64"))

    def margins(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.margins`."""
        return self.score(estimator, x)

    def contributions(self, estimator: Any, x: "np.ndarray", reference: "np.ndarray") -> Contributions:
        """Coefficients times the distance from the reference: the numbers of `shap.LinearExplainer`."""
        import numpy as np

        weights = np.asarray(estimator.coef_, dtype=np.float64).ravel()
        base = float(np.ravel(estimator.intercept_)[0] + reference @ weights)
        return Contributions((x - reference) * weights, base)

    def dump(self, estimator: Any) -> bytes:
        """A skops archive."""
        return dump_object(estimator)

    def load(self, data: bytes) -> Any:
        """See `Algorithm.load`."""
        return load_object(data, self.file_name)


class LogisticRegression(LinearModel):
    """Regularized logistic regression."""

    name = "logistic_regression"
    problem_types = (CLASSIFICATION,)
    tunable = ("C", "l1_ratio", "class_weight", "max_iter")

    def estimator(self, parameters: dict[str, Any], seed: int) -> Any:
        """See `LinearModel.estimator`."""
        from sklearn.linear_model import LogisticRegression as Estimator

        solver = "saga" if parameters.get("l1_ratio") else "lbfgs"
        return Estimator(**_bounded(parameters), solver=solver, random_state=seed)

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        return estimator.predict_proba(x.astype("float64"))[:, 1]

    def margins(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.margins`."""
        return estimator.decision_function(x.astype("float64"))


class LinearRegression(LinearModel):
    """Ordinary least squares."""

    name = "linear_regression"
    problem_types = (REGRESSION,)
    tunable = ("fit_intercept", "positive")

    def estimator(self, parameters: dict[str, Any], seed: int) -> Any:
        """See `LinearModel.estimator`."""
        from sklearn.linear_model import LinearRegression as Estimator

        return Estimator(**parameters)


class Ridge(LinearModel):
    """Least squares with a penalty on the squared coefficients."""

    name = "ridge"
    problem_types = (REGRESSION,)
    tunable = ("alpha", "fit_intercept", "positive")

    def estimator(self, parameters: dict[str, Any], seed: int) -> Any:
        """See `LinearModel.estimator`."""
        from sklearn.linear_model import Ridge as Estimator

        return Estimator(**parameters, random_state=seed)


class Lasso(LinearModel):
    """Least squares with a penalty on the absolute coefficients, which leaves features out."""

    name = "lasso"
    problem_types = (REGRESSION,)
    tunable = ("alpha", "fit_intercept", "positive", "max_iter")

    def estimator(self, parameters: dict[str, Any], seed: int) -> Any:
        """See `LinearModel.estimator`."""
        from sklearn.linear_model import Lasso as Estimator

        return Estimator(**_bounded(parameters), random_state=seed)


def _bounded(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"max_iter": MAXIMUM_ITERATIONS, **parameters}
