"""XGBoost: gradient-boosted trees by histogram, kept as UBJ.

What an algorithm is stands in `base`.
"""

# XGBoost's types are partial.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from e2i_pipeline.domain.learners.base import (
    CLASSIFICATION,
    DEFAULT_METRICS,
    LOOK,
    REGRESSION,
    STEP,
    TREE,
    Algorithm,
    Contributions,
    Fit,
    OnStep,
    Parameters,
    Watch,
    rounds_per_step,
    worthwhile_threads,
)
from e2i_pipeline.errors import ToolRejected

if TYPE_CHECKING:
    import numpy as np

DISTRIBUTIONS = ("xgboost-cpu", "xgboost")
"""The CPU build and the usual one are the same module: one of them is installed."""


class XGBoost(Algorithm):
    """Gradient-boosted trees (Chen and Guestrin, 2016), by histogram: its trees do not depend on the thread count.

    The booster carries no feature names, because XGBoost refuses some characters (`<`, `[`) that a category may have;
    `ModelManifest.encoded_features` names its columns.
    """

    name = "xgboost"
    problem_types = (CLASSIFICATION, REGRESSION)
    file_role = "booster"
    file_name = "booster.ubj"
    explainer = TREE
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
    classification_only = ("scale_pos_weight",)
    has_interactions = True
    module = "xgboost"
    distributions = (DISTRIBUTIONS,)

    max_bin = 256  # XGBoost's default, fixed: a quantized matrix is shared by all trials of a study
    default_rounds = 200
    metrics: ClassVar[dict[str, tuple[str, bool]]] = {
        "auc": ("auc", True),
        "log_loss": ("logloss", False),
        "rmse": ("rmse", False),
        "mae": ("mae", False),
    }
    objectives: ClassVar[dict[str, str]] = {CLASSIFICATION: "binary:logistic", REGRESSION: "reg:squarederror"}

    def matrix(
        self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True, categories: Sequence[int] = ()
    ) -> Any:
        """A `QuantileDMatrix` for learning, a `DMatrix` for validation."""
        import xgboost

        used = worthwhile_threads(threads, len(x))
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
        metric: str | None = None,
        early_stopping_rounds: int | None = None,
        on_step: OnStep | None = None,
        problem_type: str = CLASSIFICATION,
    ) -> Fit:
        """See `Algorithm.fit`. The booster is cut after its best round, which becomes `n_estimators`."""
        import xgboost

        tried = dict(parameters)
        rounds = int(tried.pop("n_estimators", None) or self.default_rounds)
        eval_metric, is_maximized = self.metrics[metric or DEFAULT_METRICS[problem_type]]
        watch = Watch(is_maximized, early_stopping_rounds)
        reports = _Reports(on_step, rounds_per_step(tried), train.num_row())
        booster = xgboost.train(
            {
                **tried,
                "objective": self.objectives[problem_type],
                "eval_metric": eval_metric,
                "tree_method": "hist",
                "max_bin": self.max_bin,
                "seed": seed,
                "nthread": worthwhile_threads(threads, train.num_row()),
                "verbosity": 0,
            },
            train,
            rounds,
            callbacks=[] if validation is None else [_watcher(watch, validation, rounds, reports)],
            verbose_eval=False,
        )
        if validation is not None and early_stopping_rounds:
            booster = booster[: watch.best_rounds]
        return Fit(_one_threaded(booster), {**parameters, "n_estimators": booster.num_boosted_rounds()})

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        return estimator.inplace_predict(x)

    def margins(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.margins`."""
        return ask(estimator, x, output_margin=True)

    def contributions(self, estimator: Any, x: "np.ndarray", reference: "np.ndarray") -> Contributions:
        """The booster's own path attributions: the numbers of `shap.TreeExplainer`."""
        answer = ask(estimator, x, pred_contribs=True)  # its last column is the base value
        return Contributions(answer[:, :-1], float(answer[0, -1]))

    def interactions(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.interactions`."""
        return ask(estimator, x, pred_interactions=True)[:, :-1, :-1]

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


def ask(booster: Any, x: "np.ndarray", **what: bool) -> "np.ndarray":
    """Asks a booster, by position: XGBoost refuses names with a bracket or `<`, which a category may hold.

    Args:
        booster: An `xgboost.Booster`.
        x: Encoded matrix (rows, columns).
        what: What `Booster.predict` is to give.

    Returns:
        Its answer as float64.
    """
    import numpy as np
    import xgboost

    return np.asarray(booster.predict(xgboost.DMatrix(x), validate_features=False, **what), dtype=np.float64)


def _one_threaded(booster: Any) -> Any:
    """Scores on one thread: a row takes 0.13 ms so, while several, meeting on a busy core, took 24 ms (p99)."""
    booster.set_param({"nthread": 1})
    return booster


class _Reports(NamedTuple):
    """Whom a fit reports to, if anybody, every how many rounds, and on how many rows it learns."""

    on_step: OnStep | None
    every: int
    rows: int

    def is_due(self, rounds: int) -> bool:
        return self.on_step is not None and rounds % self.every == 0

    def report(self, rounds: int, value: float) -> int | None:
        """Reports, and says on how many threads to go on, if on others."""
        threads = self.on_step(rounds // self.every * STEP, value) if self.on_step else None
        return threads and worthwhile_threads(threads, self.rows)


def _watcher(watch: Watch, validation: Any, until: int, reports: _Reports) -> Any:
    """An XGBoost callback that looks at the validation metric every `LOOK` rounds, for each report and after the last.

    XGBoost's own evaluation looks after each round.
    """
    from xgboost.callback import TrainingCallback

    class Watcher(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            rounds = epoch + 1
            is_due = reports.is_due(rounds)
            if rounds % LOOK and rounds < until and not is_due:
                return False
            value = float(model.eval(validation).rpartition(":")[2])
            threads = reports.report(rounds, value) if is_due else None
            if threads:
                model.set_param({"nthread": threads})
            return watch.is_enough(rounds, value)

    return Watcher()
