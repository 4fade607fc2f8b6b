"""The algorithms by name, and the model that scores: features in, probability out, open formats on disk.

How each algorithm learns stands in `learners`, how features become a matrix in `encoding`. Where a model's files lie
belongs to the resources.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from e2i_pipeline.contracts.model_files import ModelManifest, Recalibrator
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.encoding import (
    checked_outcomes,
    code_columns,
    encode,
    encoded_columns,
    fit_encoder,
    known_categories,
)
from e2i_pipeline.domain.learners import (
    CLASSIFICATION,
    Algorithm,
    CatBoost,
    Lasso,
    LightGBM,
    LinearRegression,
    LogisticRegression,
    Parameters,
    RandomForest,
    Ridge,
    XGBoost,
)
from e2i_pipeline.domain.native_files import dump_object, load_object
from e2i_pipeline.domain.outside import outside_algorithms
from e2i_pipeline.domain.recalibration import apply
from e2i_pipeline.errors import ConfigurationError, ToolRejected

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        XGBoost(),
        LightGBM(),
        CatBoost(),
        RandomForest(),
        LogisticRegression(),
        LinearRegression(),
        Ridge(),
        Lasso(),
    )
}
"""Every algorithm of ours by its name in the configuration; others come from `outside`."""

MANIFEST_FILE = "model.json"
PREPROCESSING_FILE = "preprocessing.skops"


def algorithm(name: str) -> Algorithm:
    """The algorithm of this name.

    Raises:
        ConfigurationError: There is none, and the message names the nearest ones; or its library is not installed.
    """
    return _installed(name)


class ScoringModel:
    """A fitted model that takes raw features.

    Attributes:
        manifest: What it is and what it needs.
        encoder: The fitted ColumnTransformer.
        estimator: The fitted estimator on the encoded matrix, as its algorithm made it.
    """

    def __init__(self, manifest: ModelManifest, encoder: Any, estimator: Any) -> None:
        self.manifest = manifest
        self.encoder = encoder
        self.estimator = estimator

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm behind it."""
        return algorithm(self.manifest.algorithm)

    def encode(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The matrix that the estimator sees.

        Args:
            frame: Rows with at least the model's feature columns: float64 with NaN, categories as text or None.

        Returns:
            Frame (rows, encoded columns) of float32 with the frame's index; columns as in `manifest.encoded_features`.

        Raises:
            SourceError: A feature's column is missing, or holds what its kind does not allow.
        """
        import pandas as pd

        matrix = encode(self.encoder, frame, self.manifest.features)
        return pd.DataFrame(matrix, columns=[name for name, _ in self.manifest.encoded_features], index=frame.index)

    def predict(self, frame: "pd.DataFrame") -> "np.ndarray":
        """Probabilities (rows,) of the outcome, 0..1, recalibrated where the manifest says how.

        Of a regression the outcomes that are expected.

        Args:
            frame: As for `encode`.

        Raises:
            SourceError: As for `encode`.
        """
        return self.recalibrated(self.scores(frame))

    def scores(self, frame: "pd.DataFrame") -> "np.ndarray":
        """The estimator's own probabilities (rows,), before any recalibration; arguments as for `predict`."""
        import numpy as np

        if not len(frame):
            return np.empty(0, dtype=np.float64)
        matrix = encode(self.encoder, frame, self.manifest.features)
        return self.algorithm.score(self.estimator, matrix).astype(np.float64)

    def recalibrated(self, scores: "np.ndarray") -> "np.ndarray":
        """What is given out for the estimator's own probabilities (rows,)."""
        return apply(self.manifest.recalibration, scores) if self.manifest.recalibration else scores

    def with_recalibration(self, recalibration: Recalibrator | None) -> "ScoringModel":
        """The same model with its probabilities recalibrated; a threshold set before no longer holds."""
        manifest = self.manifest.model_copy(update={"recalibration": recalibration, "threshold": None})
        return ScoringModel(manifest, self.encoder, self.estimator)

    def with_threshold(self, threshold: float) -> "ScoringModel":
        """The same model with the score at or above which a journey is flagged."""
        manifest = self.manifest.model_copy(update={"threshold": float(threshold)})
        return ScoringModel(manifest, self.encoder, self.estimator)


def fit_model(
    algorithm: str,
    parameters: Parameters,
    frame: "pd.DataFrame",
    target: "np.ndarray | pd.Series",
    features: Sequence[FeatureSpec],
    *,
    training_key: str,
    brand: str,
    horizon_days: int,
    seed: int,
    threads: int,
    problem_type: str = CLASSIFICATION,
    validation: "tuple[pd.DataFrame, np.ndarray | pd.Series] | None" = None,
    early_stopping_rounds: int | None = None,
) -> ScoringModel:
    """Fits a model; the same arguments give the same files, whatever `threads` is.

    Args:
        algorithm: Name of the algorithm.
        parameters: Hyperparameters.
        frame: Rows of the train split with at least the features' columns.
        target: Outcomes (rows,), 0 or 1, or numbers in a regression.
        features: The features, in order.
        training_key: The training's key.
        brand: The brand.
        horizon_days: Days in which the outcome counts.
        seed: Seed of everything random, >= 0.
        threads: Threads to use, >= 1.
        problem_type: `classification` or `regression`.
        validation: Rows and outcomes for early stopping; a study's `n_estimators` needs none.
        early_stopping_rounds: Rounds without improvement of the validation AUC, or RMSE, after which to stop.

    Returns:
        The fitted model; its manifest carries the parameters as fitted.

    Raises:
        ConfigurationError: The algorithm, a parameter or the features are wrong.
        SourceError: A feature's column is missing or holds what its kind does not allow, or an outcome is not 0 or 1.
    """
    learner = _installed(algorithm)
    check_problem_type(learner, problem_type)
    check_parameters(learner, parameters, problem_type)
    encoder = encoder_for(learner, frame, features)

    def matrix(rows: "pd.DataFrame", outcomes: Any, is_train: bool) -> Any:
        x, y = encode(encoder, rows, features), checked_outcomes(outcomes, problem_type)
        return learner.matrix(x, y, threads, is_train=is_train, categories=code_columns(encoder))

    fit = learner.fit(
        parameters,
        matrix(frame, target, is_train=True),
        None if validation is None else matrix(*validation, is_train=False),
        seed=seed,
        threads=threads,
        early_stopping_rounds=early_stopping_rounds,
        problem_type=problem_type,
    )
    manifest = ModelManifest(
        training_key=training_key,
        brand=brand,
        algorithm=algorithm,
        problem_type=problem_type,
        parameters=fit.parameters,
        features=tuple(features),
        encoded_features=encoded_columns(encoder),
        categories=known_categories(encoder, features),
        files={learner.file_role: learner.file_name, "preprocessing": PREPROCESSING_FILE},
        horizon_days=horizon_days,
    )
    return ScoringModel(manifest, encoder, fit.estimator)


def encoder_for(learner: Algorithm, frame: "pd.DataFrame", features: Sequence[FeatureSpec]) -> Any:
    """Fits the encoder that the algorithm asks for; see `encoding.fit_encoder`."""
    return fit_encoder(frame, features, takes_nulls=learner.takes_nulls, takes_categories=learner.takes_categories)


def check_problem_type(learner: Algorithm, problem_type: str) -> None:
    """Refuses an algorithm that does not solve the problem.

    Raises:
        ConfigurationError: `problem_type` is not among `learner.problem_types`.
    """
    if problem_type not in learner.problem_types:
        able = sorted(a.name for a in known_algorithms().values() if problem_type in a.problem_types)
        raise ConfigurationError(
            f"{learner.name} does not solve a {problem_type} (problem_type). Algorithms that do: "
            f"{', '.join(able) or 'none'}; name them in optuna.algorithms."
        )


def check_parameters(learner: Algorithm, names: Mapping[str, Any], problem_type: str = CLASSIFICATION) -> None:
    """Refuses a parameter that the algorithm would ignore or that this product sets itself.

    Raises:
        ConfigurationError: A name is not among `learner.tunable`, or has no meaning for this type of problem.
    """
    left_out = () if problem_type == CLASSIFICATION else learner.classification_only
    known = [name for name in learner.tunable if name not in left_out]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ConfigurationError(
                f"{learner.name} has no parameter {name!r} to set.{meant} Parameters of a {problem_type}: "
                f"{', '.join(known)}."
            )


def dump_model(model: ScoringModel) -> dict[str, bytes]:
    """The model as files in open formats; the same bytes for the same model.

    Returns:
        File name to content: `model.json` (the manifest), and the files that it names.
    """
    files = model.manifest.files
    return {
        MANIFEST_FILE: model.manifest.model_dump_json(indent=2).encode(),
        files[model.algorithm.file_role]: model.algorithm.dump(model.estimator),
        files["preprocessing"]: dump_object(model.encoder),
    }


def load_model(files: Mapping[str, bytes]) -> ScoringModel:
    """Reads what `dump_model` wrote; the model predicts the same to the last bit.

    Args:
        files: File name to content; other files beside them are ignored.

    Raises:
        ToolRejected: A file is missing, is not what the manifest says, or holds a type that nobody reviewed.
    """
    try:
        manifest = ModelManifest.model_validate_json(_file(files, MANIFEST_FILE))
    except ValidationError as err:
        raise ToolRejected(
            f"{MANIFEST_FILE} was not understood: {err.error_count()} of its fields are wrong, the first at "
            f"{'.'.join(map(str, err.errors()[0]['loc'])) or 'the top'}. It was written by another version of this "
            "product, or changed by hand: package the model again."
        ) from err
    learner = algorithm(manifest.algorithm)
    estimator = learner.load(_file(files, manifest.files.get(learner.file_role, learner.file_name)))
    name = manifest.files.get("preprocessing", PREPROCESSING_FILE)
    return ScoringModel(manifest, load_object(_file(files, name), name), estimator)


def known_algorithms() -> dict[str, Algorithm]:
    """Every algorithm by its name, ours and those from outside.

    Raises:
        ConfigurationError: One from outside cannot be had, or has the name of one of ours.
    """
    others = outside_algorithms()
    if taken := sorted(set(others) & set(ALGORITHMS)):
        raise ConfigurationError(
            f"{others[taken[0]].reference} names its algorithm {taken[0]!r}, as one of this product is named. Give it "
            "another name."
        )
    return {**ALGORITHMS, **{name: found.algorithm for name, found in others.items()}}


def _installed(name: str) -> Algorithm:
    found = ALGORITHMS.get(name) or known_algorithms().get(name)
    if found is None:
        known = sorted(known_algorithms())
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ConfigurationError(f"there is no algorithm {name!r}.{meant} Algorithms: {', '.join(known)}.")
    found.require_installed()
    return found


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise ToolRejected(
            f"the model has no file {name}; found: {', '.join(sorted(files)) or 'none'}. Take the model's files from "
            "the registry again."
        )
    return files[name]
