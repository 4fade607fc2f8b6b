"""The gate: audits a table, remembers the verdict, and refuses what has none for exactly its present version.

A verdict is kept in the metadata database under (table, data version, suite hash, gate configuration hash), so neither
yesterday's failure is walked past nor yesterday's pass outlives a tightened suite. What the suites say stands in `gx/`;
how a verdict follows from a report stands in `domain/quality.py`; who may override it in `overrides.py`.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from pydantic import Field

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.quality import Override, ValidationReport, Verdict, VerdictKey
from e2i_pipeline.contracts.references import BentoRef, TableRef, TrainingDatasetRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.domain import continuity, leakage, overrides, quality
from e2i_pipeline.errors import QCGateBlockedError
from e2i_pipeline.resources.great_expectations import GreatExpectationsResource
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.evaluation_rule import evaluation_rule
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.since_published import since_published
from e2i_pipeline.resources.state_folder import StateFolder
from e2i_pipeline.storage.references import write_json

DATA_QUALITY = "data_quality"
EVALUATION = "evaluation"
INFRASTRUCTURE = "infrastructure"

REFERENCES: dict[str, tuple[str, ...]] = {
    "patient_journeys": ("hcp_profiles",),
    "treatment_events": ("patient_journeys", "hcp_profiles"),
    "engagement_events": ("hcp_profiles",),
}
"""Tables that the cross-table rules of a table's suite look into. A verdict is about their versions too."""


class Decision(NamedTuple):
    """The answer on one audit: whether it passed, why not, and what did not block."""

    is_passed: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


class Leaks(NamedTuple):
    """The result of a leakage audit: rows per kind of leak (None where none was made), what blocks, what warns."""

    counts: dict[str, int | None] | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def joined(self, decision: Decision) -> Decision:
        """A decision on one split that holds for the leaks too; they block whatever the gate is set to."""
        return Decision(
            decision.is_passed and not self.reasons,
            (*decision.reasons, *self.reasons),
            (*decision.warnings, *self.warnings),
        )


