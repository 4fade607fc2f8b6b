"""What a learning algorithm is to this product: everything that differs between two of them stands on its class.

A further algorithm is one class, of this package or of somebody else's, and one entry (see `algorithms`); nothing
outside asks for an algorithm by its name. How features become a matrix belongs to `encoding`.
"""

import importlib.util
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from e2i_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

CLASSIFICATION, REGRESSION = "classification", "regression"
TREE, LINEAR = "tree", "linear"

Parameters = Mapping[str, bool | int | float | str | None]
OnStep = Callable[[int, float], int | None]
"""Called with (work done, validation metric), work as `STEP` has it; what it raises ends the fit. It may give the
threads to go on with, which an algorithm takes that can change them on the way."""

USUAL_DEPTH = 6
"""Depth of trees where nobody says otherwise (XGBoost's and CatBoost's default)."""

STEP = 10
"""Work between two reports of a trial, by which it may be pruned: that of so many rounds of trees of `USUAL_DEPTH`.

Trials are compared by what they have cost and not by rounds: deep trees are ahead after a few rounds, but a round of
depth 10 takes eight times as long as one of depth 3 (200,000 rows), and shallow trees often end better.
"""

LOOK = 5
"""Boosting rounds between two looks at the validation metric, of an algorithm that can be told so. A look costs a fifth
of a round of 200,000 rows; so a fit is as many rounds long as is best to within this many."""

WORTHWHILE_GAIN = 1e-4
"""Part of the best metric so far by which it must improve for early stopping to go on waiting: an AUC of 0.7 by
0.00007, a thirtieth of its standard error on 50,000 rows. Slow learning rates crawl by less for hundreds of rounds."""

ROWS_PER_THREAD = 50_000
"""Rows that make another thread of boosting worth its while.

Threads meet after every tree level and wait there by spinning. On 12,000 rows two of them take 0.6 times as long as
one on a quiet machine, but 7 times as long on one where other work holds a core (100 trials: 178 s against 25 s).
"""

DEFAULT_METRICS = {CLASSIFICATION: "auc", REGRESSION: "rmse"}
"""What an incremental fit watches where nobody says otherwise."""


class Fit(NamedTuple):
    """A fitted estimator and the parameters that fit it again without a validation set."""

    estimator: Any
    parameters: dict[str, bool | int | float | str | None]


class Contributions(NamedTuple):
    """SHAP values of some rows on the algorithm's margin.

    Attributes:
        values: Shape (rows, encoded columns).
        base_value: What all rows start from: a row's values and it sum to the row's margin.
    """

    values: "np.ndarray"
    base_value: float


class Watch:
    """The validation metric of an incremental fit: which round was best, and whether to go on.

    Attributes:
        best_rounds: Rounds up to the best look; 0 before the first one.
    """

    def __init__(self, is_maximized: bool, patience: int | None) -> None:
        """Begins.

        Args:
            is_maximized: Whether more is better.
            patience: Rounds without a worthwhile gain after which to stop; None for never.
        """
        self._sign, self._patience = 1.0 if is_maximized else -1.0, patience
        self._best = self._counted = -math.inf
        self._gained = self.best_rounds = 0

    def is_enough(self, rounds: int, value: float) -> bool:
        """Takes a look after so many rounds, and says whether to stop there."""
        signed = self._sign * value
        if signed > self._best:
            self._best, self.best_rounds = signed, rounds
        if signed > self._counted + WORTHWHILE_GAIN * abs(self._counted) or self._counted == -math.inf:
            self._counted, self._gained = signed, rounds
        return self._patience is not None and rounds - self._gained >= self._patience


