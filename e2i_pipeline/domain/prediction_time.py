"""Features that depend on the time of prediction, computed from the stored anchors, and the types a model expects.

Training and serving both go through `at_prediction_time`, so that they cannot differ. Which anchors a feature needs
stands in `features.py`, how those of windowed covariates are stored in `covariate_sql.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.features import window_anchors

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MICROSECONDS_PER_DAY = 86_400_000_000

CALL_PERIOD_DAYS = 30.0
"""Calls are counted per this many days. A shorter history counts as this long: one call today is not 30 a month."""


def at_prediction_time(
    stored: "pd.DataFrame", prediction_time: "pd.Series[Any]", features: Sequence[FeatureSpec], touch_window_days: int
) -> "pd.DataFrame":
    """Turns stored values into a model's features.

    Args:
        stored: One row per prediction, with the stored columns as Feast returns them (offline or online).
        prediction_time: Time of each prediction (UTC, aware or naive), in the order of `stored`.
        features: The features wanted; the stored columns behind them must be there.
        touch_window_days: Look-back window of `recent_touches`; a touch exactly that old is not counted.

    Returns:
        One column per feature, in order, with the index of `stored`: numeric and boolean as float64 with NaN,
        categorical as str or None.
    """
    import pandas as pd

    now = epoch_microseconds(prediction_time)
    computed: Mapping[str, Callable[[], Any]] = {
        "days_since_diagnosis": lambda: _days_since(stored["first_diagnosis_date"], now),
        "call_frequency": lambda: _call_frequency(stored, now),
        "recent_touches": lambda: _touches_within(stored["recent_touch_times"], now, touch_window_days),
    }
    columns: dict[str, Any] = {}
    for feature in features:
        if feature.aggregation and feature.window_days is not None:
            values = _aggregated_within(stored, feature, now)
        else:
            values = computed[feature.name]() if feature.name in computed else stored[feature.name].to_numpy()
        columns[feature.name] = _categories(values) if feature.kind == "categorical" else _floats(values)
    return pd.DataFrame(columns, index=stored.index)


def epoch_microseconds(times: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
    """Microseconds since 1970 (UTC) as float64, exact until the year 2255; NaN where there is no time.

    Args:
        times: Timestamps, aware, naive (read as UTC) or objects.
    """
    import numpy as np
    import pandas as pd

    parsed = pd.to_datetime(times, utc=True).dt.tz_localize(None).astype("datetime64[us]")
    return np.where(parsed.isna(), np.nan, parsed.to_numpy().astype("int64").astype("float64"))


def _days_since(anchor: "pd.Series[Any]", now: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    import numpy as np

    return np.floor((now - epoch_microseconds(anchor)) / MICROSECONDS_PER_DAY)


def _call_frequency(stored: "pd.DataFrame", now: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    import numpy as np

    calls = _floats(stored["call_count"].to_numpy())
    days = (now - epoch_microseconds(stored["first_call_date"])) / MICROSECONDS_PER_DAY
    rate = calls * CALL_PERIOD_DAYS / np.maximum(days, CALL_PERIOD_DAYS)
    return np.where(calls == 0, 0.0, rate)


def _touches_within(times: "pd.Series[Any]", now: "np.ndarray[Any, Any]", window_days: int) -> "np.ndarray[Any, Any]":
    """Counts the touches in (now - window, now]; NaN where the patient is unknown, 0 where there was no touch."""
    import numpy as np

    known, rows, flat = _flattened(times, "float64")
    counts = np.bincount(rows[_is_within(flat, now[rows], window_days)], minlength=len(times))
    return np.where(known, counts.astype("float64"), np.nan)


def _aggregated_within(
    stored: "pd.DataFrame", feature: FeatureSpec, now: "np.ndarray[Any, Any]"
) -> "np.ndarray[Any, Any]":
    """A windowed covariate: its aggregate over the stored rows in (now - window, now].

    A count is 0 where a known entity has no such row; every other aggregate is null there, as SQL has it.
    """
    import numpy as np
    import pandas as pd

    times, values = window_anchors(feature.name)
    window_days = feature.window_days or 0
    if feature.aggregation == "count":
        return _touches_within(stored[times], now, window_days)
    _, rows, flat = _flattened(stored[times], "float64")
    _, _, kept = _flattened(stored[values], object if feature.kind == "categorical" else "float64")
    is_within = _is_within(flat, now[rows], window_days)
    # Rows are stored in the order of their times, so the last one is the latest.
    how = "last" if feature.aggregation == "latest" else feature.aggregation
    grouped = pd.Series(kept[is_within]).groupby(rows[is_within]).agg(how)
    return grouped.reindex(np.arange(len(now))).to_numpy()


def _is_within(times: "np.ndarray[Any, Any]", now: "np.ndarray[Any, Any]", window_days: int) -> "np.ndarray[Any, Any]":
    """Whether times are in (now - window, now], all in microseconds."""
    return (times > now - window_days * MICROSECONDS_PER_DAY) & (times <= now)


def _flattened(
    lists: "pd.Series[Any]", dtype: Any
) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Lists end to end: which rows have one, the row of each value, the values."""
    import numpy as np

    known = np.array([hasattr(each, "__len__") for each in lists], dtype=bool)
    given = [np.asarray(each, dtype=dtype) for each, is_known in zip(lists, known, strict=True) if is_known]
    lengths = np.zeros(len(known), dtype="int64")
    lengths[known] = [len(each) for each in given]
    flat = np.concatenate(given) if given else np.array([], dtype=dtype)
    return known, np.repeat(np.arange(len(known)), lengths), flat


def _floats(values: Any) -> "np.ndarray[Any, Any]":
    import numpy as np
    import pandas as pd

    return (
        np.array([np.nan if pd.isna(v) else float(v) for v in values])
        if values.dtype == object
        else values.astype("float64")
    )


def _categories(values: Any) -> "np.ndarray[Any, Any]":
    import pandas as pd

    return pd.Series(values, dtype=object).where(pd.Series(values).notna(), None).to_numpy()
