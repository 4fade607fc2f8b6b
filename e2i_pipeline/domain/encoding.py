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

_COPIED_ROWS = 4096
"""Rows that are turned from columns into rows at a time: within the cache it takes a sixth of the time."""

_NUMBERS, _CATEGORIES = "numbers", "categories"


def fit_encoder(
    frame: "pd.DataFrame", features: Sequence[FeatureSpec], *, takes_nulls: bool, takes_categories: bool = False
) -> Any:
    """Fits the encoder on the train split.

    Numbers and booleans pass through with their nulls where the algorithm takes nulls; otherwise nulls become the
    median, with an indicator column per feature that had any, and all is standardized. Where the algorithm takes
    categories, a feature's category becomes its position among the known ones, and a missing or unknown value null;
    otherwise each category becomes a column, and a missing or unknown value is zero in all of them.

    Args:
        frame: Rows of the train split with at least the features' columns.
        features: The features, in order.
        takes_nulls: Whether the algorithm takes NaN.
        takes_categories: Whether it takes a category as a code.

    Returns:
        A fitted ColumnTransformer.

    Raises:
        ConfigurationError: There is no feature, or one is named twice.
        SourceError: A column is missing or holds what its kind does not allow.
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer

    names = [f.name for f in features]
    if not names or len(set(names)) != len(names):
        raise ConfigurationError(f"a model needs at least one feature and each once; got {len(names)}: {names}")
    raw = raw_features(frame, features)
    numbers = [f.name for f in features if f.kind != "categorical"]
    known = {f.name: _known(raw[f.name]) for f in features if f.kind == "categorical"}
    known = {name: values for name, values in known.items() if values}
    if not numbers and not known:
        raise SourceError(f"all {len(names)} features are null throughout train: there is nothing to learn from")
    categories = [np.array(values, dtype=object) for values in known.values()]
    steps = [
        (_NUMBERS, "passthrough" if takes_nulls else _imputed_and_scaled(), numbers),
        (_CATEGORIES, _as_codes(categories) if takes_categories else _as_columns(categories), list(known)),
    ]
    # Passing on and known categories learn nothing: one row says the columns, without a matrix of all of them.
    return ColumnTransformer(steps).fit(raw.head(1) if takes_nulls else raw)


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

    raw = raw_features(frame, features)
    matrix = np.empty((len(raw), len(encoded_columns(encoder))), dtype=np.float32)
    begin = 0
    for part, step, names in encoder.transformers_:  # as the encoder itself, without its float64 copies
        if part not in (_NUMBERS, _CATEGORIES) or not len(names):
            continue
        is_passed_on = part == _NUMBERS and not hasattr(step, "named_steps")
        given = _chosen(raw, list(names))
        block = given.to_numpy() if is_passed_on else step.transform(given)
        end = begin + block.shape[1]
        for start in range(0, len(matrix), _COPIED_ROWS):
            matrix[start : start + _COPIED_ROWS, begin:end] = block[start : start + _COPIED_ROWS]
        begin = end
    return matrix


def encoded_columns(encoder: Any) -> tuple[tuple[str, str], ...]:
    """The encoded columns in order, each with the feature it comes from.

    Args:
        encoder: What `fit_encoder` returned.

    Returns:
        Pairs (encoded name, feature name): `age` for a number, `age=missing` for its indicator, `region=south` for a
        category, `region` for its code.
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
                columns += [(f"{name}={value}", name) for value in known] if _is_one_hot(step) else [(name, name)]
    return tuple(columns)


def code_columns(encoder: Any) -> tuple[int, ...]:
    """Positions of the encoded columns that hold codes of categories, which are the last ones; often none."""
    width = len(encoded_columns(encoder))
    for part, step, names in encoder.transformers_:
        if part == _CATEGORIES and len(names) and not _is_one_hot(step):
            return tuple(range(width - len(names), width))
    return ()


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
        A frame with exactly these columns: numbers and booleans first, then categories. It may share the given one's
        values: nobody writes into it.

    Raises:
        SourceError: A column is missing, or a number is not a finite number.
    """
    import pandas as pd

    missing = [f.name for f in features if f.name not in frame.columns]
    if missing:
        raise SourceError(
            f"{len(missing)} of the model's {len(features)} features are missing in the rows to encode: "
            f"{', '.join(missing)}. Deliver them as columns (null where unknown), or train without them."
        )
    numbers = _numbers(_chosen(frame, [f.name for f in features if f.kind != "categorical"]))
    texts = _texts(frame[[f.name for f in features if f.kind == "categorical"]])
    return pd.concat([numbers, texts], axis=1) if len(texts.columns) else numbers


def checked_outcomes(y: "ArrayLike", problem_type: str = "classification") -> "np.ndarray":
    """Outcomes as a learner takes them.

    Args:
        y: Outcomes (rows,): 0 or 1, or in a regression any finite number.
        problem_type: `classification` or `regression`.

    Returns:
        The same as float32.

    Raises:
        SourceError: A value is neither 0 nor 1, or in a regression not finite.
    """
    import numpy as np

    outcomes = np.asarray(y, dtype=np.float32)
    if problem_type != "classification":
        odd = int(np.sum(~np.isfinite(outcomes)))
        if odd:
            raise SourceError(
                f"target: {odd} of {len(outcomes)} outcomes are null, infinite or beyond 3.4e38. Train on journeys "
                "with a measured outcome only, and bound it at the source."
            )
        return outcomes
    odd = int(np.sum((outcomes != 0) & (outcomes != 1)))
    if odd:
        raise SourceError(
            f"target: {odd} of {len(outcomes)} outcomes are neither 0 nor 1 (or null). Train on mature journeys only, "
            "and deliver the outcome as 0 or 1."
        )
    return outcomes


def _chosen(frame: "pd.DataFrame", names: list[str]) -> "pd.DataFrame":
    """These columns; the frame itself where it has no others, since choosing copies."""
    return frame if list(frame.columns) == names else frame[names]


def _numbers(columns: "pd.DataFrame") -> "pd.DataFrame":
    import numpy as np

    try:
        values = columns if (columns.dtypes == np.float64).all() else columns.astype("float64")
    except (TypeError, ValueError):
        name = next(name for name in columns if not _is_numeric(columns[name]))
        raise SourceError(
            f"feature {name}: numbers (or true, false, null) were expected and the column holds something else. "
            "Declare it categorical, or correct it at the source."
        ) from None  # the cause would quote the value
    # The matrix is float32: what overflows it would be as infinite as infinity.
    # Whether there is any is seen from each column's ends, without another matrix.
    matrix, limit = values.to_numpy(), np.finfo(np.float32).max
    if len(matrix) and (np.fmax.reduce(matrix) > limit).any() | (np.fmin.reduce(matrix) < -limit).any():
        is_unusable = np.abs(matrix) > limit
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


def _as_columns(categories: list["np.ndarray"]) -> Any:
    import numpy as np
    from sklearn.preprocessing import OneHotEncoder

    options: dict[str, Any] = {"categories": categories, "dtype": np.float32}
    return OneHotEncoder(**options, handle_unknown="ignore", sparse_output=False)


def _as_codes(categories: list["np.ndarray"]) -> Any:
    import numpy as np
    from sklearn.preprocessing import OrdinalEncoder

    options: dict[str, Any] = {"categories": categories, "dtype": np.float32}
    options |= {"unknown_value": np.nan, "encoded_missing_value": np.nan}
    return OrdinalEncoder(**options, handle_unknown="use_encoded_value")


def _is_one_hot(step: Any) -> bool:
    return hasattr(step, "sparse_output")
