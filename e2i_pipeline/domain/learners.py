"""What a learning algorithm is to this product, and each one that we have, on an encoded matrix.

Which of them a name means, and what a model is beside its estimator, stands in `algorithms`. A further one (LightGBM,
CatBoost, a regression) is a class here and an entry there.
"""

# scikit-learn and threadpoolctl ship no types, XGBoost's are partial.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from e2i_pipeline.domain.native_files import dump_object, load_object
from e2i_pipeline.errors import ToolRejected

if TYPE_CHECKING:
    import numpy as np

Parameters = Mapping[str, bool | int | float | str | None]
OnStep = Callable[[int, float], None]
"""Called with (boosting rounds done, validation metric); what it raises ends the fit."""


class Fit(NamedTuple):
    """A fitted estimator and the parameters that fit it again without a validation set."""

    estimator: Any
    parameters: dict[str, bool | int | float | str | None]


class Algorithm(ABC):
    """One learning algorithm.

    Attributes:
        name: Name in the configuration.
        problem_types: `classification`, `regression`.
        file_role: Role of its native file in the manifest.
        file_name: Name of that file.
        explainer: `tree` or `linear`.
        takes_nulls: Whether NaN may stay in the matrix.
        is_incremental: Whether a fit reports its validation metric on the way, so that it can be pruned.
        tunable: Parameters that a search space may name.
    """

    name: ClassVar[str]
    problem_types: ClassVar[tuple[str, ...]]
    file_role: ClassVar[str]
    file_name: ClassVar[str]
    explainer: ClassVar[str]
    takes_nulls: ClassVar[bool]
    is_incremental: ClassVar[bool]
    tunable: ClassVar[tuple[str, ...]]

    @abstractmethod
    def matrix(self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True) -> Any:
        """The algorithm's own form of a data set, made once and used by many fits.

        Args:
            x: Encoded matrix (rows, columns) of float32.
            y: Outcomes (rows,), 0 or 1.
            threads: Threads to use.
            is_train: Whether it is for learning, or for validation.
        """

    @abstractmethod
    def fit(
        self,
        parameters: Parameters,
        train: Any,
        validation: Any = None,
        *,
        seed: int,
        threads: int,
        metric: str = "auc",
        early_stopping_rounds: int | None = None,
        on_step: OnStep | None = None,
    ) -> Fit:
        """Fits an estimator; the same arguments give the same estimator, whatever `threads` is.

        Args:
            parameters: Hyperparameters, of `tunable`.
            train: What `matrix` made of the train split.
            validation: Likewise of the validation split; needed for early stopping and `on_step`.
            seed: Seed of everything random, >= 0.
            threads: Threads to use, >= 1.
            metric: `auc` or `log_loss`, on `validation`.
            early_stopping_rounds: Rounds without improvement after which an incremental fit ends.
            on_step: Called every `STEP` rounds of an incremental fit.
        """

    @abstractmethod
    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """Probabilities (rows,) of the positive class, 0..1, for an encoded matrix."""

    @abstractmethod
    def dump(self, estimator: Any) -> bytes:
        """The estimator in its native open format; the same bytes for the same estimator."""

    @abstractmethod
    def load(self, data: bytes) -> Any:
        """Reads what `dump` wrote.

        Raises:
            ToolRejected: The bytes are not such a file.
        """


STEP = 10
"""Boosting rounds between two reports of a trial: each report is a synchronous write of the study's storage."""

ROWS_PER_THREAD = 50_000
"""Rows that make another thread of boosting worth its while.

Threads meet after every tree level and wait there by spinning. On 12,000 rows two of them take 0.6 times as long as
one on a quiet machine, but 7 times as long on one where other work holds a core (100 trials: 178 s against 25 s).
"""


