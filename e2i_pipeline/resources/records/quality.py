"""What the gates record, and what they read back: verdicts, the overrides of them, and the audits behind them.

A verdict is a row and an entry of the ledger, written in one transaction. The ledger is the record: a row that it does
not bear out counts for nothing, nor does an override that stands elsewhere.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from e2i_pipeline.contracts.quality import Override, ValidationReport, Verdict, VerdictKey
from e2i_pipeline.errors import OverrideRefused, ToolRejected
from e2i_pipeline.resources.records.base import Row
from e2i_pipeline.resources.records.ledger import LEDGER_TURN, LedgerRecords, append_entry, entries_about

VERDICT, OVERRIDE = "verdict", "override"
"""Kinds of entries in the ledger."""

AGENTS = {
    "data_quality": "data_preparer",
    "evaluation": "model_trainer",
    "infrastructure": "model_deployer",
    "parity": "data_preparer",
    "effect": "model_trainer",
}
"""Who decides at which gate, as the spans name them."""

_log = logging.getLogger(__name__)


class QualityRecords(LedgerRecords):
    """`ml_gate_verdicts` and `ml_data_quality_reports`, and the ledger's entries about verdicts."""

    def record_verdict(self, verdict: Verdict, figures: Mapping[str, Any] | None = None) -> Verdict:
        """Records a gate's answer, and appends it to the ledger. The later decision counts, whichever is recorded last.

        The same answer to the same key is no new decision: it is not appended again.

        Args:
            verdict: The answer.
            figures: Counts that it rests on; whole numbers and texts, so that any program can recompute the hash.

        Returns:
            The verdict that stands now, with the override that holds for it.

        Raises:
            ToolRejected: Another gate has answered for the same key: gates must not share keys.
        """
        from e2i_pipeline.metadata.database import upsert
        from e2i_pipeline.metadata.quality import GateVerdict

        said = verdict.model_dump(exclude={"key", "run_id", "override"})
        row = {**said, **verdict.key.model_dump(), "key": verdict.key.digest, "dagster_run_id": verdict.run_id}
        with self._database().write(turn=LEDGER_TURN) as connection:
            standing, entries = _stored(connection, verdict.key), entries_about(connection, verdict.key.digest)
            if standing and standing.gate != verdict.gate:
                raise ToolRejected(
                    f"The key of a {verdict.gate} verdict on {verdict.key.subject} already carries a {standing.gate} "
                    "verdict. Give each gate its own suite hash or gate hash."
                )
            # a row that the ledger does not bear out gives way, whatever time it claims
            is_borne_out = standing is not None and _bears_out(_latest(entries), standing)
            upsert(connection, GateVerdict, row, ["key"], newer="decided_at" if is_borne_out else "")
            if not _bears_out(_latest([e for e in entries if e["at"] <= verdict.decided_at]), verdict):
                _append_verdict(connection, verdict, figures or {})
        self.anchor_ledger()
        return self.verdict(verdict.key) or verdict

    def verdict(self, key: VerdictKey) -> Verdict | None:
        """The verdict for exactly this key, with the override that holds for it.

        Returns:
            None where no gate has answered, or where the stored answer is not the one in the ledger: then somebody
            changed it, and the gate has to be asked again.
        """
        with self._database().read() as connection:
            stored, entries = _stored(connection, key), entries_about(connection, key.digest)
        if stored is None:
            return None
        if not _bears_out(_latest(entries), stored):
            _log.error(
                "The stored verdict on %s (version %s) is not the one in the ledger and does not count. Run "
                "`e2i ledger verify`.",
                key.subject,
                key.data_version[:12],
            )
            return None
        return stored.model_copy(update={"override": None if stored.is_passed else _override(entries)})

    def latest_verdict(self, subject: str, data_version: str, gate: str) -> Verdict | None:
        """The newest verdict on one version of a subject, under whatever suite and gate configuration."""
        from e2i_pipeline.metadata.quality import GateVerdict

        found = self._find(GateVerdict, subject=subject, data_version=data_version, gate=gate)
        return self.verdict(_verdict(max(found, key=lambda row: row["decided_at"])).key) if found else None

    def record_override(self, key: VerdictKey, actor: str, reason: str, at: datetime, run_id: str = "") -> Override:
        """Appends to the ledger that a person lets a failing verdict pass; who may, the caller has checked.

        Args:
            key: Key of the verdict.
            actor: The person.
            reason: Why.
            at: When; must carry a time zone.
            run_id: Dagster run.

        Returns:
            The override; the one that holds already where the same person has given the same reason.

        Raises:
            OverrideRefused: No failing verdict of a data-quality gate is recorded under this key.
        """
        with self._database().write(turn=LEDGER_TURN) as connection:
            verdict, entries = _stored(connection, key), entries_about(connection, key.digest)
            decided = _latest(entries)
            if decided is None or verdict is None or not _bears_out(decided, verdict):
                raise OverrideRefused(_nothing_to_override(key, "no verdict on it is in the ledger"))
            if verdict.gate != "data_quality" or verdict.is_passed:
                raise OverrideRefused(_nothing_to_override(key, f"its {verdict.gate} verdict is no refusal"))
            held = _override(entries)
            if held is None or (held.actor, held.reason) != (actor, reason):
                payload = {**_key_parts(key), "overrides": decided["sequence"], "failed": list(verdict.reasons)}
                append_entry(connection, OVERRIDE, key.subject, actor, reason, payload, at, run_id)
                held = _override(entries_about(connection, key.digest))
        self.anchor_ledger()
        assert held is not None  # noqa: S101 - it was read back after it was appended
        return held

    def verdicts_beside_the_ledger(self) -> list[VerdictKey]:
        """Keys of the stored verdicts that the ledger does not bear out."""
        from e2i_pipeline.metadata.base import table_of
        from e2i_pipeline.metadata.quality import GateVerdict

        found: list[VerdictKey] = []
        with self._database().read() as connection:
            for row in connection.execute(table_of(GateVerdict).select().order_by("subject", "key")).mappings():
                stored = _verdict(dict(row))
                if not _bears_out(_latest(entries_about(connection, row["key"])), stored):
                    found.append(stored.key)
        return found

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


