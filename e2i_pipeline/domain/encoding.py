"""From raw features to the matrix that an algorithm learns from: a fitted scikit-learn ColumnTransformer.

Two kinds of encoding, by what the algorithm takes. Everything that is learned (categories, medians, means) is learned
on the train split only. How an algorithm learns belongs in `learners`.
"""

# scikit-learn ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike

MAXIMUM_CATEGORIES = 50
"""Categories of one feature that get a column of their own: the most frequent in train; the rest count as unknown.

Bounds the matrix when a covariate is a code with thousands of values; at 50 a one-hot feature is still readable.
"""

_NUMBERS, _CATEGORIES = "numbers", "categories"


def fit_encoder(frame: "pd.DataFrame", features: Sequence[FeatureSpec], *, takes_nulls: bool) -> Any:
    """Fits the encoder on the train split.

    Numbers and booleans pass through with their nulls where the algorithm takes nulls; otherwise nulls become the
    median, with an indicator column per feature that had any, and all is standardized. Categories become one column
    each; a missing or unknown value is zero in all of them.

    Args:
        frame: Rows of the train split with at least the features' columns.
        features: The features, in order.
        takes_nulls: Whether the algorithm takes NaN.

    Returns:
        A fitted ColumnTransformer.

    Raises:
        ConfigurationError: There is no feature, or one is named twice.
        SourceError: A column is missing or holds what its kind does not allow.
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    names = [f.name for f in features]
    if not names or len(set(names)) != len(names):
        raise ConfigurationError(f"a model needs at least one feature and each once; got {len(names)}: {names}")
    raw = raw_features(frame, features)
    numbers = [f.name for f in features if f.kind != "categorical"]
    known = {f.name: _known(raw[f.name]) for f in features if f.kind == "categorical"}
    known = {name: values for name, values in known.items() if values}
    if not numbers and not known:
        raise SourceError(f"all {len(names)} features are null throughout train: there is nothing to learn from")
    options: dict[str, Any] = {
        "categories": [np.array(values, dtype=object) for values in known.values()],
        "handle_unknown": "ignore",
        "sparse_output": False,
        "dtype": np.float32,
    }
    steps = [
        (_NUMBERS, "passthrough" if takes_nulls else _imputed_and_scaled(), numbers),
        (_CATEGORIES, OneHotEncoder(**options), list(known)),
    ]
    return ColumnTransformer(steps).fit(raw)


def encode(encoder: Any, frame: "pd.DataFrame", features: Sequence[FeatureSpec]) -> "np.ndarray":
    """Encodes rows.

    Args:
        encoder: What `fit_encoder` returned.
        frame: Rows with at least the features' columns, in any order.
        features: The features that it was fitted with.

    Returns:
        Matrix (rows, encoded columns) of float32, in the order of `encoded_columns`.

    Raises:
        SourceError: A column is missing or holds what its kind does not allow.
    """
    import numpy as np

    return np.ascontiguousarray(encoder.transform(raw_features(frame, features)), dtype=np.float32)


def encoded_columns(encoder: Any) -> tuple[tuple[str, str], ...]:
    """The encoded columns in order, each with the feature it comes from.

    Args:
        encoder: What `fit_encoder` returned.

    Returns:
        Pairs (encoded name, feature name): `age` for a number, `age=missing` for its indicator, `region=south` for a
        category.
    """
    columns: list[tuple[str, str]] = []
    for part, step, names in encoder.transformers_:
        if part == _NUMBERS and len(names):
            columns += [(name, name) for name in names]
            if hasattr(step, "named_steps"):
                missing = step.named_steps["imputer"].indicator_.features_
                columns += [(f"{names[i]}=missing", names[i]) for i in missing]
        elif part == _CATEGORIES and len(names):
            for name, known in zip(names, step.categories_, strict=True):
                columns += [(f"{name}={value}", name) for value in known]
    return tuple(columns)


def known_categories(encoder: Any, features: Sequence[FeatureSpec]) -> dict[str, tuple[str, ...]]:
    """The known values of each categorical feature, sorted; empty for one that is null throughout train."""
    known: dict[str, tuple[str, ...]] = {f.name: () for f in features if f.kind == "categorical"}
    for part, step, names in encoder.transformers_:
        if part == _CATEGORIES and len(names):
            known |= {n: tuple(map(str, values)) for n, values in zip(names, step.categories_, strict=True)}
    return known


def raw_features(frame: "pd.DataFrame", features: Sequence[FeatureSpec]) -> "pd.DataFrame":
    """The features' columns in their raw types: float64 with NaN, or text with None.

    Args:
        frame: Rows with at least the features' columns.
        features: The features.

    Returns:
        A new frame with exactly these columns: numbers and booleans first, then categories.

    Raises:
        SourceError: A column is missing, or a number is not a finite number.
    """
    missing = [f.name for f in features if f.name not in frame.columns]
    if missing:
        raise SourceError(
            f"{len(missing)} of the model's {len(features)} features are missing in the rows to encode: "
            f"{', '.join(missing)}. Deliver them as columns (null where unknown), or train without them."
        )
    numbers = _numbers(frame[[f.name for f in features if f.kind != "categorical"]])
    texts = _texts(frame[[f.name for f in features if f.kind == "categorical"]])
    numbers[texts.columns] = texts
    return numbers


def checked_outcomes(y: "ArrayLike") -> "np.ndarray":
    """Outcomes as a learner takes them.

    Args:
        y: Outcomes (rows,), 0 or 1.

    Returns:
        The same as float32.

    Raises:
        SourceError: A value is neither 0 nor 1.
    """
    import numpy as np

    outcomes = np.asarray(y, dtype=np.float32)
    odd = int(np.sum((outcomes != 0) & (outcomes != 1)))
    if odd:
        raise SourceError(
            f"target: {odd} of {len(outcomes)} outcomes are neither 0 nor 1 (or null). Train on mature journeys only, "
            "and deliver the outcome as 0 or 1."
        )
    return outcomes


def _numbers(columns: "pd.DataFrame") -> "pd.DataFrame":
    import numpy as np

    try:
        values = columns.astype("float64")
    except (TypeError, ValueError):
        name = next(name for name in columns if not _is_numeric(columns[name]))
        raise SourceError(
            f"feature {name}: numbers (or true, false, null) were expected and the column holds something else. "
            "Declare it categorical, or correct it at the source."
        ) from None  # the cause would quote the value
    # The matrix is float32: what overflows it would be as infinite as infinity.
    is_unusable = np.abs(values.to_numpy()) > np.finfo(np.float32).max
    if is_unusable.any():
        counts = {n: int(c) for n, c in zip(columns.columns, is_unusable.sum(axis=0), strict=True) if c}
        raise SourceError(
            f"values that are infinite or beyond 3.4e38, of {len(values)} rows: "
            f"{', '.join(f'{name} {count}' for name, count in counts.items())}. Make them null at the source, or "
            "bound the feature."
        )
    return values


def _is_numeric(column: "pd.Series") -> bool:
    try:
        column.astype("float64")
    except (TypeError, ValueError):
        return False
    return True


def _texts(columns: "pd.DataFrame") -> "pd.DataFrame":
    texts = columns.astype(object)
    texts = texts.where(texts.notna(), None)
    for name in texts:
        if not all(value is None or isinstance(value, str) for value in texts[name].unique()):
            texts[name] = texts[name].map(str, na_action="ignore")
    return texts


def _known(column: "pd.Series") -> list[str]:
    """The most frequent values, sorted by name; equal frequencies are decided by name."""
    counts = column.value_counts(dropna=True)
    ranked = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    return sorted(str(value) for value, _ in ranked[:MAXIMUM_CATEGORIES])


def _imputed_and_scaled() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return Pipeline([("imputer", imputer), ("scaler", StandardScaler())])
