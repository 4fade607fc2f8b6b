"""Configured covariates in the SQL of the feature tables (DuckDB): what is read, aggregated and stored of each.

A covariate over all that is known is one stored column. A windowed one depends on the time of prediction, so its
anchors are stored: the times and values of the rows in the window before the feature row becomes visible. At a later
prediction time the window begins later, so what counts then is among them, and Feast returns the row that knows all
that came since. What is computed from them stands in `prediction_time.py`. Names that begin with an underscore are
internal, so that no covariate can meet them.
"""

from collections.abc import Iterable

from e2i_pipeline.domain import feature_sql as sql
from e2i_pipeline.domain.feature_sql import Measure
from e2i_pipeline.domain.features import CovariateColumn, ViewPlan, window_anchors
from e2i_pipeline.domain.prediction_time import MICROSECONDS_PER_DAY

_SQL_TYPES = {"Float64": "DOUBLE", "Bool": "BOOLEAN", "String": "VARCHAR"}


def of_table(plan: ViewPlan, table: str) -> tuple[CovariateColumn, ...]:
    """The covariates of a view that are made of one table."""
    return tuple(covariate for covariate in plan.covariates if covariate.table == table)


def latest_values(covariates: Iterable[CovariateColumn]) -> dict[str, str]:
    """Covariates that say what the latest version of a row says: name to expression over the row."""
    return {covariate.name: _value(covariate) for covariate in covariates}


def read(covariates: Iterable[CovariateColumn]) -> dict[str, str]:
    """What must be read of each row: internal name to expression over the row."""
    return {_read(covariate): _value(covariate) for covariate in covariates}


def measures(covariates: Iterable[CovariateColumn], order: str, time: str = "epoch_us(event_at)") -> dict[str, Measure]:
    """The aggregates behind covariates, by internal name.

    Args:
        covariates: The covariates.
        order: Column of the facts that decides between two of one event time and known-at time.
        time: Time of a fact that a window looks at, in microseconds; by default that from which on it is seen.

    Returns:
        Aggregates over facts that have `event_at`, `known_at`, `order` and what `read` names.
    """
    found: dict[str, Measure] = {}
    for covariate in covariates:
        found |= _recent(covariate, order, time) if covariate.window_days else _so_far(covariate, order)
    return found


def columns(covariates: Iterable[CovariateColumn]) -> dict[str, str]:
    """The stored columns: name to expression over the merged measures."""
    found: dict[str, str] = {}
    for covariate in covariates:
        found |= _anchors(covariate) if covariate.window_days else {covariate.name: _result(covariate)}
    return found


def _read(covariate: CovariateColumn) -> str:
    return f"_value_{covariate.name}"


def _value(covariate: CovariateColumn) -> str:
    column = sql.quoted(covariate.column)
    return column if covariate.aggregation == "count" else f"CAST({column} AS {_SQL_TYPES[covariate.dtype]})"


def _so_far(covariate: CovariateColumn, order: str) -> dict[str, Measure]:
    name, value = f"_{covariate.name}", _read(covariate)
    count = Measure(f"count({value})", "sum")
    total = Measure(f"sum({sql.exact(value)})", "sum")
    match covariate.aggregation:
        case "latest":
            return {name: Measure(f"max({sql.latest(order, value)}) FILTER ({value} IS NOT NULL)", "max")}
        case "count":
            return {name: count}
        case "sum":
            return {name: total}
        case "mean":
            return {name: total, f"_count_{covariate.name}": count}
        case aggregation:
            return {name: Measure(f"{aggregation}({value})", aggregation)}


def _result(covariate: CovariateColumn) -> str:
    name = f"_{covariate.name}"
    match covariate.aggregation:
        case "latest":
            return f"{name}.value"
        case "count":
            return f"CAST(coalesce({name}, 0) AS DOUBLE)"
        case "sum":
            return f"CAST({name} AS DOUBLE)"
        case "mean":
            return f"CAST({name} AS DOUBLE) / nullif(_count_{covariate.name}, 0)"
        case _:
            return name


def _recent(covariate: CovariateColumn, order: str, time: str) -> dict[str, Measure]:
    """The rows of each moment, as structs in the order that decides which is the latest."""
    value = _read(covariate)
    kept = "NULL::VARCHAR" if covariate.aggregation == "count" else value
    if covariate.kind == "boolean":
        kept = f"CAST({kept} AS DOUBLE)"
    row = sql.struct({"time": time, "known_at": "known_at", "id": order, "value": kept})
    listed = f"coalesce(list({row}) FILTER ({value} IS NOT NULL), [])"
    return {f"_{covariate.name}": Measure(listed, "list", covariate.window_days)}


def _anchors(covariate: CovariateColumn) -> dict[str, str]:
    begin = f"epoch_us(visible) - {(covariate.window_days or 0) * MICROSECONDS_PER_DAY}"
    rows = f"list_sort(list_filter(flatten(_{covariate.name}), lambda r: r.time > {begin}))"
    times, values = window_anchors(covariate.name)
    found = {times: f"list_transform({rows}, lambda r: r.time)", values: f"list_transform({rows}, lambda r: r.value)"}
    return {stored.name: found[stored.name] for stored in covariate.stored}
