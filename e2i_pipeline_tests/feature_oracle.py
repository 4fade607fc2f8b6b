"""What each feature is worth at a time, in plain Python, straight from the definitions; and small random histories.

Nothing of this is shared with the SQL that it judges.
"""

import math
import random
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

Row = dict[str, Any]

CHANNELS = ("crm", "digital", "email", "in_person", "phone", "webinar", "other")
EVENT_TYPES = ("diagnosis", "prescription", "lab_test", "procedure", "consultation", "hospitalization")
BEGIN = datetime(2024, 1, 1)  # noqa: DTZ001 - staged times are UTC without a zone


class History(NamedTuple):
    """Staged tables as rows."""

    patient_journeys: list[Row]
    treatment_events: list[Row]
    hcp_profiles: list[Row]
    engagement_events: list[Row]


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001


def random_history(seed: int, patients: int = 6, days: int = 25) -> History:
    """Few patients and days, so that ties, late rows and several changes on one day are the rule."""
    chance = random.Random(seed)  # noqa: S311 - test data

    def moment() -> datetime:
        return BEGIN + timedelta(days=chance.randrange(days), hours=chance.choice((0, 0, 9, 17)))

    def known(at: datetime) -> datetime:
        return at + timedelta(days=chance.choice((0, 0, 0, 1, 5, 12)), hours=chance.choice((0, 0, 3)))

    ids = [f"p{i}" for i in range(patients)]
    hcps = ["h0", "h1", "h2", None]
    journeys: list[Row] = []
    for number in range(patients + 3):
        start = midnight(moment().date())
        first_known = known(start)
        baseline = chance.choice((first_known, start))
        journeys += [
            {
                "patient_journey_id": f"j{number}",
                "patient_id": ids[number % patients],
                "hcp_id": chance.choice(hcps),
                "journey_start_date": start.date(),
                "comorbidities": chance.choice((None, [], ["a"], ["a", "b"])),
                "risk_score": chance.choice((None, 0.25, 0.5)),
                "gender": chance.choice((None, "F", "M")),
                "academic_hcp": chance.choice((None, 0, 1)),
                "known_at": first_known + timedelta(days=3 * version),
                "baseline_known_at": baseline,
            }
            for version in range(chance.choice((1, 1, 2, 3)))
        ]
    events: list[Row] = []
    for number in range(chance.randrange(1, 40)):
        day = midnight(moment().date())
        events.append(
            {
                "treatment_event_id": f"e{number:03d}",
                "patient_id": chance.choice([*ids, "elsewhere"]),
                "hcp_id": chance.choice(hcps),
                "event_date": day.date(),
                "event_type": chance.choice(EVENT_TYPES),
                "cost": chance.choice((None, 10.5, 0.1, 1e4)),
                "drug_class": chance.choice((None, "x", "y")),
                "duration_days": chance.choice((None, 7, 30)),
                "known_at": known(day),
            }
        )
    profiles = [
        {
            "hcp_id": hcp,
            "specialty": chance.choice(("dermatology", "oncology")),
            "total_patient_volume": chance.choice((None, 40, 80)),
            "updated_at": change,
            "known_at": change,
        }
        for hcp in ("h0", "h1")
        for change in sorted({moment() for _ in range(chance.choice((1, 2, 3)))})
    ]
    touches: list[Row] = []
    for number in range(chance.randrange(1, 40)):
        at = moment()
        touches.append(
            {
                "engagement_event_id": f"t{number:03d}",
                "hcp_id": chance.choice(("h0", "h1", "h2")),
                "patient_id": chance.choice((None, None, *ids)),
                "event_timestamp": at,
                "channel": chance.choice((*CHANNELS[:-1], "fax")),
                "event_type": chance.choice((None, "call", "email_open")),
                "response": chance.choice((None, "accepted", "viewed", "ignored")),
                "known_at": known(at),
            }
        )
    return History(journeys, events, profiles, touches)


