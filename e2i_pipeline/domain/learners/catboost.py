"""CatBoost: gradient-boosted symmetric trees with ordered target statistics, kept as its binary model (`cbm`).

What an algorithm is stands in `base`. The package is the extra `catboost`. Its JSON model is not used: read back, it
scores differently in the last bits (seen with 1.2.10).
"""

# CatBoost ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from e2i_pipeline.domain.learners.base import (
    CLASSIFICATION,
    DEFAULT_METRICS,
    REGRESSION,
    STEP,
    TREE,
    Algorithm,
    Contributions,
    Fit,
    OnStep,
    Parameters,
    rounds_per_step,
)
from e2i_pipeline.errors import ToolRejected

if TYPE_CHECKING:
    import numpy as np


class CatBoost(Algorithm):
    """Gradient boosting that turns categories into target statistics (Prokhorenkova et al., 2018).

    A fit takes one thread whatever is asked: on two, CatBoost sums in another order, and the last bits of the leaves
    differ (seen with 1.2.10).
    """

    name = "catboost"
    problem_types = (CLASSIFICATION, REGRESSION)
    file_role = "booster"
    file_name = "booster.cbm"
    explainer = TREE
    takes_nulls = True
    takes_categories = True
    is_incremental = True
    tunable = (
        "n_estimators",
        "learning_rate",
        "depth",
        "l2_leaf_reg",
        "random_strength",
        "bootstrap_type",
        "bagging_temperature",
        "subsample",
        "rsm",
        "leaf_estimation_iterations",
        "one_hot_max_size",
        "max_ctr_complexity",
        "grow_policy",
        "min_data_in_leaf",
        "max_leaves",
        "scale_pos_weight",
        "auto_class_weights",
    )
    classification_only = ("scale_pos_weight", "auto_class_weights")
    has_interactions = True
    module = "catboost"
    extra = "catboost"
    distributions = (("catboost",),)

    border_count = 254  # CatBoost's default, fixed: a quantized pool is shared by all trials of a study
    # CatBoost would derive all but the first from the number of rounds, and a fit of the best rounds would be another
    # model: the last two are its choices for many rounds.
    defaults: ClassVar[dict[str, float]] = {"n_estimators": 200, "learning_rate": 0.1, "max_ctr_complexity": 4}
    leaf_steps: ClassVar[dict[str, int]] = {CLASSIFICATION: 10, REGRESSION: 1}
    metrics: ClassVar[dict[str, str]] = {"auc": "AUC", "log_loss": "Logloss", "rmse": "RMSE", "mae": "MAE"}
    losses: ClassVar[dict[str, str]] = {CLASSIFICATION: "Logloss", REGRESSION: "RMSE"}

    def matrix(
        self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True, categories: Sequence[int] = ()
    ) -> Any:
        """A `Pool`, quantized for learning."""
        rows = _pool(x, len(categories), y)
        if is_train:
            rows.quantize(border_count=self.border_count, task_type="CPU")
        return rows

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
        from catboost import CatBoost as Booster

        watched = self.metrics[metric or DEFAULT_METRICS[problem_type]]
        settings: dict[str, Any] = {
            **self.defaults,
            "leaf_estimation_iterations": self.leaf_steps[problem_type],
            **parameters,
            "loss_function": self.losses[problem_type],
            "eval_metric": watched,
            "border_count": self.border_count,
            "random_seed": seed % 2**63,
            "thread_count": 1,
            "allow_writing_files": False,
            "logging_level": "Silent",
            "use_best_model": False,
        }
        if validation is not None and early_stopping_rounds:
            settings |= {"od_type": "Iter", "od_wait": early_stopping_rounds, "use_best_model": True}
        reporter = (
            _Reporter(watched, on_step, rounds_per_step(parameters))
            if validation is not None and on_step is not None
            else None
        )
        booster: Any = Booster(settings)
        booster.fit(train, eval_set=validation, callbacks=[reporter] if reporter else None)
        if reporter is not None and reporter.raised is not None:
            raise reporter.raised
        return Fit(booster, {**parameters, "n_estimators": int(booster.tree_count_)})

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        if not len(estimator.classes_):
            return self.margins(estimator, x)
        return estimator.predict(_rows(estimator, x), prediction_type="Probability", thread_count=1)[:, 1]

    def margins(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.margins`."""
        return estimator.predict(_rows(estimator, x), prediction_type="RawFormulaVal", thread_count=1)

    def contributions(self, estimator: Any, x: "np.ndarray", reference: "np.ndarray") -> Contributions:
        """CatBoost's own attributions (`ShapValues`), of which the last column is the base value."""
        answer = estimator.get_feature_importance(_rows(estimator, x), type="ShapValues", thread_count=1)
        return Contributions(answer[:, :-1], float(answer[0, -1]))

    def interactions(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.interactions`."""
        rows = _rows(estimator, x)
        return estimator.get_feature_importance(rows, type="ShapInteractionValues", thread_count=1)[:, :-1, :-1]

    def dump(self, estimator: Any) -> bytes:
        """CatBoost's binary model, without the moment and the random identifier of its making."""
        about = estimator.get_metadata()
        about["model_guid"] = about["train_finish_time"] = ""
        with tempfile.TemporaryDirectory(prefix="e2i-catboost-") as folder:
            file = Path(folder) / self.file_name
            estimator.save_model(str(file), format="cbm")
            return file.read_bytes()

    def load(self, data: bytes) -> Any:
        """See `Algorithm.load`."""
        from catboost import CatBoost as Booster
        from catboost import CatBoostError

        try:
            return Booster().load_model(blob=data)
        except CatBoostError as err:
            raise ToolRejected(
                f"{self.file_name} was not loaded: it is not a whole CatBoost model. Take the model's files from the "
                "registry again."
            ) from err


class _Reporter:
    """A CatBoost callback that hands on the validation metric at the end of each step.

    Attributes:
        raised: What `on_step` raised: CatBoost would pack it into an error of its own, so it ends the fit instead.
    """

    def __init__(self, metric: str, on_step: OnStep, every: int) -> None:
        self._metric, self._on_step, self._every = metric, on_step, every
        self.raised: Exception | None = None

    def after_iteration(self, info: Any) -> bool:
        """Whether the fit goes on."""
        if info.iteration % self._every == 0:
            try:
                self._on_step(
                    int(info.iteration) // self._every * STEP, float(info.metrics["validation"][self._metric][-1])
                )
            except Exception as err:  # `fit` raises it again
                self.raised = err
        return self.raised is None


def _rows(estimator: Any, x: "np.ndarray") -> Any:
    return _pool(x, len(estimator.get_cat_feature_indices()))


def _pool(x: "np.ndarray", categories: int, y: "np.ndarray | None" = None) -> Any:
    """A pool of an encoded matrix whose last columns hold codes of categories; CatBoost takes these as texts."""
    import numpy as np
    from catboost import FeaturesData, Pool

    numbers = np.ascontiguousarray(x[:, : x.shape[1] - categories], dtype=np.float32)
    codes = x[:, x.shape[1] - categories :]
    texts: Any = np.where(np.isnan(codes), -1, codes).astype(int).astype("S").astype(object)
    parts: dict[str, Any] = {"num_feature_data": numbers} if numbers.shape[1] else {}
    if categories:
        parts["cat_feature_data"] = texts
    make: Any = Pool
    return make(FeaturesData(**parts), y)
