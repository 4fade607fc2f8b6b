"""Chronological splits: cut dates from the index dates, and each journey's split from the cut dates.

Arrays in, arrays out. Which journeys are mature is said in `cohorts.py`; where cut dates are kept belongs to the
published manifest.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.references import SplitCuts
from e2i_pipeline.errors import CohortTooSmall

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SPLITS = ("train", "validation", "test", "holdout")
UNASSIGNED = "unassigned"

NO_HOLDOUT = date(2200, 1, 1)
"""The end of test where there is no holdout: later than any index date, and early enough for nanosecond timestamps."""


def compute_cuts(
    index_dates: "npt.NDArray[np.datetime64]",
    shares: tuple[float, float, float, float],
    gap_days: int,
    version: int,
) -> SplitCuts:
    """Finds the cut dates whose shares of journeys come nearest to those wanted; a date is never divided.

    Args:
        index_dates: Index dates of the mature journeys, shape (n,), `datetime64[D]`, in any order, without NaT.
        shares: Of train, validation, test and holdout; each 0..1, summing to 1; holdout may be 0.
        gap_days: Days after each cut whose journeys are in no split, >= 0.
        version: `splits.version` of the configuration.

    Returns:
        The cuts. Without a holdout, `test_end` is `NO_HOLDOUT`.

    Raises:
        CohortTooSmall: The dates are too few or too close together to give each split a journey.
    """
    import numpy as np

    days, per_day = np.unique(index_dates.astype("datetime64[D]"), return_counts=True)
    wanted = [share for share in shares if share > 0]
    if len(days) < len(wanted):
        raise CohortTooSmall(
            f"{len(index_dates)} journeys with a closed outcome window lie on {len(days)} index date(s); a "
            f"chronological split into {len(wanted)} parts needs at least as many dates. Bring journeys from a longer "
            "period, or shorten cohort.outcome_window_days so that more outcomes are known."
        )
    before = np.concatenate([[0], np.cumsum(per_day)[:-1]])
    cuts: list[int] = []
    for number, share in enumerate(np.cumsum(wanted)[:-1], start=1):
        low, high = (cuts[-1] if cuts else 0) + 1, len(days) - (len(wanted) - 1 - number)
        cuts.append(low + int(np.argmin(np.abs(before[low:high] - share * len(index_dates)))))
    ends: list[date] = [days[cut].astype(object) for cut in cuts]
    if shares[3] == 0:
        ends.append(NO_HOLDOUT)
    found = SplitCuts(version=version, train_end=ends[0], validation_end=ends[1], test_end=ends[2], gap_days=gap_days)
    _require_every_split(index_dates, found, len(wanted))
    return found


def assign(
    index_dates: "npt.NDArray[np.datetime64]",
    patient_ids: "npt.NDArray[np.object_]",
    is_mature: "npt.NDArray[np.bool_]",
    cuts: SplitCuts,
    gap_days: int | None = None,
) -> "npt.NDArray[np.str_]":
    """Each journey's split.

    A journey is `unassigned` when its outcome is open, its index date is NaT or lies in a gap, or its patient would
    fall into two splits: then all journeys of that patient are.

    Args:
        index_dates: Index dates, shape (n,), `datetime64[D]`.
        patient_ids: Patients, shape (n,).
        is_mature: Whether the outcome is known for good, shape (n,).
        cuts: The cut dates.
        gap_days: Days after each cut whose journeys are in no split; None takes the cuts' own.

    Returns:
        One of `train`, `validation`, `test`, `holdout`, `unassigned` per journey, shape (n,).
    """
    import numpy as np
    import pandas as pd

    split = _split_numbers(index_dates, cuts, cuts.gap_days if gap_days is None else gap_days)
    split[~np.asarray(is_mature, dtype=bool)] = len(SPLITS)
    patient, patients = pd.factorize(np.asarray(patient_ids, dtype=object))  # by hash: sorting objects takes seconds
    seen = np.zeros((len(patients) + 1, len(SPLITS) + 1), dtype=bool)
    seen[patient, split] = True
    split[seen[:, : len(SPLITS)].sum(axis=1)[patient] > 1] = len(SPLITS)
    return np.array([*SPLITS, UNASSIGNED])[split]


def adopt(incoming: "npt.NDArray[np.object_]", is_mature: "npt.NDArray[np.bool_]") -> "npt.NDArray[np.str_]":
    """The splits that the source brings, instead of those by date; the leakage audit judges them like any other.

    Args:
        incoming: The source's `data_split` per journey, shape (n,), None where it says nothing.
        is_mature: Whether the outcome is known for good, shape (n,).

    Returns:
        The source's split where it is one of `SPLITS` and the outcome is mature, `unassigned` elsewhere, shape (n,).
    """
    import numpy as np

    named = incoming.astype(str)
    return np.where(np.isin(named, SPLITS) & is_mature, named, "unassigned")


def label_overlap(
    index_dates: "npt.NDArray[np.datetime64]",
    splits: "npt.NDArray[np.str_]",
    horizon_days: int,
    cuts: SplitCuts,
    gap_days: int | None = None,
) -> int:
    """Training labels that mature after the validation period begins: at that time they were not yet known.

    Args:
        index_dates: Index dates, shape (n,), `datetime64[D]`.
        splits: Each journey's split, shape (n,).
        horizon_days: Days after the index date in which the outcome counts.
        cuts: The cut dates.
        gap_days: Days after `train_end` at which validation begins; None takes the cuts' own.

    Returns:
        The number of training journeys with index date + horizon > beginning of validation.
    """
    import numpy as np

    begins = np.datetime64(cuts.train_end, "D") + np.timedelta64(cuts.gap_days if gap_days is None else gap_days, "D")
    matures = index_dates.astype("datetime64[D]") + np.timedelta64(horizon_days, "D")
    return int(np.count_nonzero((np.asarray(splits) == "train") & (matures > begins)))


def _split_numbers(
    index_dates: "npt.NDArray[np.datetime64]", cuts: SplitCuts, gap_days: int
) -> "npt.NDArray[np.int64]":
    """Position in `SPLITS` by date alone; `len(SPLITS)` in a gap or without a date."""
    import numpy as np

    days = index_dates.astype("datetime64[D]")
    ends = np.array([cuts.train_end, cuts.validation_end, cuts.test_end], dtype="datetime64[D]")
    split = np.searchsorted(ends, days, side="right").astype(np.int64)
    in_gap = (split > 0) & (days < ends[np.maximum(split - 1, 0)] + np.timedelta64(gap_days, "D"))
    split[in_gap | np.isnat(days)] = len(SPLITS)
    return split


def _require_every_split(index_dates: "npt.NDArray[np.datetime64]", cuts: SplitCuts, parts: int) -> None:
    import numpy as np

    sizes = np.bincount(_split_numbers(index_dates, cuts, cuts.gap_days), minlength=len(SPLITS) + 1)
    if (sizes[:parts] > 0).all():
        return
    listed = ", ".join(f"{name} {size}" for name, size in zip(SPLITS, sizes[:parts].tolist(), strict=False))
    span = timedelta(days=int((index_dates.max() - index_dates.min()) / np.timedelta64(1, "D")))
    raise CohortTooSmall(
        f"A gap of {cuts.gap_days} days after each cut leaves a split empty: {listed}, and {int(sizes[-1])} of "
        f"{len(index_dates)} journeys inside the gaps, over {span.days} days in all. Shorten splits.gap_days (or use "
        "splits.gap: days), or bring journeys from a longer period."
    )
