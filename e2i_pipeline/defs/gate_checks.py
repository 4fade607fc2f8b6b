"""Builds the asset checks of a table from its suite: one per expectation, and the gate's own verdict, which blocks.

A failed expectation alone stops nothing: the verdict weighs all of them. What the expectations are stands in
`gx/expectations`; how the verdict follows from them in `domain/quality.py`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport, Verdict
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.overrides import sentence
from e2i_pipeline.failures import asset_boundary
from e2i_pipeline.policies import ESSENTIAL_TOOL
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.stages.gate import REFERENCES, GateResource
from e2i_pipeline.resources.suites import read_suite
from e2i_pipeline.storage.presentation import (
    data_docs_metadata,
    expectation_metadata,
    overrides_shown,
    table_of,
)

SEVERITY = {
    "critical": dg.AssetCheckSeverity.ERROR,
    "warning": dg.AssetCheckSeverity.WARN,
    "info": dg.AssetCheckSeverity.WARN,
}


def gate_checks(
    table: str,
    suite: str,
    gx_root: Path,
    splits: Sequence[str] = ("",),
    partitions_def: dg.PartitionsDefinition | None = None,
) -> dg.AssetChecksDefinition:
    """The checks of one table, and of its references to other tables.

    Args:
        table: Asset to check.
        suite: Name of its suite.
        gx_root: Folder of the suites.
        splits: Splits to audit one by one; the empty name means the whole table.
        partitions_def: The table's partitions.
    """
    gate_name = f"{table}_passes_the_gate"
    others = REFERENCES.get(table, ())
    common: dict[str, Any] = {"asset": table, "partitions_def": partitions_def, "additional_deps": others}
    specs = [
        dg.AssetCheckSpec(e.name, description=e.rule, **common)
        for e in read_suite(gx_root / "expectations", suite).expectations
    ]
    specs.append(
        dg.AssetCheckSpec(
            gate_name,
            blocking=True,
            **common,
            description=f"No critical expectation of {suite} fails, and enough of the tested rows pass.",
        )
    )

    # A skipped expectation yields nothing, so Dagster shows it as not evaluated: outputs must be optional.
    @dg.multi_asset_check(
        name=f"{table}_audit",
        specs=specs,
        ins={"audited": dg.AssetIn(table), **{f"other_{name}": dg.AssetIn(name) for name in others}},
        can_subset=True,
        retry_policy=ESSENTIAL_TOOL,
        description=f"Audits {table} by the suite {suite}.",
    )
    @asset_boundary("data_preparer")
    def audit(
        context: dg.AssetCheckExecutionContext,
        audited: TableRef,
        gate: GateResource,
        opik: OpikResource,
        **referred: TableRef,
    ) -> Iterator[dg.AssetCheckResult]:
        reports, verdict = gate.audit(
            audited, run_id=context.run.run_id, now=datetime.now(UTC), splits=splits, others=list(referred.values())
        )
        refusal = gate.refusal(reports, verdict, getattr(audited, "brand", ""))
        results = [*_expectation_results(table, reports), _gate_result(table, gate_name, reports, verdict, refusal)]
        wanted = {key.name for key in context.selected_asset_check_keys}
        yield from (result for result in results if result.check_name in wanted)

    return audit


def _expectation_results(table: str, reports: Sequence[ValidationReport]) -> Iterator[dg.AssetCheckResult]:
    by_name: dict[str, list[tuple[str, ExpectationOutcome]]] = {}
    for report in reports:
        for outcome in report.outcomes:
            by_name.setdefault(outcome.name, []).append((report.split, outcome))
    for name, outcomes in by_name.items():
        ran = [(split, o) for split, o in outcomes if o.status in ("passed", "failed")]
        if not ran:
            continue
        metadata = expectation_metadata(ran[0][1])
        if len(ran) > 1:
            metadata["splits"] = table_of({"split": s, **expectation_metadata(o)} for s, o in ran)
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=table,
            passed=all(o.status == "passed" for _, o in ran),
            severity=SEVERITY[ran[0][1].severity],
            metadata=metadata,
        )


def _gate_result(
    table: str, name: str, reports: Sequence[ValidationReport], verdict: Verdict, refusal: str
) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "expectations_passed": sum(r.passed for r in reports),
        "expectations_failed": sum(r.failed for r in reports),
        "expectations_skipped": sum(r.skipped for r in reports),
        "pass_rate": min(r.pass_rate for r in reports),
        "decided_at": verdict.decided_at.isoformat(),
    }
    engines = Counter(o.engine for r in reports for o in r.outcomes if o.engine)
    metadata |= {f"expectations_by_{engine}": number for engine, number in sorted(engines.items())}
    if verdict.reasons:
        metadata["reasons"] = dg.MetadataValue.md("\n".join(f"- {reason}" for reason in verdict.reasons))
    if verdict.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {warning}" for warning in verdict.warnings))
    metadata |= data_docs_metadata(reports)
    description = "All that blocks has passed." if verdict.is_passed else refusal
    if verdict.override:
        metadata.update(overrides_shown((verdict.override,)))
        description = f"{sentence(verdict.override)}\nWhat had failed:\n" + "\n".join(verdict.reasons)
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=table,
        passed=verdict.is_open,
        severity=dg.AssetCheckSeverity.WARN if verdict.override else dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata=metadata,
    )