class GateResource(dg.ConfigurableResource):
    """The one gate of the pipeline.

    Attributes:
        state_dir: The state folder.
        great_expectations: Runs the suites.
        metadata: Keeps verdicts and reports.
        suites: Suite per table.
        parameters: What the configuration decides in the suites: `brands`, `cohort_unit`, ...
        as_of: The configured `as_of` as ISO text; empty takes the table's own.
        modelling: Audits a training dataset for leakage, which its verdict is about too.
        max_row_drop: Share of a table's rows that may be gone since it was last published without a warning, 0..1.
        evaluation: Everything that is configured about an evaluation; a verdict under other settings counts no more.
    """

    state_dir: str
    great_expectations: GreatExpectationsResource
    metadata: MetadataResource
    suites: dict[str, str]
    parameters: dict[str, Any]
    as_of: str = ""
    modelling: ModellingResource | None = None
    max_row_drop: float = 0.2
    evaluation: dict[str, Any] = Field(default={})

    def audit(
        self,
        table: TableRef,
        run_id: str,
        now: datetime,
        splits: Sequence[str] = ("",),
        others: Sequence[TableRef] = (),
    ) -> tuple[tuple[ValidationReport, ...], Verdict]:
        """Validates a table, or some of its splits, and stores reports and verdict.

        The same table under the same suite is not validated twice, by several processes at once neither: the stored
        answer is given.

        Args:
            table: What to audit.
            run_id: Dagster run that asks.
            now: When (UTC).
            splits: Splits to audit one by one; the empty name means the whole table.
            others: Tables among which those are that this one refers to.

        Returns:
            One report per split, and the verdict over all of them.

        Raises:
            ToolUnavailable: An expectation could not be executed: nothing is known about the data.
        """
        key = self.key(table, others)
        with StateFolder(self.state_dir).turn(f"audit-{table.name}{getattr(table, 'brand', '')}"):
            return self._recall(key, splits) or self._audited(key, table, run_id, now, splits, others)

    def _audited(
        self,
        key: VerdictKey,
        table: TableRef,
        run_id: str,
        now: datetime,
        splits: Sequence[str],
        others: Sequence[TableRef],
    ) -> tuple[tuple[ValidationReport, ...], Verdict]:
        reports = tuple(
            self.great_expectations.validate(
                table,
                self.suite(table.name),
                self.parameters_for(table),
                split_filter=split,
                references=_references(table, others),
            )
            for split in splits
        )
        leaks = self._leaks(table)
        decisions = [leaks.joined(self._decide(report)) for report in reports]
        verdict = _verdict(key, decisions, run_id, now, _landing_notes(table, reports))
        verdict = verdict.model_copy(update={"warnings": (*verdict.warnings, *self._beside(table, verdict))})
        for report, decision, split in zip(reports, decisions, splits, strict=True):
            scores = self.great_expectations.dimensions(report)
            status = _status(report, decision)
            self.metadata.record_quality_report(report, scores, status, run_id, leakage=leaks.counts)
            write_json(self._report_path(key, split), report.model_dump(mode="json"))
        return reports, self.metadata.record_verdict(verdict, _figures(reports))

    def stored(
        self, table: TableRef, splits: Sequence[str] = ("",), others: Sequence[TableRef] = ()
    ) -> tuple[tuple[ValidationReport, ...], Verdict] | None:
        """The stored answer on exactly this table under the present suite; None where it was not audited."""
        return self._recall(self.key(table, others), splits)

    def require(self, tables: Sequence[TableRef]) -> tuple[Verdict, ...]:
        """The verdicts that let exactly these versions pass, each audited against the others.

        Returns:
            Per table a passing verdict, or a failing one with the override that opens the gate.

        Raises:
            QCGateBlockedError: A table has no verdict, or a failing one that nobody answers for; all of them are named.
        """
        self.metadata.anchor_ledger()
        verdicts: list[Verdict] = []
        problems: list[str] = []
        for table in tables:
            verdict = self.metadata.verdict(self.key(table, tables))
            if verdict is None:
                problems.append(
                    f"{table.name} (version {table.version[:12]}) has not been audited under the present suite "
                    f"{self.suite(table.name)}. Audit it: materialize {table.name} with its checks."
                )
            elif not verdict.is_open:
                told = self.refusal(self._reports(verdict.key), verdict, getattr(table, "brand", ""))
                problems.append(f"{table.name} (version {table.version[:12]}) did not pass.\n{told}")
            else:
                verdicts.append(verdict)
        if problems:
            told = "\n".join(problems).replace("\n", "\n  ")
            raise QCGateBlockedError(f"The quality gate is closed; nothing was changed.\n  {told}")
        return tuple(verdicts)

    def verdicts(self, tables: Sequence[TableRef]) -> tuple[Verdict, ...]:
        """The stored verdicts on these versions, whatever they say; a table that was never audited has none."""
        found = (self.metadata.verdict(self.key(table, tables)) for table in tables)
        return tuple(verdict for verdict in found if verdict is not None)

    def refusal(self, reports: Sequence[ValidationReport], verdict: Verdict, brand: str = "") -> str:
        """What a person who meets the closed gate needs; see `domain.overrides.refusal`."""
        return overrides.refusal(reports, verdict, self.great_expectations.min_pass_rate, brand)

    def overrides_on(self, table: TrainingDatasetRef) -> tuple[Override, ...]:
        """The overrides that modelling rows rest on: those of the published dataset, and the one on the rows."""
        verdict = self.metadata.verdict(self.key(table))
        own = (verdict.override,) if verdict and verdict.override else ()
        return (*table.overrides, *own)

    def key(self, table: TableRef, others: Sequence[TableRef] = ()) -> VerdictKey:
        """What a verdict on this table is kept under; `others` hold the tables that it refers to."""
        key = self.great_expectations.verdict_key(
            table, self.suite(table.name), self.parameters_for(table), references=_references(table, others)
        )
        if self.modelling is None or not isinstance(table, TrainingDatasetRef):
            return key
        rules = content_key(key.gate_hash, self.modelling.leakage_key(table))
        return key.model_copy(update={"gate_hash": rules})

    def suite(self, table: str) -> str:
        """Name of the suite for a table."""
        return self.suites.get(table, "e2i_default_suite")

    def parameters_for(self, table: TableRef) -> dict[str, Any]:
        """The suite parameters for a table: the configured ones, and up to when anything can be known."""
        return {**self.parameters, "as_of": self.as_of or _horizon([table])}

    def dataset_as_of(self, tables: Sequence[TableRef]) -> datetime:
        """`as_of` of a dataset: the configured one, else the latest known-at time, but not later than the landing."""
        moment = datetime.fromisoformat(self.as_of or _horizon(tables))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def verdict_of(self, model: TrainedModelRef, scope: ExperimentScope) -> Verdict | None:
        """The stored evaluation verdict of a model under a scope; None where it was not evaluated."""
        return self.metadata.verdict(self._evaluation_key(model, scope))

    def record_evaluation(
        self, model: TrainedModelRef, scope: ExperimentScope, evaluation: EvaluationRef, run_id: str, now: datetime
    ) -> Verdict:
        """Stores whether a model passed the evaluation gate: the one verdict that promotion reads."""
        verdict = Verdict(
            key=self._evaluation_key(model, scope),
            gate=EVALUATION,
            is_passed=evaluation.is_passed,
            reasons=evaluation.unmet,
            warnings=evaluation.warnings,
            decided_at=now,
            run_id=run_id,
        )
        score = "rmse" if evaluation.problem_type == "regression" else "auc"
        figures = {
            "criteria_unmet": len(evaluation.unmet),
            f"test_{score}": f"{evaluation.metrics['test'][score]:.6f}",
            "test_candidates": evaluation.readings.candidates,
        }
        return self.metadata.record_verdict(verdict, figures)

    def _evaluation_key(self, model: TrainedModelRef, scope: ExperimentScope) -> VerdictKey:
        rule = content_key(EVALUATION, evaluation_rule(self.evaluation))
        return VerdictKey(
            subject=f"model/{model.brand}", data_version=model.version, suite_hash=scope.key, gate_hash=rule
        )

    def infrastructure_verdict(self, bento: BentoRef) -> Verdict | None:
        """The stored infrastructure verdict of a Bento; None where it was never tried."""
        return self.metadata.verdict(_infrastructure_key(bento))

    def record_infrastructure(self, bento: BentoRef, problem: str, run_id: str, now: datetime) -> Verdict:
        """Stores whether a Bento loaded and answered; `problem` is empty where it did."""
        verdict = Verdict(
            key=_infrastructure_key(bento),
            gate=INFRASTRUCTURE,
            is_passed=not problem,
            reasons=(problem,) if problem else (),
            decided_at=now,
            run_id=run_id,
        )
        return self.metadata.record_verdict(verdict)

    def _leaks(self, table: TableRef) -> "Leaks":
        """What the leakage audit says of a training dataset; nothing of any other table."""
        if self.modelling is None or not isinstance(table, TrainingDatasetRef):
            return Leaks()
        findings = self.modelling.audit_leakage(table)
        return Leaks(
            counts=leakage.counts(findings, (column.name for column in table.columns)),
            reasons=tuple(f.sentence for f in findings if f.severity == quality.CRITICAL),
            warnings=tuple(f.sentence for f in findings if f.severity != quality.CRITICAL),
        )

    def _beside(self, table: TableRef, verdict: Verdict) -> tuple[str, ...]:
        """What no suite sees, as it is now: what is published later changes no verdict."""
        engine = self.great_expectations.engine
        return (
            *since_published(table, self.state_dir, engine, self.max_row_drop),
            *continuity.landing_warnings(table, told=verdict.reasons),
        )

    def _decide(self, report: ValidationReport) -> Decision:
        rules = self.great_expectations
        return Decision(*quality.decide(report, rules.min_pass_rate, rules.block_on_failure))

    def _recall(self, key: VerdictKey, splits: Sequence[str]) -> tuple[tuple[ValidationReport, ...], Verdict] | None:
        paths = [self._report_path(key, split) for split in splits]
        if not all(path.is_file() for path in paths):
            return None
        verdict = self.metadata.verdict(key)
        if verdict is None:
            return None
        try:
            return tuple(ValidationReport.model_validate_json(path.read_bytes()) for path in paths), verdict
        except ValueError:  # an unreadable report is made anew, like a missing one
            return None

    def _report_path(self, key: VerdictKey, split: str) -> Path:
        return Path(self.state_dir) / "audits" / key.subject / f"{key.digest}{'-' if split else ''}{split}.json"

    def _reports(self, key: VerdictKey) -> tuple[ValidationReport, ...]:
        """The audits of whatever splits that are kept under a key, those that can be read."""
        found: list[ValidationReport] = []
        for path in sorted(self._report_path(key, "").parent.glob(f"{key.digest}*.json")):
            with suppress(ValueError, OSError):
                found.append(ValidationReport.model_validate_json(path.read_bytes()))
        return tuple(found)


