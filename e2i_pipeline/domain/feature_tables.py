"""The feature table of each view, as one SQL statement (DuckDB).

What a fact is, when it is visible and how facts add up stands in `feature_sql.py`; which columns a source can fill is
decided in `features.py`, what configured covariates add in `covariate_sql.py`. Names that begin with an underscore are
internal, so that no covariate can meet them.
"""

from collections.abc import Mapping, Sequence

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain import covariate_sql
from e2i_pipeline.domain import feature_sql as sql
from e2i_pipeline.domain.feature_sql import Measure, Relations
from e2i_pipeline.domain.features import EVENT_COUNTS, HCP_FEATURES, PATIENT_FEATURES, ViewPlan
from e2i_pipeline.domain.prediction_time import MICROSECONDS_PER_DAY

CALLS = {"channel": "('phone', 'in_person')", "event_type": "('call', 'visit')"}
"""A touch is a call when one of these columns has one of these values."""

ENGAGED = "response IN ('accepted', 'viewed')"

CHANNELS = ("crm", "digital", "email", "in_person", "phone", "webinar")
"""The channels of the data dictionary; any other one is `other`. If two are equally frequent, the first here wins."""

OTHER_CHANNEL = "other"


def view_query(plan: ViewPlan, tables: Mapping[str, TableRef], locations: Mapping[str, str], window_days: int) -> str:
    """The SELECT statement of a view's feature table: one row per entity and change.

    Args:
        plan: What the view can hold; not empty.
        tables: Staged tables by canonical name.
        locations: The same tables as SQL relations, absent ones left out.
        window_days: Look-back window of `recent_touches`, in days.

    Returns:
        A statement with the join key, `event_timestamp`, `created_timestamp`, then the plan's columns in order. A row
        of the source that lacks entity, event time or known-at time cannot be placed and is in none.
    """
    relations = Relations(tables, locations, plan.bound)
    if plan.view == PATIENT_FEATURES:
        return _patient(plan, relations)
    if plan.view == HCP_FEATURES:
        return _hcp(plan, relations)
    return _engagement(plan, relations, window_days)


def _patient(plan: ViewPlan, relations: Relations) -> str:
    baseline = _baseline(plan)
    of_journey = {"_journey": sql.latest(_VERSION, sql.struct(baseline))} if baseline else {}
    facts = [sql.journeys(relations, sql.listed(of_journey))]
    measures = {"_journey": Measure("max(_journey)", "max")} if baseline else {}
    columns = {name: f"_journey.value['{name}']" for name in baseline}
    if relations.has("treatment_events"):
        of_events = covariate_sql.of_table(plan, "treatment_events")
        read = {"_id": "treatment_event_id", "_type": "event_type", "_date": "event_date"}
        read |= {"_cost": sql.exact("cost")} if plan.has("total_cost") else {}
        read |= covariate_sql.read(of_events)
        facts.append(sql.events(relations, sql.listed(read)))
        measures |= _event_measures(plan)
        columns |= {"first_diagnosis_date": "CAST(CAST(_first_diagnosis AS TIMESTAMP) AS TIMESTAMPTZ)"}
        columns |= {name: f"CAST(_{name} AS BIGINT)" for name in EVENT_COUNTS}
        columns |= {"total_cost": "CAST(coalesce(_total_cost, 0) AS DOUBLE)"}
        measures |= covariate_sql.measures(of_events, "_id")
        columns |= covariate_sql.columns(of_events)
    known = sql.cumulative("patient_id", sql.union(*facts), measures, relations.can_end)
    return sql.feature_table("patient_id", known, {name: columns[name] for name in plan.names})


_VERSION = sql.struct({"version_at": "version_at", "id": "patient_journey_id"})


def _baseline(plan: ViewPlan) -> dict[str, str]:
    """What a patient's latest journey says; a later version of it counts when it arrives."""
    built_in = {"risk_factors": "CAST(len(comorbidities) AS BIGINT)", "risk_score": "risk_score"}
    covariates = covariate_sql.latest_values(covariate_sql.of_table(plan, "patient_journeys"))
    return {name: value for name, value in built_in.items() if plan.has(name)} | covariates


def _event_measures(plan: ViewPlan) -> dict[str, Measure]:
    measures = {f"_{name}": Measure(f"count(*) FILTER (_type = '{t}')", "sum") for name, t in EVENT_COUNTS.items()}
    measures["_first_diagnosis"] = Measure("min(_date) FILTER (_type = 'diagnosis')", "min")
    if plan.has("total_cost"):
        measures["_total_cost"] = Measure("sum(_cost)", "sum")
    return measures


def _hcp(plan: ViewPlan, relations: Relations) -> str:
    profile = {"specialty": "specialty", "patient_volume": "CAST(total_patient_volume AS BIGINT)"}
    profile = {name: value for name, value in profile.items() if plan.has(name)}
    profile |= covariate_sql.latest_values(covariate_sql.of_table(plan, "hcp_profiles"))
    facts = [_meetings(relations)]
    measures = {"_patients": Measure("count(_patient)", "sum")}
    columns = {"total_patients": "CAST(_patients AS BIGINT)", **{name: f"_profile.value['{name}']" for name in profile}}
    if profile:
        of_profile = {"_profile": sql.latest("hcp_id", sql.struct(profile))}
        facts.append(sql.profiles(relations, sql.listed(of_profile)))
        measures["_profile"] = Measure("max(_profile)", "max")
    if relations.has("engagement_events"):
        has_response = relations.has("engagement_events", "response")
        read = {"_call_at": f"CASE WHEN {_is_call(relations)} THEN event_timestamp END", "_touch": "1"}
        read |= {"_engaged": f"CASE WHEN {ENGAGED} THEN 1 END"} if has_response else {}
        facts.append(sql.touches(relations, sql.listed(read)))
        measures |= {
            "_calls": Measure("count(_call_at)", "sum"),
            "_first_call": Measure("min(_call_at)", "min"),
            "_last_call": Measure("max(_call_at)", "max"),
            "_touches": Measure("count(_touch)", "sum"),
            **({"_engaged": Measure("count(_engaged)", "sum")} if has_response else {}),
        }
        columns |= {
            "call_count": "CAST(_calls AS BIGINT)",
            "first_call_date": "CAST(_first_call AS TIMESTAMPTZ)",
            "last_call_date": "CAST(_last_call AS TIMESTAMPTZ)",
            "engagement_rate": "CAST(_engaged AS DOUBLE) / nullif(CAST(_touches AS DOUBLE), 0)",
        }
    known = sql.cumulative("hcp_id", sql.union(*facts), measures, relations.can_end)
    return sql.feature_table("hcp_id", known, {name: columns[name] for name in plan.names})


