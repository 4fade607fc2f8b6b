"""The tables of the quality gate: what an audit found, and what the gate decided."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from e2i_pipeline.metadata.base import KEY, NAME, Base, PlainJson, RunLinks, UtcDateTime

DIMENSIONS = ("completeness", "validity", "uniqueness", "consistency", "timeliness", "accuracy")
"""The six dimensions of data quality, each scored 0..1."""


class DataQualityReport(RunLinks, Base):
    """One validation of a table, or of one split of it, in one Dagster run.

    Attributes:
        id: Hash of run, table, split, data version and suite.
        status: `passed`, `failed`, `warning` or `skipped`.
        passed: Number of expectations that passed; `failed`, `skipped`, `errors` likewise.
        tested_rows: Rows tested, summed over the row-level expectations; `unexpected_rows` likewise.
        success_rate: Passing over tested rows, 0..1.
        failed_expectations: Name, type, column, severity, counts and observed aggregate of each; never a row's value.
        leakage: Rows per kind of leak, null for a kind that could not be tested; null as a whole where no leakage audit
            ran. It is the dataset's, and the same for each of its splits.
        seconds: Wall-clock seconds.
    """

    __tablename__ = "ml_data_quality_reports"
    __table_args__ = (
        UniqueConstraint(
            "dagster_run_id",
            "table_name",
            "split",
            "data_version",
            "suite_hash",
            name="uq_ml_data_quality_reports_audit",
        ),
        CheckConstraint("status IN ('passed', 'failed', 'warning', 'skipped')", name="status"),
    )

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    table_name: Mapped[str] = mapped_column(NAME)
    split: Mapped[str] = mapped_column(NAME, default="")
    data_version: Mapped[str] = mapped_column(KEY, index=True)
    suite: Mapped[str] = mapped_column(NAME)
    suite_hash: Mapped[str] = mapped_column(KEY)
    status: Mapped[str] = mapped_column(NAME)
    passed: Mapped[int]
    failed: Mapped[int]
    skipped: Mapped[int]
    errors: Mapped[int]
    tested_rows: Mapped[int] = mapped_column(BigInteger)
    unexpected_rows: Mapped[int] = mapped_column(BigInteger)
    success_rate: Mapped[float]
    failed_expectations: Mapped[list[Any]] = mapped_column(PlainJson)
    completeness: Mapped[float | None]
    validity: Mapped[float | None]
    uniqueness: Mapped[float | None]
    consistency: Mapped[float | None]
    timeliness: Mapped[float | None]
    accuracy: Mapped[float | None]
    leakage: Mapped[dict[str, Any] | None] = mapped_column(PlainJson)
    seconds: Mapped[float]
    data_docs: Mapped[str] = mapped_column(Text, default="")


class GateVerdict(Base):
    """A gate's latest answer for one key: subject, data version, suite and gate configuration.

    Attributes:
        key: Digest of the key (`VerdictKey.digest`).
        gate: `data_quality`, `evaluation`, `infrastructure`, `parity` or `effect`.
        reasons: Why it did not pass, one sentence each.
        warnings: What did not block.
        decided_at: When (UTC).
    """

    __tablename__ = "ml_gate_verdicts"
    __table_args__ = (
        CheckConstraint("gate IN ('data_quality', 'evaluation', 'infrastructure', 'parity', 'effect')", name="gate"),
        Index(None, "subject", "data_version", "gate"),
    )

    key: Mapped[str] = mapped_column(KEY, primary_key=True)
    gate: Mapped[str] = mapped_column(NAME)
    subject: Mapped[str] = mapped_column(NAME)
    data_version: Mapped[str] = mapped_column(KEY)
    suite_hash: Mapped[str] = mapped_column(KEY)
    gate_hash: Mapped[str] = mapped_column(KEY)
    is_passed: Mapped[bool]
    reasons: Mapped[list[str]] = mapped_column(PlainJson)
    warnings: Mapped[list[str]] = mapped_column(PlainJson)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    dagster_run_id: Mapped[str] = mapped_column(KEY, default="", index=True)
