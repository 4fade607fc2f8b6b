"""Which features exist: the catalogue, and what of it a source can fill.

A feature whose table or column is absent is left out with the reason, never filled with zeros. How a feature table is
computed stands in `feature_sql.py`, what depends on the time of prediction in `prediction_time.py`; how Feast serves
them stands in `feature_repo/`, which imports nothing of ours (a test holds the two equal).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.references import FeatureSpec, TableRef
from e2i_pipeline.errors import ConfigurationError

PATIENT_FEATURES = "patient_features"
HCP_FEATURES = "hcp_features"
ENGAGEMENT_FEATURES = "engagement_features"

ENTITIES = {PATIENT_FEATURES: "patient_id", HCP_FEATURES: "hcp_id", ENGAGEMENT_FEATURES: "patient_id"}
"""The views in the order in which a model sees their features, each with its join key."""

AUXILIARY = ("first_call_date", "last_call_date")
"""Columns that travel with the training dataset for its suite, but are no features of a model."""

OUTCOMES = frozenset({"treatment_initiated", "days_to_treatment", "negative_control_outcome"})
"""Journey columns that hold an outcome: a covariate on one would predict what comes from what has come."""

EVENT_COUNTS = {
    "treatment_count": "prescription",
    "diagnosis_count": "diagnosis",
    "consultation_count": "consultation",
    "hospitalization_count": "hospitalization",
    "procedure_count": "procedure",
    "lab_test_count": "lab_test",
}
"""Cumulative counts of a patient's events: feature to event type."""


def observation_window(windows: Sequence[int | None], declared: int | None) -> int | None:
    """How far back a feature may look, in days; None: as far as the source goes.

    The cumulative counts of the catalogue (`EVENT_COUNTS`) see all that is known, and so does an aggregate without a
    window, so that a shorter window than all of it can only be declared: by somebody who knows that the source holds
    no more.

    Args:
        windows: The window of each configured aggregate in days, None for one without.
        declared: Days that the configuration declares; None derives them.
    """
    if declared is not None:
        return declared
    looks_back = [None for _ in EVENT_COUNTS] + list(windows)
    return None if None in looks_back else max((days for days in looks_back if days is not None), default=None)


_ROW_COLUMNS = (
    *("event_timestamp", "created_timestamp", "observation_date", "index_date"),
    *("patient_journey_id", "brand", "target", "data_split"),
)
"""Columns that a feature table or the training dataset has beside the features."""

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN")
_DTYPES = {"numeric": "Float64", "categorical": "String", "boolean": "Bool"}


class StoredColumn(Contract):
    """One column of a feature table.

    Attributes:
        name: Column name.
        dtype: Type in Feast: `Int64`, `Float64`, `String`, `Bool`, `UnixTimestamp`, or an `Array` of one.
        table: Canonical table that it comes from.
        column: Column of that table that it cannot do without.
    """

    name: str
    dtype: str
    table: str
    column: str


class CovariateColumn(StoredColumn):
    """What the configuration adds: one stored column, or, for a windowed covariate, the anchors of a feature.

    Attributes:
        kind: Kind of the feature: `numeric`, `categorical` or `boolean`.
        aggregation: `latest`, `count`, `sum`, `mean`, `min` or `max` over the rows known so far.
        window_days: Aggregate the rows of the last so many days before the prediction time; None: all of them.
        low: Smallest value that makes sense.
        high: Largest value that makes sense.
    """

    kind: str
    aggregation: str
    window_days: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def stored(self) -> tuple[StoredColumn, ...]:
        """The columns of the feature table that it takes: a windowed one has times and, unless it counts, values."""
        if self.window_days is None:
            return (StoredColumn(name=self.name, dtype=self.dtype, table=self.table, column=self.column),)
        times, values = window_anchors(self.name)
        dtypes = {times: "Array(Int64)"}
        if self.aggregation != "count":
            dtypes[values] = "Array(String)" if self.kind == "categorical" else "Array(Float64)"
        return tuple(StoredColumn(name=n, dtype=d, table=self.table, column=self.column) for n, d in dtypes.items())