class XGBoost(Algorithm):
    """Gradient-boosted trees (Chen and Guestrin, 2016), by histogram: its trees do not depend on the thread count.

    The booster carries no feature names, because XGBoost refuses some characters (`<`, `[`) that a category may have;
    `ModelManifest.encoded_features` names its columns.
    """

    name = "xgboost"
    problem_types = ("classification",)
    file_role = "booster"
    file_name = "booster.ubj"
    explainer = "tree"
    takes_nulls = True
    is_incremental = True
    tunable = (
        "n_estimators",
        "max_depth",
        "max_leaves",
        "learning_rate",
        "subsample",
        "colsample_bytree",
        "colsample_bylevel",
        "colsample_bynode",
        "min_child_weight",
        "max_delta_step",
        "gamma",
        "reg_alpha",
        "reg_lambda",
        "scale_pos_weight",
        "grow_policy",
    )

    max_bin = 256  # XGBoost's default, fixed: a quantized matrix is shared by all trials of a study
    default_rounds = 200
    metrics: ClassVar[dict[str, tuple[str, bool]]] = {"auc": ("auc", True), "log_loss": ("logloss", False)}

    def matrix(self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True) -> Any:
        """A `QuantileDMatrix` for learning, a `DMatrix` for validation."""
        import xgboost

        used = _worthwhile(threads, len(x))
        if is_train:
            return xgboost.QuantileDMatrix(x, y, max_bin=self.max_bin, nthread=used)
        return xgboost.DMatrix(x, y, nthread=used)

    def fit(
        self,
        parameters: Parameters,
        train: Any,
        validation: Any = None,
        *,
        seed: int,
        threads: int,
        metric: str = "auc",
        early_stopping_rounds: int | None = None,
        on_step: OnStep | None = None,
    ) -> Fit:
        """See `Algorithm.fit`. The booster is cut after its best round, which becomes `n_estimators`."""
        import xgboost
        from xgboost.callback import EarlyStopping

        tried = dict(parameters)
        rounds = int(tried.pop("n_estimators", None) or self.default_rounds)
        eval_metric, is_maximized = self.metrics[metric]
        callbacks: list[Any] = []
        if validation is not None and early_stopping_rounds:
            callbacks.append(
                EarlyStopping(
                    rounds=early_stopping_rounds,
                    metric_name=eval_metric,
                    data_name="validation",
                    maximize=is_maximized,
                )
            )
        if validation is not None and on_step is not None:
            callbacks.append(_reporter(eval_metric, on_step))
        booster = xgboost.train(
            {
                **tried,
                "objective": "binary:logistic",
                "eval_metric": eval_metric,
                "tree_method": "hist",
                "max_bin": self.max_bin,
                "seed": seed,
                "nthread": _worthwhile(threads, train.num_row()),
                "verbosity": 0,
            },
            train,
            rounds,
            evals=[] if validation is None else [(validation, "validation")],
            callbacks=callbacks,
            verbose_eval=False,
        )
        if validation is not None and early_stopping_rounds:
            booster = booster[: booster.best_iteration + 1]
        return Fit(_one_threaded(booster), {**parameters, "n_estimators": booster.num_boosted_rounds()})

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        return estimator.inplace_predict(x)

    def dump(self, estimator: Any) -> bytes:
        """UBJ (universal binary JSON), XGBoost's own portable format."""
        return bytes(estimator.save_raw("ubj"))

    def load(self, data: bytes) -> Any:
        """See `Algorithm.load`."""
        import xgboost

        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(data))
        except xgboost.core.XGBoostError as err:
            raise ToolRejected(
                f"{self.file_name} was not loaded: it is not a whole XGBoost model in UBJ. Take the model's files from "
                "the registry again."
            ) from err
        return _one_threaded(booster)


class LogisticRegression(Algorithm):
    """Regularized logistic regression by scikit-learn, on imputed and standardized columns.

    Its coefficients are the same in every process, but another kind of CPU may move their last bits: BLAS brings
    kernels per kind (seen by setting OPENBLAS_CORETYPE).
    """

    name = "logistic_regression"
    problem_types = ("classification",)
    file_role = "estimator"
    file_name = "estimator.skops"
    explainer = "linear"
    takes_nulls = False
    is_incremental = False
    tunable = ("C", "l1_ratio", "class_weight", "max_iter")

    default_iterations = 1000

    def matrix(self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True) -> Any:
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
        metric: str = "auc",
        early_stopping_rounds: int | None = None,
        on_step: OnStep | None = None,
    ) -> Fit:
        """See `Algorithm.fit`. One thread whatever is asked: BLAS sums in another order on several."""
        from sklearn.linear_model import LogisticRegression as Estimator
        from threadpoolctl import threadpool_limits

        chosen: dict[str, Any] = {"max_iter": self.default_iterations, **parameters}
        solver = "saga" if chosen.get("l1_ratio") else "lbfgs"
        with threadpool_limits(limits=1):
            estimator = Estimator(**chosen, solver=solver, random_state=seed % 2**32).fit(*train)
        return Fit(estimator, dict(parameters))

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        return estimator.predict_proba(x.astype("float64"))[:, 1]

    def dump(self, estimator: Any) -> bytes:
        """A skops archive."""
        return dump_object(estimator)

    def load(self, data: bytes) -> Any:
        """See `Algorithm.load`."""
        return load_object(data, self.file_name)


def _worthwhile(threads: int, rows: int) -> int:
    return max(1, min(threads, rows // ROWS_PER_THREAD))


def _one_threaded(booster: Any) -> Any:
    """Scores on one thread: a row takes 0.13 ms so, while several, meeting on a busy core, took 24 ms (p99)."""
    booster.set_param({"nthread": 1})
    return booster


def _reporter(eval_metric: str, on_step: OnStep) -> Any:
    """An XGBoost callback that hands on the validation metric every `STEP` rounds."""
    from xgboost.callback import TrainingCallback

    class Reporter(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            rounds = epoch + 1
            if rounds % STEP == 0:
                on_step(rounds, float(evals_log["validation"][eval_metric][-1]))
            return False

    return Reporter()
