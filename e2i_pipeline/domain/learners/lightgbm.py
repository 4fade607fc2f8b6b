"""LightGBM: gradient-boosted trees grown leaf by leaf (Ke et al., 2017), kept as its text model.

What an algorithm is stands in `base`. The package is the extra `lightgbm`.
"""

# LightGBM's types are partial.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import re
from collections.abc import Sequence
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
    worthwhile_threads,
)
from e2i_pipeline.errors import ToolRejected

if TYPE_CHECKING:
    import numpy as np


class LightGBM(Algorithm):
    """Gradient-boosted trees that grow at the leaf which gains most; it takes nulls and categories as they are.

    One thread sums a feature's histogram from the first row to the last (`force_col_wise`), so that its trees do not
    depend on the thread count.
    """

    name = "lightgbm"
    problem_types = (CLASSIFICATION, REGRESSION)
    file_role = "booster"
    file_name = "booster.txt"
    explainer = TREE
    takes_nulls = True
    takes_categories = True
    is_incremental = True
    tunable = (
        "n_estimators",
        "num_leaves",
        "max_depth",
        "learning_rate",
        "subsample",
        "colsample_bytree",
        "feature_fraction_bynode",
        "min_child_samples",
        "min_child_weight",
        "min_split_gain",
        "reg_alpha",
        "reg_lambda",
        "max_delta_step",
        "path_smooth",
        "extra_trees",
        "cat_smooth",
        "cat_l2",
        "max_cat_threshold",
        "scale_pos_weight",
        "is_unbalance",
    )
    classification_only = ("scale_pos_weight", "is_unbalance")
    module = "lightgbm"
    extra = "lightgbm"
    distributions = (("lightgbm",),)

    default_rounds = 200
    metrics: ClassVar[dict[str, str]] = {"auc": "auc", "log_loss": "binary_logloss", "rmse": "rmse", "mae": "l1"}
    objectives: ClassVar[dict[str, str]] = {CLASSIFICATION: "binary", REGRESSION: "regression"}
    # Of the data: they stay the same for all fits of a study, whose trials share one binned matrix. Without the last
    # one, LightGBM would leave out features by the `min_child_samples` of the first trial.
    data_parameters: ClassVar[dict[str, Any]] = {
        "max_bin": 255,
        "force_col_wise": True,
        "deterministic": True,
        "verbosity": -1,
        "feature_pre_filter": False,
    }

    def matrix(
        self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True, categories: Sequence[int] = ()
    ) -> Any:
        """A binned `Dataset` for learning; one for validation takes its bins from that, and so keeps its rows."""
        import lightgbm

        used = {**self.data_parameters, "num_threads": worthwhile_threads(threads, len(x))}
        columns = list(categories)
        rows = lightgbm.Dataset(x, y, categorical_feature=columns, params=used, free_raw_data=is_train)
        return rows.construct() if is_train else rows

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
        import lightgbm

        tried = dict(parameters)
        rounds = int(tried.pop("n_estimators", None) or self.default_rounds)
        callbacks: list[Any] = []
        if validation is not None and early_stopping_rounds:
            callbacks.append(lightgbm.early_stopping(early_stopping_rounds, verbose=False))
        if validation is not None and on_step is not None:
            callbacks.append(_reporter(on_step, rounds_per_step(tried)))
        booster = lightgbm.train(
            {
                "bagging_freq": 1,  # 0, the default, ignores `subsample`
                **tried,
                **self.data_parameters,
                "objective": self.objectives[problem_type],
                "metric": self.metrics[metric or DEFAULT_METRICS[problem_type]],
                "seed": seed % 2**31,
                "num_threads": worthwhile_threads(threads, train.num_data()),
            },
            train,
            rounds,
            valid_sets=[] if validation is None else [validation],
            valid_names=[] if validation is None else ["validation"],
            callbacks=callbacks,
        )
        # Read back from its text: so it is cut, holds no data, and is what a loaded one is.
        kept = lightgbm.Booster(model_str=_one_threaded(booster.model_to_string(num_iteration=booster.best_iteration)))
        return Fit(kept, {**parameters, "n_estimators": kept.current_iteration()})

    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.score`."""
        return estimator.predict(x, num_threads=1)

    def margins(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """See `Algorithm.margins`."""
        return estimator.predict(x, raw_score=True, num_threads=1)

    def contributions(self, estimator: Any, x: "np.ndarray", reference: "np.ndarray") -> Contributions:
        """The booster's own path attributions, of which the last column is the base value."""
        answer = estimator.predict(x, pred_contrib=True, num_threads=1)
        return Contributions(answer[:, :-1], float(answer[0, -1]))

    def dump(self, estimator: Any) -> bytes:
        """LightGBM's text model."""
        return _one_threaded(estimator.model_to_string()).encode()

    def load(self, data: bytes) -> Any:
        """See `Algorithm.load`."""
        import lightgbm

        # LightGBM writes to standard output what it cannot read, and then raises.
        text = data.decode(errors="replace")
        if not text.startswith("tree\n") or "end of trees" not in text:
            raise ToolRejected(
                f"{self.file_name} was not loaded: it is not a whole LightGBM text model. Take the model's files from "
                "the registry again."
            )
        return lightgbm.Booster(model_str=text)


def _one_threaded(text: str) -> str:
    """The model without the number of threads that fitted it, the one thing in it that may differ."""
    return re.sub(r"\[num_threads: -?\d+\]", "[num_threads: 1]", text)


def _reporter(on_step: OnStep, every: int) -> Any:
    """A LightGBM callback that hands on the validation metric at the end of each step."""

    def report(environment: Any) -> None:
        rounds = environment.iteration + 1
        if rounds % every == 0:
            on_step(rounds // every * STEP, float(environment.evaluation_result_list[0][2]))

    # Before early stopping (30), which ends the callbacks of the last round, whether it stops a fit or not.
    report.order = 20  # pyright: ignore[reportFunctionMemberAccess]
    return report
