"""The critical rules of the data dictionary, told a second time in plain pandas. Tests only.

Nothing here knows the suites, Great Expectations or the gate: what was published is opened and looked at row by row.
"""

from collections.abc import Iterator
from itertools import pairwise

import pandas as pd

from e2i_pipeline.contracts.references import DatasetRef, TableRef
from e2i_pipeline.contracts.tables import DIRECT, IDENTIFIER, TABLES
from e2i_pipeline.domain.quality import SPECIALTIES

EVENT_TYPES = {"diagnosis", "prescription", "lab_test", "procedure", "consultation", "hospitalization"}
REGIONS = {"northeast", "south", "midwest", "west"}


def broken(dataset: DatasetRef, brands: set[str]) -> list[str]:
    """The critical rules that a published dataset breaks; empty where it breaks none."""
    frames = {name: pd.read_parquet(t.location) for name, t in dataset.tables.items() if not t.is_absent}
    as_of = pd.Timestamp(dataset.as_of).tz_localize(None)
    found = [rule for name, frame in frames.items() for rule in _of_any_table(dataset.tables[name], frame)]
    found += _of_journeys(frames["patient_journeys"], dataset.tables["patient_journeys"], as_of, brands)
    found += _of_events(frames["treatment_events"], dataset.tables["treatment_events"], as_of)
    found += _of_profiles(frames["hcp_profiles"])
    if "engagement_events" in frames and frames["engagement_events"]["engagement_event_id"].duplicated().any():
        found.append("a touch stands twice")
    return found + list(_of_splits(frames["patient_journeys"], pd.read_parquet(dataset.assignments.location), as_of))


def _of_any_table(table: TableRef, frame: pd.DataFrame) -> Iterator[str]:
    schema = TABLES[table.name]
    if frame.empty:
        yield f"{table.name} is empty"
    for column in schema.columns:
        if column.is_required and (column.name not in frame or frame[column.name].isna().any()):
            yield f"{table.name}.{column.name} is missing or null"
        if column.privacy == DIRECT and column.name in frame:
            yield f"{table.name}.{column.name} names persons"
        if column.privacy == IDENTIFIER and column.name in frame:
            named = frame[column.name].dropna()
            if not named.str.fullmatch("[0-9a-f]{32}").all():
                yield f"{table.name}.{column.name} is no pseudonym"


def _of_journeys(frame: pd.DataFrame, table: TableRef, as_of: pd.Timestamp, brands: set[str]) -> Iterator[str]:
    if frame.duplicated(["patient_journey_id", "known_at"]).any():
        yield "a version of a journey stands twice"
    current = _current(frame, as_of)
    if current["patient_journey_id"].duplicated().any():
        yield "a journey has two current versions"
    if current["patient_id"].duplicated().any():
        yield "a patient has two journeys"
    if not set(frame["brand"]) <= brands | {"competitor", "other"}:
        yield "a brand is not configured"
    if (_judged(frame, table, as_of)["journey_start_date"] > as_of).any():
        yield "a journey begins in the future"


def _of_events(frame: pd.DataFrame, table: TableRef, as_of: pd.Timestamp) -> Iterator[str]:
    if frame["treatment_event_id"].duplicated().any():
        yield "an event stands twice"
    if not set(frame["event_type"]) <= EVENT_TYPES:
        yield "a kind of event is unknown"
    if (_judged(frame, table, as_of)["event_date"] > as_of).any():
        yield "an event is in the future"
    if "sequence_number" not in frame:
        return
    for _, events in frame.dropna(subset=["sequence_number", "event_date"]).groupby("patient_id"):
        ranks = list(zip(events["sequence_number"], pd.to_datetime(events["event_date"]), strict=True))
        if any(a < b and then > later for a, then in ranks for b, later in ranks):
            yield "a sequence goes against the dates"
            return


def _of_profiles(frame: pd.DataFrame) -> Iterator[str]:
    key = [name for name in ("hcp_id", "updated_at") if name in frame]
    if frame.duplicated(key).any():
        yield "a version of a profile stands twice"
    folded = frame["specialty"].str.replace("_", " ").str.replace("&", "and").str.strip().str.lower()
    if not set(folded) <= set(SPECIALTIES):
        yield "a specialty is unknown"
    if "geographic_region" in frame and not set(frame["geographic_region"].dropna()) <= REGIONS:
        yield "a region is unknown"


def _of_splits(journeys: pd.DataFrame, assigned: pd.DataFrame, as_of: pd.Timestamp) -> Iterator[str]:
    current = _current(journeys, as_of)
    if sorted(assigned["patient_journey_id"]) != sorted(current["patient_journey_id"]):
        yield "not each journey has one split"
    learning = assigned[assigned["data_split"] != "unassigned"]
    if (learning.groupby("patient_id")["data_split"].nunique() > 1).any():
        yield "a patient is in two splits"
    dated = learning.merge(current[["patient_journey_id", "journey_start_date"]], on="patient_journey_id")
    span = dated.groupby("data_split")["journey_start_date"].agg(["min", "max"])
    order = [split for split in ("train", "validation", "test", "holdout") if split in span.index]
    if any(span.loc[a, "max"] >= span.loc[b, "min"] for a, b in pairwise(order)):
        yield "the splits are not in order of time"


def _current(frame: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Each journey's latest version among those known at `as_of`."""
    known = frame[frame["known_at"] <= as_of]
    return known[known["known_at"] == known.groupby("patient_journey_id")["known_at"].transform("max")]


def _judged(frame: pd.DataFrame, table: TableRef, as_of: pd.Timestamp) -> pd.DataFrame:
    """The rows that must not be dated after `as_of`: all but versions that became known between it and the landing."""
    landed = pd.Timestamp(table.landed_at).tz_localize(None)
    dates = frame[["known_at"]].assign(**{c: pd.to_datetime(frame[c]) for c in frame if c.endswith("_date")})
    return dates[~((frame["known_at"] > as_of) & (frame["known_at"] <= landed))]