class ViewPlan(Contract):
    """What a source lets a view hold.

    Attributes:
        view: Name of the view.
        entity: Join key.
        bound: Whether an event with a time is seen at that time (`<=`) or only afterwards (`<`).
        columns: Stored columns of the catalogue that can be filled.
        covariates: Configured columns that can be filled.
        left_out: Features and auxiliary columns that cannot be filled, each with the reason.
    """

    view: str
    entity: str
    bound: str = "<="
    columns: tuple[StoredColumn, ...] = ()
    covariates: tuple[CovariateColumn, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all can be filled."""
        return not self.columns and not self.covariates

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all stored columns, in order."""
        return (*(c.name for c in self.columns), *(s.name for c in self.covariates for s in c.stored))

    def has(self, column: str) -> bool:
        """Whether the view stores a column of this name."""
        return column in self.names


def _stored(table: str, spec: str) -> tuple[StoredColumn, ...]:
    """Reads `name dtype source_column` triples, separated by semicolons."""
    triples = (part.split() for part in spec.split(";"))
    return tuple(StoredColumn(name=n, dtype=d, table=table, column=c) for n, d, c in triples)


STORED: dict[str, tuple[StoredColumn, ...]] = {
    PATIENT_FEATURES: (
        *_stored("treatment_events", "first_diagnosis_date UnixTimestamp event_type"),
        *(StoredColumn(name=n, dtype="Int64", table="treatment_events", column="event_type") for n in EVENT_COUNTS),
        *_stored("treatment_events", "total_cost Float64 cost"),
        *_stored("patient_journeys", "risk_factors Int64 comorbidities; risk_score Float64 risk_score"),
    ),
    HCP_FEATURES: (
        *_stored("hcp_profiles", "specialty String specialty; patient_volume Int64 total_patient_volume"),
        *_stored("patient_journeys", "total_patients Int64 hcp_id"),
        *_stored("engagement_events", "engagement_rate Float64 response; call_count Int64 channel"),
        *_stored("engagement_events", "first_call_date UnixTimestamp channel; last_call_date UnixTimestamp channel"),
    ),
    ENGAGEMENT_FEATURES: _stored(
        "engagement_events",
        "recent_touch_times Array(Int64) event_timestamp; channel_preferences String channel; "
        "channel_counts Array(Int64) channel",
    ),
}
"""The stored columns of each view."""

COVARIATE_VIEWS = {
    "patient_journeys": PATIENT_FEATURES,
    "treatment_events": PATIENT_FEATURES,
    "hcp_profiles": HCP_FEATURES,
    "engagement_events": ENGAGEMENT_FEATURES,
}
"""The view that a configured covariate belongs to, by its table."""

_OF_VERSIONS = {"patient_journeys": "journey", "hcp_profiles": "profile"}

ANCHORS = {
    "days_since_diagnosis": ("first_diagnosis_date",),
    "call_frequency": ("call_count", "first_call_date"),
    "recent_touches": ("recent_touch_times",),
}
"""Features that depend on the time of prediction, each with the stored columns that it is computed from."""


def _spec(
    view: str, name: str, description: str, kind: str = "numeric", low: float | None = 0, high: float | None = None
) -> FeatureSpec:
    stored = {column.name: column.table for column in STORED[view]}
    source = stored[ANCHORS.get(name, (name,))[0]]
    return FeatureSpec(name=name, kind=kind, view=view, description=description, low=low, high=high, source=source)


CATALOGUE: tuple[FeatureSpec, ...] = (
    _spec(PATIENT_FEATURES, "days_since_diagnosis", "Days from the first diagnosis event to the prediction time."),
    *(_spec(PATIENT_FEATURES, n, f"Events of type {t} before the prediction time.") for n, t in EVENT_COUNTS.items()),
    _spec(PATIENT_FEATURES, "total_cost", "Cost of all events before the prediction time, in the source's currency."),
    _spec(PATIENT_FEATURES, "risk_factors", "Number of comorbidities in the latest journey."),
    _spec(PATIENT_FEATURES, "risk_score", "Risk score of the latest journey, 0 to 1.", high=1),
    _spec(HCP_FEATURES, "specialty", "Specialty of the HCP.", kind="categorical", low=None),
    _spec(HCP_FEATURES, "patient_volume", "Total patient volume of the HCP's profile."),
    _spec(HCP_FEATURES, "total_patients", "Different patients of the HCP seen so far."),
    _spec(HCP_FEATURES, "engagement_rate", "Share of the HCP's touches accepted or viewed so far.", high=1),
    _spec(HCP_FEATURES, "call_frequency", "Calls and visits to the HCP per 30 days so far.", high=100),
    _spec(ENGAGEMENT_FEATURES, "recent_touches", "Touches that reached the patient in the look-back window."),
    _spec(ENGAGEMENT_FEATURES, "channel_preferences", "Most frequent channel so far.", kind="categorical", low=None),
)
"""Every feature that the product knows by itself, in the order of the model's columns."""


def plan_view(
    view: str, tables: Mapping[str, TableRef], covariates: Sequence[Mapping[str, Any]] = (), bound: str = "<="
) -> ViewPlan:
    """Says what of a view the staged tables can fill.

    Args:
        view: Name of the view.
        tables: Staged tables by canonical name; a missing one counts as absent.
        covariates: Configured covariates (`name`, `table`, `column`, `dtype`, `aggregation`, `window`, `low`, `high`);
            all are checked, and those on tables of another view left to it.
        bound: `<=` or `<`: whether an event with a time is seen at that time. One with a date only never is.

    Returns:
        The plan.

    Raises:
        ConfigurationError: A covariate takes a built-in name, a name twice, the outcome, or a column of a type that its
            `dtype` or `aggregation` cannot hold.
    """
    entity = ENTITIES[view]
    barred = _barred(view, tables)
    columns: list[StoredColumn] = []
    missing: dict[str, str] = {}
    for stored in STORED[view]:
        if reason := barred or _missing(tables, stored.table, stored.column):
            missing[stored.name] = reason
        else:
            columns.append(stored)
    left_out = {spec.name: r for spec in CATALOGUE if spec.view == view and (r := _first_missing(spec.name, missing))}
    left_out |= {name: missing[name] for name in AUXILIARY if name in missing}
    extra: list[CovariateColumn] = []
    for covariate in _checked(covariates, tables):
        if COVARIATE_VIEWS[covariate.table] != view:
            continue
        if reason := barred or _missing(tables, covariate.table, covariate.column):
            left_out[covariate.name] = reason
        else:
            extra.append(covariate)
    return ViewPlan(
        view=view, entity=entity, bound=bound, columns=tuple(columns), covariates=tuple(extra), left_out=left_out
    )


def model_features(plans: Sequence[ViewPlan]) -> tuple[FeatureSpec, ...]:
    """The features that a model can have: views in the given order, each view's covariates after its own features."""
    features: list[FeatureSpec] = []
    for plan in plans:
        features += [s for s in CATALOGUE if s.view == plan.view and all(map(plan.has, ANCHORS.get(s.name, (s.name,))))]
        features += [covariate_feature(covariate) for covariate in plan.covariates]
    return tuple(features)


def covariate_description(covariate: CovariateColumn) -> str:
    """One sentence on a configured covariate, for the model card and Feast."""
    since = "known so far" if covariate.window_days is None else f"in the last {covariate.window_days} days"
    return f"{covariate.aggregation.capitalize()} {covariate.column} of {covariate.table} {since}."


def stored_covariate(covariate: CovariateColumn) -> list[dict[str, Any]]:
    """The stored columns of a configured covariate as the feature repository reads them."""
    said, tags = covariate_description(covariate), {}
    if covariate.window_days is not None:
        said, tags = f"Behind {covariate.name}: {said}", {"role": "anchor", "feature": covariate.name}
    return [{"name": s.name, "dtype": s.dtype, "description": said, "tags": tags} for s in covariate.stored]


def window_anchors(feature: str) -> tuple[str, str]:
    """Names of the stored columns behind a windowed covariate: times in microseconds since 1970, and values."""
    return f"{feature}_times", f"{feature}_values"


def covariate_feature(covariate: CovariateColumn) -> FeatureSpec:
    """A configured covariate as a model sees it."""
    return FeatureSpec(
        name=covariate.name,
        kind=covariate.kind,
        view=COVARIATE_VIEWS[covariate.table],
        description=covariate_description(covariate),
        low=covariate.low,
        high=covariate.high,
        source=covariate.table,
        aggregation=covariate.aggregation,
        window_days=covariate.window_days,
    )


def _barred(view: str, tables: Mapping[str, TableRef]) -> str:
    """Why a whole view cannot be joined to a journey; empty where it can."""
    by_hcp = _missing(tables, "patient_journeys", "hcp_id")
    if view == HCP_FEATURES and by_hcp:
        return f"{by_hcp}, so that no HCP can be joined to a journey"
    if view == ENGAGEMENT_FEATURES and by_hcp and _missing(tables, "engagement_events", "patient_id"):
        return _missing(tables, "engagement_events", "event_timestamp") or (
            f"engagement_events has no patient_id and {by_hcp}, so that no touch reaches a patient"
        )
    return ""


def _missing(tables: Mapping[str, TableRef], table: str, column: str) -> str:
    """Why a column cannot be read; empty where it can."""
    ref = tables.get(table)
    if ref is None or ref.is_absent:
        return f"the source has no {table}"
    if not ref.has(column):
        return f"{table} has no {column}"
    return ""


def _first_missing(feature: str, missing: Mapping[str, str]) -> str:
    return next((missing[name] for name in ANCHORS.get(feature, (feature,)) if name in missing), "")


def _checked(covariates: Sequence[Mapping[str, Any]], tables: Mapping[str, TableRef]) -> list[CovariateColumn]:
    taken = {*ENTITIES.values(), *_ROW_COLUMNS}
    taken |= {c.name for stored in STORED.values() for c in stored} | {spec.name for spec in CATALOGUE}
    checked: list[CovariateColumn] = []
    for entry in covariates:
        covariate = covariate_column(entry)
        names = {covariate.name, *(stored.name for stored in covariate.stored)}
        if met := sorted(names & taken):
            raise ConfigurationError(
                f"features.covariates: {covariate.name} is already the name of a feature, or needs the name of one "
                f"({', '.join(met)}). Choose another name."
            )
        taken |= names
        _check_types(covariate, tables)
        checked.append(covariate)
    return checked


def covariate_column(entry: Mapping[str, Any]) -> CovariateColumn:
    """A configured covariate (the keys of `plan_view`) as columns of a feature table."""
    aggregation = entry.get("aggregation") or "latest"
    kind = "numeric" if aggregation in ("count", "sum", "mean") else entry["dtype"]
    return CovariateColumn(
        name=entry["name"],
        dtype=_DTYPES[kind],
        table=entry["table"],
        column=entry["column"],
        kind=kind,
        aggregation=aggregation,
        window_days=entry.get("window"),
        low=entry.get("low"),
        high=entry.get("high"),
    )


def _check_types(covariate: CovariateColumn, tables: Mapping[str, TableRef]) -> None:
    where = f"features.covariates: {covariate.name}"
    if covariate.table == "patient_journeys" and covariate.column in OUTCOMES:
        raise ConfigurationError(f"{where} reads {covariate.column}, which holds an outcome. Leave it out.")
    if (what := _OF_VERSIONS.get(covariate.table)) and covariate.aggregation != "latest":
        raise ConfigurationError(
            f"{where} aggregates {covariate.table} by {covariate.aggregation}, which would count every version of a "
            f"{what}. Use latest, or a column of treatment_events or engagement_events."
        )
    if what and covariate.window_days is not None:
        raise ConfigurationError(
            f"{where} has a window, but a {what} is what it is until its next version. Leave window out, or take a "
            "column of treatment_events or engagement_events."
        )
    ref = tables.get(covariate.table)
    dtype = next((c.dtype for c in ref.columns if c.name == covariate.column), None) if ref else None
    if dtype is None:
        return
    is_nested = dtype.endswith("]") or dtype.startswith(("STRUCT", "MAP", "UNION"))
    needs_number = covariate.kind != "categorical" and covariate.aggregation != "count"
    if is_nested or (needs_number and not dtype.startswith(_NUMBERS)):
        raise ConfigurationError(
            f"{where} is declared {covariate.kind}, but {covariate.table}.{covariate.column} is staged as {dtype}. "
            "Change dtype, or choose another column."
        )
