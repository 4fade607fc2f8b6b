"""Features that depend on the time of prediction, computed from the stored anchors, and the types a model expects.

Training and serving both go through `at_prediction_time`, so that they cannot differ. Which anchors a feature needs
stands in `features.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.references import FeatureSpec

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

    known = np.array([hasattr(t, "__len__") for t in times], dtype=bool)
    lengths = np.array([len(t) if k else 0 for t, k in zip(times, known, strict=True)], dtype="int64")
    rows = np.repeat(np.arange(len(times)), lengths)
    flat = np.array([t for ts, k in zip(times, known, strict=True) if k for t in ts], dtype="float64")
    is_within = (flat > now[rows] - window_days * MICROSECONDS_PER_DAY) & (flat <= now[rows])
    counts = np.bincount(rows[is_within], minlength=len(times)).astype("float64")
    return np.where(known, counts, np.nan)


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
