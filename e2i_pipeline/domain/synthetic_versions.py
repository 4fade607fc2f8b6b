"""When the generated world says what: ids, streams of random numbers, and the versions of journeys and events.

Nothing here changes what happened. Late rows say the truth later; of a restated row the last version says it.
"""

# pyarrow ships no types, so what comes out of it is unknown to the type checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import zlib
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_columns import DAY_US, day_number, numbered, picked, some
from e2i_pipeline.domain.synthetic_population import Patients
from e2i_pipeline.domain.synthetic_process import Design

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

FINAL_INSTANT = (day_number(vocabulary.FINAL_DAY) + 1) * DAY_US - 1_000_000
"""The last second of the final day, in microseconds since 1970 (UTC)."""

HCP_DIGITS = 6
"""One physician per 50 patients: 200,000 of them at 10 million journeys."""

LATE_DAYS = (30, 120)
"""How late a late row is, and how long after what it corrects a correction comes: from, to (excluded)."""

MISSED = 0.5
"""Share of the treated among the corrected journeys whose second version says that there was no treatment."""


class Streams(NamedTuple):
    """A stream of random numbers per thing that is drawn, so that a change to one leaves the others as they were."""

    panel: "np.random.Generator"
    patients: "np.random.Generator"
    events: "np.random.Generator"
    journeys: "np.random.Generator"
    profiles: "np.random.Generator"
    touches: "np.random.Generator"
    history: "np.random.Generator"

    @classmethod
    def of(cls, seed: int, brand: str, block: int) -> "Streams":
        """The streams of one block of a brand's journeys; the brand's panel is drawn from those of block 0."""
        import numpy as np

        sequence = np.random.SeedSequence([seed, zlib.crc32(brand.encode()), block])
        return cls(*(np.random.default_rng(child) for child in sequence.spawn(len(cls._fields))))


class JourneyIds(NamedTuple):
    """The ids of each patient: texts, shape (patients,); `hcp` is dictionary-encoded."""

    journey: "pa.Array"
    patient: "pa.Array"
    hcp: "pa.Array"

    @classmethod
    def of(cls, brand: str, patients: Patients) -> "JourneyIds":
        """The ids of these patients."""
        import numpy as np

        number = patients.first + np.arange(patients.size)
        named, index = np.unique(patients.hcp, return_inverse=True)
        return cls(
            numbered(f"{brand}-J", number),
            numbered(f"{brand}-P", number),
            picked(numbered(f"{brand}-H", named, HCP_DIGITS), index.astype(np.int32)),
        )

    def of_patients(self, index: "np.ndarray") -> "tuple[pa.Array, pa.Array, pa.Array]":
        """Journey, patient and physician of rows about the patients at `index`, dictionary-encoded."""
        import numpy as np

        rows = index.astype(np.int32)
        return picked(self.journey, rows), picked(self.patient, rows), self.hcp.take(rows)


class Versions(NamedTuple):
    """Versions of journeys, ordered by journey and time; every array but `patient` has shape (versions,).

    Attributes:
        patient: Index into the patients.
        has_outcome: Whether the version holds an outcome.
        is_treated: Whether it says that treatment was initiated.
        sourced: When its source knew, microseconds since 1970 (UTC).
        known: When it became known, likewise; later than `sourced` where it came late.
    """

    patient: "np.ndarray"
    has_outcome: "np.ndarray"
    is_treated: "np.ndarray"
    sourced: "np.ndarray"
    known: "np.ndarray"


def draw_versions(
    rng: "np.random.Generator", history: "np.random.Generator", patients: Patients, design: Design
) -> Versions:
    """Draws the versions of each journey: one, or with `Design.restated_share` above 0 up to three.

    Args:
        rng: The stream of the journeys.
        history: The stream of what comes late or again.
        patients: The patients.
        design: What decides the world.
    """
    import numpy as np

    n, closing = patients.size, patients.index_day + design.outcome_window_days
    is_open = closing > day_number(vocabulary.FINAL_DAY)
    is_treated = patients.is_initiated & ~is_open
    day = np.where(is_treated, patients.index_day + patients.days_to_treatment + rng.integers(0, 5, n), closing)
    day = np.where(is_open, patients.index_day + rng.integers(0, 3, n), day)
    seconds = rng.integers(1, 86_400, n) * 1_000_000
    sourced = np.minimum(day * DAY_US + seconds, FINAL_INSTANT)
    single = Versions(np.arange(n), ~is_open, is_treated, sourced, sourced)
    if design.restated_share:
        return _history(history, patients, closing * DAY_US + seconds, single, design)
    return single._replace(known=np.minimum(sourced + delays(history, design.late_share, n), FINAL_INSTANT))


