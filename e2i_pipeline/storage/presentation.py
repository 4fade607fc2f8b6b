"""What people see of a result in the Dagster UI: counts, schemas, tables and pictures, from contracts alone."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from e2i_pipeline.contracts.quality import ExpectationOutcome, Override, ValidationReport, Verdict
from e2i_pipeline.contracts.references import FeatureSpec, TableRef


def table_metadata(table: TableRef) -> dict[str, Any]:
    """Rows, schema, place, age and defects of a table."""
    if table.is_absent:
        return {"is_absent": True, "dagster/row_count": 0}
    shown: dict[str, Any] = {
        "dagster/row_count": table.rows,
        "dagster/column_schema": dg.MetadataValue.table_schema(
            dg.TableSchema([dg.TableColumn(c.name, c.dtype) for c in table.columns])
        ),
        "location": Path(table.location),
        "version": table.version[:32],
    }
    if table.known_until is not None:
        shown["known_until"] = table.known_until.isoformat()
    if table.landed_at is not None:
        shown["landed_at"] = table.landed_at.isoformat()
    if table.absent_columns:
        shown["absent_columns"] = ", ".join(table.absent_columns)
    if table.defects:
        shown["defects"] = sum(d.rows > 0 for d in table.defects)
        shown["input_defects"] = table_of(d.model_dump() for d in table.defects)
    return shown


def feature_table(features: Iterable[FeatureSpec]) -> dg.MetadataValue:
    """The features as a table."""
    return table_of({"feature": f.name, "kind": f.kind, "view": f.view, "meaning": f.description} for f in features)


def table_of(rows: Iterable[Mapping[str, Any]]) -> dg.MetadataValue:
    """Rows of plain values as a table; an empty one as text, since Dagster needs a row to see the columns."""
    records = [dg.TableRecord({k: _cell(v) for k, v in row.items()}) for row in rows]
    return dg.MetadataValue.table(records=records) if records else dg.MetadataValue.text("none")


def verdict_table(verdicts: Iterable[Verdict]) -> dg.MetadataValue:
    """Verdicts of the gate as a table."""
    return table_of(
        {
            "table": v.key.subject,
            "version": v.key.data_version[:12],
            "passed": v.is_passed,
            "overridden_by": v.override.actor if v.override else "",
            "decided_at": v.decided_at.isoformat(timespec="seconds"),
            "verdict": v.key.digest[:12],
        }
        for v in verdicts
    )


def overrides_shown(overrides: Iterable[Override]) -> dict[str, Any]:
    """The overrides that an asset rests on, as its metadata; nothing where there are none."""
    rows = [
        {
            "table": o.subject,
            "version": o.data_version[:12],
            "actor": o.actor,
            "reason": o.reason,
            "at": o.at.isoformat(timespec="seconds"),
            "ledger_entry": o.entry,
            "what_failed": " ".join(o.failed),
        }
        for o in overrides
    ]
    return {"overrides": table_of(rows)} if rows else {}


def under_overrides(result: dg.MaterializeResult, overrides: Iterable[Override]) -> dg.MaterializeResult:
    """A result, new or remembered, with the overrides that hold at this moment."""
    others = {name: value for name, value in (result.metadata or {}).items() if name != "overrides"}
    return result._replace(metadata={**others, **overrides_shown(overrides)})


def picture(png: bytes, title: str) -> dg.MetadataValue:
    """A small picture, inline."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")


def expectation_metadata(outcome: ExpectationOutcome) -> dict[str, Any]:
    """Counts and status of one expectation, and pseudonyms of rows that failed it; never a row's value."""
    share = outcome.unexpected_rows / outcome.tested_rows if outcome.tested_rows else 0.0
    shown: dict[str, Any] = {
        "status": outcome.status,
        "column": outcome.column or "(table)",
        "tested_rows": outcome.tested_rows,
        "unexpected_rows": outcome.unexpected_rows,
        "unexpected_share": share,
    }
    if outcome.observed:
        shown["observed"] = outcome.observed
    if outcome.reason:
        shown["reason"] = outcome.reason
    if outcome.engine:
        shown["engine"] = outcome.engine
    if outcome.sample_keys:
        shown["sample_keys"] = ", ".join(outcome.sample_keys)
    return shown


def data_docs_metadata(reports: Iterable[ValidationReport]) -> dict[str, Any]:
    """The first page of the audits' data docs, as a link; and, where one could not be made, why not."""
    given = tuple(reports)
    shown: dict[str, Any] = {}
    if place := next((r.data_docs for r in given if r.data_docs), ""):
        shown["data_docs"] = dg.MetadataValue.url(place) if "://" in place else dg.MetadataValue.path(place)
    if problem := next((r.data_docs_problem for r in given if r.data_docs_problem), ""):
        shown |= {"is_degraded": True, "data_docs_problem": problem}
    return shown


def _cell(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (str, int, float, bool)) else str(value)