def _is_call(relations: Relations) -> str:
    return " OR ".join(
        f"coalesce({column} IN {values}, false)"
        for column, values in CALLS.items()
        if relations.has("engagement_events", column)
    )


def _meetings(relations: Relations) -> str:
    """One fact per HCP and patient: from when until when a journey or an event joins them."""
    facts = [sql.journeys(relations, ", hcp_id")]
    if relations.has("treatment_events", "hcp_id"):
        facts.append(sql.events(relations, ", hcp_id"))
    return f"SELECT *, 1 AS _patient FROM ({_spells(relations, ('hcp_id', 'patient_id'), sql.union(*facts))})"


def _spells(relations: Relations, keys: Sequence[str], facts: str) -> str:
    """From when until when facts hold for the keys; where none of them can end, from when on."""
    if relations.can_end:
        return sql.spells(keys, facts)
    return f"""
        SELECT {", ".join(keys)}, min(event_at) AS event_at, min(visible) AS visible, NULL::TIMESTAMP AS until
        FROM ({facts}) WHERE {" AND ".join(f"{key} IS NOT NULL" for key in keys)} GROUP BY ALL"""


def _engagement(plan: ViewPlan, relations: Relations, window_days: int) -> str:
    """Touches per patient; a patient without any has a row with none, from the first journey on.

    A row keeps the times of the touches in the window before it became visible. At a later prediction time the window
    begins later, so the touches that count are among them, and Feast returns the row that knows all that came since.
    """
    measures = {"_times": Measure("coalesce(list(_time) FILTER (_time IS NOT NULL), [])", "list", window_days)}
    measures |= {f"_{channel}": Measure(f"count(*) FILTER ({test})", "sum") for channel, test in _channels().items()}
    begin = f"epoch_us(visible) - {window_days * MICROSECONDS_PER_DAY}"
    most = f"greatest({', '.join(f'_{channel}' for channel in _channels())})"
    favourite = " ".join(f"WHEN _{channel} = {most} THEN '{channel}'" for channel in _channels())
    columns = {
        "recent_touch_times": f"list_sort(list_filter(flatten(_times), lambda t: t > {begin}))",
        "channel_preferences": f"CASE WHEN {most} = 0 THEN NULL {favourite} END",
        # what a live touch adds to: in the order of CHANNELS, then any other channel
        "channel_counts": f"[{', '.join(f'CAST(_{channel} AS BIGINT)' for channel in _channels())}]",
    }
    covariates = covariate_sql.of_table(plan, "engagement_events")
    measures |= covariate_sql.measures(covariates, "_id", time="_time")
    columns |= covariate_sql.columns(covariates)
    facts = _reached(relations, covariate_sql.read(covariates))
    known = sql.cumulative("patient_id", facts, measures, relations.can_end)
    return sql.feature_table("patient_id", known, {name: columns[name] for name in plan.names})


def patients_of_hcps(relations: Relations) -> str:
    """From when until when journeys name an HCP: `hcp_id`, `patient_id`, `event_at`, `visible`, `until`."""
    return _spells(relations, ("hcp_id", "patient_id"), sql.journeys(relations, ", hcp_id"))


def _channels() -> dict[str, str]:
    """Channels in the order in which they win a tie, each with its test on a fact."""
    known = {channel: f"channel = '{channel}'" for channel in CHANNELS}
    listed = ", ".join(f"'{channel}'" for channel in CHANNELS)
    return {**known, OTHER_CHANNEL: f"channel NOT IN ({listed})"}


def _reached(relations: Relations, covariates: Mapping[str, str]) -> str:
    """One fact per touch and patient that it reached, and one without touch per patient with a journey.

    A touch without a patient reaches the patients of its HCP: those whose journeys name the HCP, from then on.
    """
    further = {"known_at": "known_at", "_id": "engagement_event_id", **covariates} if covariates else {}
    touched = ", channel, epoch_us(event_timestamp) AS _time" + sql.listed(further)
    facts = [
        f"SELECT * EXCLUDE (hcp_id) FROM ({sql.touches(relations, touched)}) WHERE patient_id IS NOT NULL",
        _spells(relations, ("patient_id",), sql.journeys(relations)),
    ]
    if relations.has("patient_journeys", "hcp_id"):
        facts.append(f"""
            SELECT p.patient_id, t.event_at, greatest(t.visible, p.visible) AS visible,
                least(t.until, p.until) AS until, t.* EXCLUDE (hcp_id, patient_id, event_at, visible, until)
            FROM ({sql.touches(relations, touched)}) AS t
            JOIN ({patients_of_hcps(relations)}) AS p
            ON p.hcp_id = t.hcp_id
            WHERE t.patient_id IS NULL AND coalesce(least(t.until, p.until) > greatest(t.visible, p.visible), true)""")
    return sql.union(*facts)