def _verdict(
    key: VerdictKey, decisions: Sequence[Decision], run_id: str, now: datetime, notes: Sequence[str]
) -> Verdict:
    # what is true of all splits (a leak) is said once
    reasons = tuple(dict.fromkeys(reason for decision in decisions for reason in decision.reasons))
    return Verdict(
        key=key,
        gate=DATA_QUALITY,
        is_passed=all(decision.is_passed for decision in decisions),
        reasons=(*reasons, *notes) if reasons else (),
        warnings=tuple(dict.fromkeys(warning for decision in decisions for warning in decision.warnings)),
        decided_at=now,
        run_id=run_id,
    )


def _figures(reports: Sequence[ValidationReport]) -> dict[str, int]:
    """What a verdict rests on, in counts over all splits."""
    outcomes = [outcome for report in reports for outcome in report.outcomes]
    return {
        **{name: sum(getattr(report, name) for report in reports) for name in ("passed", "failed", "skipped")},
        "tested_rows": sum(outcome.tested_rows for outcome in outcomes),
        "unexpected_rows": sum(outcome.unexpected_rows for outcome in outcomes),
    }


def _landing_notes(table: TableRef, reports: Sequence[ValidationReport]) -> tuple[str, ...]:
    """What landing met in the columns that failed: a null may be a value that could not be read."""
    failed = {column for report in reports for o in report.having("failed") for column in o.column.split(",")}
    return tuple(
        continuity.landing_sentence(table, d) for d in table.defects if d.rows and d.defect.partition(":")[0] in failed
    )


def _status(report: ValidationReport, decision: Decision) -> str:
    """Status of one audit in `ml_data_quality_reports`; where all was skipped nothing has passed."""
    if report.outcomes and report.skipped == len(report.outcomes):
        return "skipped"
    return "failed" if not decision.is_passed else "warning" if decision.warnings else "passed"


def _references(table: TableRef, others: Sequence[TableRef]) -> dict[str, TableRef]:
    wanted = REFERENCES.get(table.name, ())
    return {other.name: other for other in others if other.name in wanted}


def _infrastructure_key(bento: BentoRef) -> VerdictKey:
    return VerdictKey(
        subject=f"bento/{bento.brand}", data_version=bento.tag, suite_hash="golden_request", gate_hash=INFRASTRUCTURE
    )


def _horizon(tables: Sequence[TableRef]) -> str:
    """The latest known-at time of the tables, but never later than the moment the last of them was landed."""
    known = [t.known_until for t in tables if t.known_until is not None]
    landed = [t.landed_at for t in tables if t.landed_at is not None]
    if not landed:
        return max(known).isoformat() if known else ""
    return min(max(known), max(landed)).isoformat() if known else max(landed).isoformat()