class Algorithm(ABC):
    """One learning algorithm.

    Attributes:
        name: Name in the configuration.
        problem_types: `classification`, `regression`.
        file_role: Role of its native file in the manifest.
        file_name: Name of that file.
        explainer: `tree` or `linear`; a linear one explains around a reference.
        takes_nulls: Whether NaN may stay in the matrix.
        takes_categories: Whether it takes a category as one column of codes; else each gets a column of its own.
        is_incremental: Whether a fit reports its validation metric on the way, so that it can be pruned.
        tunable: Parameters that a search space may name.
        classification_only: Those of `tunable` that mean nothing for a regression.
        has_interactions: Whether `interactions` answers.
        module: Module that it learns with.
        extra: Extra of this product that brings the module; empty for one that is always there.
        distributions: What `module` and `contributions` need beyond what every model needs: per package, the names
            under which it is distributed, of which one is installed. Bento and MLflow model ask for them.
    """

    name: ClassVar[str]
    problem_types: ClassVar[tuple[str, ...]]
    file_role: ClassVar[str]
    file_name: ClassVar[str]
    explainer: ClassVar[str]
    takes_nulls: ClassVar[bool]
    takes_categories: ClassVar[bool] = False
    is_incremental: ClassVar[bool] = False
    tunable: ClassVar[tuple[str, ...]]
    classification_only: ClassVar[tuple[str, ...]] = ()
    has_interactions: ClassVar[bool] = False
    module: ClassVar[str] = "sklearn"
    extra: ClassVar[str] = ""
    distributions: ClassVar[tuple[tuple[str, ...], ...]] = ()

    @property
    def is_installed(self) -> bool:
        """Whether its library can be imported; it is not."""
        return importlib.util.find_spec(self.module) is not None

    def require_installed(self) -> None:
        """Checks that the algorithm's library can be imported.

        Raises:
            ConfigurationError: It is not installed; the message says what brings it.
        """
        if not self.is_installed:
            bring = f'pip install "e2i-pipeline[{self.extra}]"' if self.extra else f"install {self.module}"
            raise ConfigurationError(
                f"the algorithm {self.name} needs the package {self.module}, which is not installed here: {bring}, or "
                "take another algorithm (optuna.algorithms)."
            )

    def unit(self, problem_type: str) -> str:
        """The unit of its margin and contributions: `log-odds`, `probability`, or `outcome` (as it is measured)."""
        return "log-odds" if problem_type == CLASSIFICATION else "outcome"

    @abstractmethod
    def matrix(
        self, x: "np.ndarray", y: "np.ndarray", threads: int, *, is_train: bool = True, categories: Sequence[int] = ()
    ) -> Any:
        """The algorithm's own form of a data set, made once and used by many fits.

        Args:
            x: Encoded matrix (rows, columns) of float32.
            y: Outcomes (rows,): 0 or 1, or any finite number in a regression.
            threads: Threads to use.
            is_train: Whether it is for learning, or for validation.
            categories: Positions of the columns that hold codes of categories, the last ones; only where the algorithm
                `takes_categories`.
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
        metric: str | None = None,
        early_stopping_rounds: int | None = None,
        on_step: OnStep | None = None,
        problem_type: str = CLASSIFICATION,
    ) -> Fit:
        """Fits an estimator; the same arguments give the same estimator, whatever `threads` is.

        Args:
            parameters: Hyperparameters, of `tunable`.
            train: What `matrix` made of the train split.
            validation: Likewise of the validation split; needed for early stopping and `on_step`.
            seed: Seed of everything random, >= 0.
            threads: Threads to use, >= 1.
            metric: `auc` or `log_loss`, `rmse` or `mae`, on `validation`; None for the first of its problem type.
            early_stopping_rounds: Rounds without improvement after which an incremental fit ends.
            on_step: Called every `rounds_per_step` rounds of an incremental fit.
            problem_type: One of `problem_types`.
        """

    @abstractmethod
    def score(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """For an encoded matrix, per row: the probability of the positive class, 0..1, or the predicted outcome."""

    @abstractmethod
    def margins(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """What `contributions` take apart, per row of an encoded matrix, in `unit`; float64."""

    @abstractmethod
    def contributions(self, estimator: Any, x: "np.ndarray", reference: "np.ndarray") -> Contributions:
        """Exact SHAP values of an encoded matrix.

        Args:
            estimator: A fitted estimator.
            x: Encoded matrix (rows, columns), at least one row.
            reference: Point (columns,) around which a linear model is explained; trees bring their own.
        """

    def interactions(self, estimator: Any, x: "np.ndarray") -> "np.ndarray":
        """SHAP interaction values, shape (rows, columns, columns); of an algorithm that `has_interactions`."""
        raise ConfigurationError(f"{self.name} has no interaction values: ask an algorithm of trees for them")

    @abstractmethod
    def dump(self, estimator: Any) -> bytes:
        """The estimator in its native open format; the same bytes for the same estimator."""

    @abstractmethod
    def load(self, data: bytes) -> Any:
        """Reads what `dump` wrote.

        Raises:
            ToolRejected: The bytes are not such a file.
        """


def tree_depth(parameters: Parameters) -> float:
    """Depth of a fit's trees: as given, or that of a full tree with so many leaves; else `USUAL_DEPTH`."""
    depths = [_number(parameters.get(name)) for name in ("max_depth", "depth")]
    leaves = [_number(parameters.get(name)) for name in ("num_leaves", "max_leaves")]
    return min([d for d in depths if d >= 1] + [math.log2(n) for n in leaves if n >= 2], default=USUAL_DEPTH)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def rounds_per_step(parameters: Parameters) -> int:
    """Boosting rounds that are a step's work, by the guess that a round costs as much as its trees are deep."""
    return max(1, round(STEP * USUAL_DEPTH / tree_depth(parameters)))


def worthwhile_threads(threads: int, rows: int) -> int:
    """Threads that boosting on so many rows gains by, at most `threads`."""
    return max(1, min(threads, rows // ROWS_PER_THREAD))