def restated(history: History, seed: int) -> History:
    """The same history in which some rows were restated, once or twice, or deleted: `superseded_at` says until when."""
    chance = random.Random(seed)  # noqa: S311 - test data

    def versions(row: Row, changes: Row) -> list[Row]:
        found: list[Row] = [row]
        for _ in range(chance.choice((0, 0, 0, 1, 2))):
            later = found[-1]["known_at"] + timedelta(days=chance.choice((1, 2, 9)), hours=chance.choice((0, 0, 5)))
            changed = {name: chance.choice(values) for name, values in changes.items() if chance.random() < 0.5}
            found.append({**found[-1], **changed, "known_at": later})
        gone = found[-1]["known_at"] + timedelta(days=chance.choice((1, 6))) if chance.random() < 0.2 else None
        ends = [*(version["known_at"] for version in found[1:]), gone]
        return [{**version, "superseded_at": end} for version, end in zip(found, ends, strict=True)]

    def all_versions(rows: list[Row], *columns: str) -> list[Row]:
        changes = {name: [row[name] for row in rows] for name in columns}
        return [version for row in rows for version in versions(row, changes)]

    first = [j for j in history.patient_journeys if not any(_is_later(j, other) for other in history.patient_journeys)]
    return History(
        all_versions(first, "patient_id", "hcp_id", "journey_start_date", "risk_score"),
        all_versions(history.treatment_events, "patient_id", "hcp_id", "event_date", "event_type", "cost"),
        [{**profile, "superseded_at": None} for profile in history.hcp_profiles],
        all_versions(history.engagement_events, "hcp_id", "patient_id", "event_timestamp", "channel", "response"),
    )


