"""What the quality gate records, and what it reads back."""

from collections.abc import Mapping
from typing import Any

from e2i_pipeline.contracts.quality import ValidationReport, Verdict, VerdictKey
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.records.base import Records, Row


class QualityRecords(Records):
    """`ml_gate_verdicts` and `ml_data_quality_reports`."""

    def record_verdict(self, verdict: Verdict) -> None:
        """Records a gate's answer. The later decision counts, whichever is recorded last.

        Raises:
            ToolRejected: Another gate has answered for the same key: gates must not share keys.
        """
        import sqlalchemy as sa

        from e2i_pipeline.metadata.database import upsert
        from e2i_pipeline.metadata.quality import GateVerdict

        said = verdict.model_dump(exclude={"key", "run_id"})
        row = {**said, **verdict.key.model_dump(), "key": verdict.key.digest, "dagster_run_id": verdict.run_id}
        with self._database().write() as connection:
            of_key = sa.select(GateVerdict.gate).where(GateVerdict.key == verdict.key.digest)
            gate = connection.execute(of_key).scalar()
            if gate not in (None, verdict.gate):
                raise ToolRejected(
                    f"The key of a {verdict.gate} verdict on {verdict.key.subject} already carries a {gate} verdict. "
                    "Give each gate its own suite hash or gate hash."
                )
            upsert(connection, GateVerdict, row, ["key"], newer="decided_at")

    def verdict(self, key: VerdictKey) -> Verdict | None:
        """The verdict for exactly this key; None where no gate has answered."""
        from e2i_pipeline.metadata.quality import GateVerdict

        found = self._find(GateVerdict, key=key.digest)
        return _verdict(found[0]) if found else None

    def latest_verdict(self, subject: str, data_version: str, gate: str) -> Verdict | None:
        """The newest verdict on one version of a subject, under whatever suite and gate configuration."""
        from e2i_pipeline.metadata.quality import GateVerdict

        found = self._find(GateVerdict, subject=subject, data_version=data_version, gate=gate)
        return _verdict(max(found, key=lambda row: row["decided_at"])) if found else None

    def record_quality_report(
        self,
        report: ValidationReport,
        dimensions: Mapping[str, float | None],
        status: str,
        run_id: str,
        mlflow_run_id: str | None = None,
        leakage: Mapping[str, Any] | None = None,
    ) -> None:
        """Records one audit of a table or of one split of it.

        Args:
            report: The audit.
            dimensions: Scores 0..1 for some of `completeness`, `validity`, `uniqueness`, `consistency`, `timeliness`,
                `accuracy`.
            status: `passed`, `failed`, `warning` or `skipped`.
            run_id: Dagster run.
            mlflow_run_id: MLflow run, where one exists.
            leakage: Rows per kind of leak (`domain.leakage.counts`), where the leakage audit ran.

        Raises:
            ToolRejected: The status or a dimension is not one of these.
        """
        from e2i_pipeline.metadata.quality import DIMENSIONS, DataQualityReport

        if unknown := sorted(set(dimensions) - set(DIMENSIONS)):
            raise ToolRejected(
                f"Not a dimension of data quality: {', '.join(unknown)}. Known: {', '.join(DIMENSIONS)}."
            )
        row: Row = {
            "table_name": report.table,
            **report.model_dump(include={"split", "data_version", "suite", "suite_hash", "seconds", "data_docs"}),
            "status": status,
            **{name: getattr(report, name) for name in ("passed", "failed", "skipped")},
            "errors": len(report.having("error")),
            "tested_rows": sum(o.tested_rows for o in report.outcomes),
            "unexpected_rows": sum(o.unexpected_rows for o in report.outcomes),
            "success_rate": report.pass_rate,
            "failed_expectations": [o.model_dump(exclude={"status"}) for o in report.having("failed")],
            **{name: dimensions.get(name) for name in DIMENSIONS},
            "leakage": leakage,
            "dagster_run_id": run_id,
            "mlflow_run_id": mlflow_run_id,
        }
        self._put(DataQualityReport, row, ("dagster_run_id", "table_name", "split", "data_version", "suite_hash"))

    def quality_reports(self, data_version: str) -> list[Row]:
        """The audits of one data version, oldest first."""
        from e2i_pipeline.metadata.quality import DataQualityReport

        return sorted(self._find(DataQualityReport, data_version=data_version), key=lambda row: row["recorded_at"])


def _verdict(row: Row) -> Verdict:
    key = {name: row[name] for name in VerdictKey.model_fields}
    rest = {name: row[name] for name in ("gate", "is_passed", "reasons", "warnings", "decided_at")}
    return Verdict(key=VerdictKey(**key), run_id=row["dagster_run_id"], **rest)