def _history(
    rng: "np.random.Generator", patients: Patients, closed: "np.ndarray", single: Versions, design: Design
) -> Versions:
    """Three layers of versions: of the index day, with the outcome (some of them wrong), and corrected."""
    import numpy as np

    is_wrong = some(rng, patients.size, design.restated_share) & single.has_outcome
    is_missed = is_wrong & single.is_treated & some(rng, patients.size, MISSED)
    # Who was missed was reported untreated, and nobody is before the window has closed.
    sourced = np.where(is_missed, closed, single.sourced)
    known = np.minimum(sourced + delays(rng, design.late_share, patients.size), FINAL_INSTANT)
    corrected = known + rng.integers(*LATE_DAYS, patients.size) * DAY_US
    is_corrected = is_wrong & (corrected <= FINAL_INSTANT)
    is_missed &= is_corrected  # the last version says the truth, also where its correction would come too late
    start, nobody = patients.index_day * DAY_US, np.zeros(patients.size, bool)
    layers = (
        (np.ones(patients.size, bool), Versions(single.patient, nobody, nobody, start, start)),
        (single.has_outcome, Versions(single.patient, ~nobody, single.is_treated & ~is_missed, sourced, known)),
        (is_corrected, Versions(single.patient, ~nobody, single.is_treated, corrected, corrected)),
    )
    stacked = Versions(*(np.concatenate(parts) for parts in zip(*_kept(layers), strict=True)))
    order = np.lexsort((stacked.known, stacked.patient))
    return Versions(*(values[order] for values in stacked))


def _kept(layers: "tuple[tuple[np.ndarray, Versions], ...]") -> "list[list[np.ndarray]]":
    return [[values[is_kept] for values in versions] for is_kept, versions in layers]


def delays(rng: "np.random.Generator", share: float, rows: int) -> "np.ndarray":
    """By how much rows come late, microseconds (n,): 0 but for a random share of them."""
    import numpy as np

    if not share:
        return np.zeros(rows, np.int64)
    return np.where(some(rng, rows, share), rng.integers(*LATE_DAYS, rows) * DAY_US, 0)


def restated_events(rng: "np.random.Generator", events: "pa.Table", share: float) -> "pa.Table":
    """The events, a share of them a second time, right after the first: 20 to 90 days later, with another cost.

    Args:
        rng: The stream of what comes again.
        events: `treatment_events`.
        share: 0..1.
    """
    import numpy as np
    import pyarrow as pa

    known = events["created_at"].to_numpy().astype(np.int64) + rng.integers(20, 90, events.num_rows) * DAY_US
    again = np.flatnonzero(some(rng, events.num_rows, share) & (known <= FINAL_INSTANT))
    order = np.concatenate([np.arange(events.num_rows), again])
    is_second = np.concatenate([np.zeros(events.num_rows, bool), np.ones(len(again), bool)])
    rank = np.argsort(order, kind="stable")
    order, is_second = order[rank], is_second[rank]
    found = events.take(order)
    instant = pa.timestamp("us")
    for name in ("source_timestamp", "created_at"):
        first = found[name].to_numpy().astype(np.int64)
        times = np.where(is_second, known[order] - (name == "source_timestamp") * DAY_US // 24, first)
        found = _with(found, name, pa.array(times.astype("datetime64[us]"), instant))
    cost = found["cost"].to_numpy()
    factor = np.round(rng.uniform(0.5, 1.2, len(order)), 2)
    changed = np.round(np.where(is_second, cost * factor, cost), 2)
    return _with(found, "cost", pa.array(changed, mask=np.isnan(changed)))


def _with(table: "pa.Table", name: str, values: "pa.Array") -> "pa.Table":
    return table.set_column(table.schema.get_field_index(name), name, values)