class Oracle:
    """What was known of a history at a time; touches of that very time only where `bound` is `<=`."""

    def __init__(self, history: History, window_days: int, bound: str = "<=") -> None:
        self._history = history
        self._window = timedelta(days=window_days)
        self._touch_lag = timedelta(microseconds=bound == "<")

    def features(self, patient: str, hcp: str | None, at: datetime) -> Row:
        return {**self.patient(patient, at), **self.hcp(hcp, at), **self.engagement(patient, at)}

    def patient(self, patient: str, at: datetime) -> Row:
        events = [e for e in self._events(at) if e["patient_id"] == patient]
        journeys = [j for j in self._journeys(at) if j["patient_id"] == patient]
        if not self._seen(at, "patient_id", patient):
            return dict.fromkeys((*PATIENT, "total_cost"))
        diagnoses = [midnight(e["event_date"]) for e in events if e["event_type"] == "diagnosis"]
        types = Counter(e["event_type"] for e in events)
        latest: Row = max(journeys, key=_journey_order) if journeys else {}
        comorbidities = latest.get("comorbidities")
        drugs = [e for e in events if e["drug_class"] is not None]
        durations = [e["duration_days"] for e in events if e["duration_days"] is not None]
        return {
            "days_since_diagnosis": math.floor((at - min(diagnoses)) / timedelta(days=1)) if diagnoses else None,
            "treatment_count": types["prescription"],
            **{f"{t}_count": types[t] for t in EVENT_TYPES if t != "prescription"},
            "total_cost": math.fsum(e["cost"] for e in events if e["cost"] is not None),
            "risk_factors": None if comorbidities is None else len(comorbidities),
            "risk_score": latest.get("risk_score"),
            "gender": latest.get("gender"),
            "academic": latest.get("academic_hcp"),
            "latest_drug": max(drugs, key=_event_order)["drug_class"] if drugs else None,
            "drug_events": len(drugs),
            "supply": sum(durations) if durations else None,
            "mean_supply": sum(durations) / len(durations) if durations else None,
            "longest_supply": max(durations, default=None),
            **self._of_recent_events(events, at),
        }

    def _of_recent_events(self, events: list[Row], at: datetime) -> Row:
        """Windowed covariates. A dated event counts from just after its midnight on, and so it ends."""

        def within(column: str, days: int) -> list[Row]:
            begin = at - timedelta(days=days)
            found = [e for e in events if midnight(e["event_date"]) + timedelta(microseconds=1) > begin]
            return [e for e in found if e[column] is not None]

        supplied = [e["duration_days"] for e in within("duration_days", 6)]
        drugs, costs = within("drug_class", 9), [e["cost"] for e in within("cost", 6)]
        return {
            "recent_drugs": len(drugs),
            "recent_drug": max(drugs, key=_event_order)["drug_class"] if drugs else None,
            "first_drug_name": min((e["drug_class"] for e in drugs), default=None),
            "recent_cost": math.fsum(costs) if costs else None,
            "recent_mean_cost": math.fsum(costs) / len(costs) if costs else None,
            "recent_supply": max(supplied, default=None),
            "least_supply": min(supplied, default=None),
            "is_supplied": float(any(supplied)) if supplied else None,
        }

    def hcp(self, hcp: str | None, at: datetime) -> Row:
        profiles = [p for p in self._history.hcp_profiles if p["hcp_id"] == hcp and p["known_at"] <= at]
        met = {r["patient_id"] for r in (*self._journeys(at), *self._events(at)) if r["hcp_id"] == hcp}
        touches = [t for t in self._touches(at) if t["hcp_id"] == hcp]
        if hcp is None or not (profiles or self._seen(at, "hcp_id", hcp) or self._touched(at, "hcp_id", hcp)):
            return dict.fromkeys(HCP)
        latest: Row = max(profiles, key=lambda p: p["updated_at"]) if profiles else {}
        engaged = sum(t["response"] in ("accepted", "viewed") for t in touches)
        calls = [t["event_timestamp"] for t in touches if _is_call(t)]
        days = max((at - min(calls)) / timedelta(days=1), 30) if calls else 30
        return {
            "specialty": latest.get("specialty"),
            "patient_volume": latest.get("total_patient_volume"),
            "total_patients": len(met),
            "engagement_rate": engaged / len(touches) if touches else None,
            "call_frequency": len(calls) * 30 / days,
            "first_call_date": min(calls, default=None),
            "last_call_date": max(calls, default=None),
            "volume": latest.get("total_patient_volume"),
        }

    def channel_counts(self, patient: str, at: datetime) -> list[int] | None:
        """Touches that reached the patient, per channel in the order of `CHANNELS`."""
        channels = Counter(t["channel"] if t["channel"] in CHANNELS else "other" for t in self._reached(patient, at))
        return [channels[channel] for channel in CHANNELS] if self._had_reach(patient, at) else None

    def _reached(self, patient: str, at: datetime) -> list[Row]:
        hcps = {j["hcp_id"] for j in self._journeys(at) if j["patient_id"] == patient}
        return [
            t
            for t in self._touches(at)
            if t["patient_id"] == patient or (t["patient_id"] is None and t["hcp_id"] in hcps)
        ]

    def engagement(self, patient: str, at: datetime) -> Row:
        touches = self._reached(patient, at)
        if not self._had_reach(patient, at):
            return dict.fromkeys(ENGAGEMENT)
        answers = [t for t in touches if t["response"] is not None]
        recent = [t for t in answers if t["event_timestamp"] > at - timedelta(days=8)]
        channels = Counter(t["channel"] if t["channel"] in CHANNELS else "other" for t in touches)
        return {
            "recent_touches": sum(t["event_timestamp"] > at - self._window for t in touches),
            "channel_preferences": max(CHANNELS, key=lambda c: (channels[c], -CHANNELS.index(c))) if touches else None,
            "answers": len(answers),
            "last_answer": max(answers, key=_touch_order)["response"] if answers else None,
            "recent_answers": len(recent),
            "recent_answer": max(recent, key=_touch_order)["response"] if recent else None,
        }

    def _seen(self, at: datetime, key: str, value: str | None) -> bool:
        """Whether an event or a journey of a patient or an HCP was ever known, even if it does not hold any more."""
        rows = (*self._events(at, False), *self._journeys(at, False))
        return any(row[key] == value and row["patient_id"] is not None for row in rows)

    def _touched(self, at: datetime, key: str, value: str | None) -> bool:
        return any(touch[key] == value for touch in self._touches(at, False))

    def _had_reach(self, patient: str, at: datetime) -> bool:
        """Whether the patient ever had a journey, or was touched."""
        return self._touched(at, "patient_id", patient) or any(
            journey["patient_id"] == patient for journey in self._journeys(at, False)
        )

    def _events(self, at: datetime, holding: bool = True) -> list[Row]:
        """An event of a day is not known at that day's midnight."""
        events = [(midnight(e["event_date"]) + timedelta(microseconds=1), e) for e in self._history.treatment_events]
        return [e for day, e in events if _is_known(e, max(day, e["known_at"]), at, holding)]

    def _touches(self, at: datetime, holding: bool = True) -> list[Row]:
        touches = self._history.engagement_events
        at -= self._touch_lag
        return [t for t in touches if _is_known(t, max(t["event_timestamp"], t["known_at"]), at, holding)]

    def _journeys(self, at: datetime, holding: bool = True) -> list[Row]:
        """Versions known at a time; the first of a journey is known with its baseline."""
        known: list[Row] = []
        for version in self._history.patient_journeys:
            siblings = [j for j in self._history.patient_journeys if _same_journey(j, version)]
            is_first = version["known_at"] == min(j["known_at"] for j in siblings)
            baseline = version["baseline_known_at"]
            counts_from = baseline if is_first else max(version["known_at"], baseline)
            if _is_known(version, max(midnight(version["journey_start_date"]), counts_from), at, holding):
                known.append({**version, "counts_from": counts_from})
        return known