def _stored(connection: Any, key: VerdictKey) -> Verdict | None:
    from e2i_pipeline.metadata.base import table_of
    from e2i_pipeline.metadata.quality import GateVerdict

    row = connection.execute(table_of(GateVerdict).select().filter_by(key=key.digest)).mappings().first()
    return _verdict(dict(row)) if row else None


def _key_parts(key: VerdictKey) -> dict[str, str]:
    return {"key": key.digest, **key.model_dump(exclude={"subject"})}


def _append_verdict(connection: Any, verdict: Verdict, figures: Mapping[str, Any]) -> None:
    payload = {
        **_key_parts(verdict.key),
        "gate": verdict.gate,
        "is_passed": verdict.is_passed,
        "warnings": list(verdict.warnings),
        "figures": dict(figures),
    }
    actor, subject = AGENTS.get(verdict.gate, verdict.gate), verdict.key.subject
    append_entry(connection, VERDICT, subject, actor, _why(verdict), payload, verdict.decided_at, verdict.run_id)


def _why(verdict: Verdict) -> str:
    return "\n".join(verdict.reasons) or ("All that blocks has passed." if verdict.is_passed else "It did not pass.")


def _latest(entries: Sequence[Row]) -> Row | None:
    """The decision that counts: the latest verdict, and of two at one time the one recorded last."""
    verdicts = [entry for entry in entries if entry["kind"] == VERDICT]
    return max(verdicts, key=lambda entry: (entry["at"], entry["sequence"]), default=None)


def _bears_out(entry: Row | None, verdict: Verdict) -> bool:
    """Whether a ledger's entry gives the same answer as a verdict."""
    if entry is None:
        return False
    payload = entry["payload"]
    theirs = (payload.get("gate"), payload.get("is_passed"), entry["reason"], payload.get("warnings"))
    return theirs == (verdict.gate, verdict.is_passed, _why(verdict), list(verdict.warnings))


def _override(entries: Sequence[Row]) -> Override | None:
    """The override that holds: the newest, of those that were given after the verdict that counts was recorded."""
    decided = _latest(entries)
    overrides = [e for e in entries if e["kind"] == OVERRIDE and decided and e["sequence"] > decided["sequence"]]
    if not overrides:
        return None
    entry = overrides[-1]
    return Override(
        subject=entry["subject"],
        data_version=entry["payload"]["data_version"],
        actor=entry["actor"],
        reason=entry["reason"],
        failed=tuple(entry["payload"]["failed"]),
        at=entry["at"],
        entry=entry["sequence"],
    )


def _nothing_to_override(key: VerdictKey, found: str) -> str:
    return (
        f"There is nothing to override on {key.subject} (version {key.data_version[:12]}): {found}. Nothing was "
        f"recorded. Materialize {key.subject} with its checks, and override what they refuse."
    )