def _is_known(row: Row, visible: datetime, at: datetime, holding: bool) -> bool:
    """Whether a row is visible at a time and, where that is asked, still holds; one that never could be is nothing."""
    until = row.get("superseded_at") or max(at, visible) + timedelta(days=1)
    return visible <= at and visible < until and (at < until or not holding)


COVARIATES: list[Row] = [
    {"name": "gender", "table": "patient_journeys", "column": "gender", "dtype": "categorical"},
    {"name": "academic", "table": "patient_journeys", "column": "academic_hcp", "dtype": "boolean"},
    {"name": "latest_drug", "table": "treatment_events", "column": "drug_class", "dtype": "categorical"},
    {
        "name": "drug_events",
        "table": "treatment_events",
        "column": "drug_class",
        "dtype": "categorical",
        "aggregation": "count",
    },
    *(
        {"name": name, "table": "treatment_events", "column": "duration_days", "dtype": "numeric", "aggregation": how}
        for name, how in (("supply", "sum"), ("mean_supply", "mean"), ("longest_supply", "max"))
    ),
    *(
        {
            "name": name,
            "table": "treatment_events",
            "column": column,
            "dtype": dtype,
            "aggregation": how,
            "window": window,
        }
        for name, column, dtype, how, window in (
            ("recent_drugs", "drug_class", "categorical", "count", 9),
            ("recent_drug", "drug_class", "categorical", "latest", 9),
            ("first_drug_name", "drug_class", "categorical", "min", 9),
            ("recent_cost", "cost", "numeric", "sum", 6),
            ("recent_mean_cost", "cost", "numeric", "mean", 6),
            ("recent_supply", "duration_days", "numeric", "max", 6),
            ("least_supply", "duration_days", "numeric", "min", 6),
            ("is_supplied", "duration_days", "boolean", "max", 6),
        )
    ),
    {"name": "volume", "table": "hcp_profiles", "column": "total_patient_volume", "dtype": "numeric"},
    *(
        {
            "name": name,
            "table": "engagement_events",
            "column": "response",
            "dtype": "categorical",
            "aggregation": how,
            "window": window,
        }
        for name, how, window in (
            ("answers", "count", None),
            ("last_answer", "latest", None),
            ("recent_answers", "count", 8),
            ("recent_answer", "latest", 8),
        )
    ),
]
"""Covariates of each kind, table and aggregation, with and without a window."""

_OF = {
    view: tuple(c["name"] for c in COVARIATES if c["table"] in tables)
    for view, tables in (
        ("patient", ("patient_journeys", "treatment_events")),
        ("hcp", ("hcp_profiles",)),
        ("engagement", ("engagement_events",)),
    )
}

PATIENT = (
    "days_since_diagnosis",
    "treatment_count",
    *(f"{t}_count" for t in EVENT_TYPES if t != "prescription"),
    "risk_factors",
    "risk_score",
    *_OF["patient"],
)
HCP = (
    "specialty",
    "patient_volume",
    "total_patients",
    "engagement_rate",
    "call_frequency",
    "first_call_date",
    "last_call_date",
    *_OF["hcp"],
)
ENGAGEMENT = ("recent_touches", "channel_preferences", *_OF["engagement"])


def _is_later(journey: Row, other: Row) -> bool:
    return _same_journey(journey, other) and journey["known_at"] > other["known_at"]


def _same_journey(one: Row, other: Row) -> bool:
    return one["patient_journey_id"] == other["patient_journey_id"]


def _journey_order(journey: Row) -> tuple[Any, ...]:
    return (
        journey["journey_start_date"],
        journey["counts_from"],
        journey["known_at"],
        journey["patient_journey_id"],
    )


def _event_order(event: Row) -> tuple[Any, ...]:
    return event["event_date"], event["known_at"], event["treatment_event_id"]


def _touch_order(touch: Row) -> tuple[Any, ...]:
    return touch["event_timestamp"], touch["known_at"], touch["engagement_event_id"]


def _is_call(touch: Row) -> bool:
    return touch["channel"] in ("phone", "in_person") or touch["event_type"] in ("call", "visit")
