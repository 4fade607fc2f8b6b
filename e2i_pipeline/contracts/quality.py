"""What an audit says: per expectation, per table, and as the gate's one verdict.

No field can hold a row's value: results are counts, shares and keyed pseudonyms.
"""

from datetime import datetime

from e2i_pipeline.contracts.base import Contract, content_key


class ExpectationOutcome(Contract):
    """The result of one expectation.

    Attributes:
        name: Stable name within the suite, usable as a Dagster check name.
        expectation_type: GX type, e.g. `expect_column_values_to_not_be_null`.
        column: Column or columns concerned, joined by a comma; empty for a table expectation.
        severity: `critical`, `warning` or `info`, after the gate's configuration.
        status: `passed`, `failed`, `skipped` or `error`.
        tested_rows: Rows tested; 0 for an aggregate expectation.
        unexpected_rows: Rows that failed.
        observed: The observed aggregate (a count, a share), never a row's value; empty where there is none.
        reason: Why it was skipped, or what the engine's error was.
        engine: Which engine counted: `duckdb`, or `great_expectations` for what DuckDB is not known to answer alike;
            empty where nothing was counted.
        sample_keys: Of rows that failed, up to five keyed pseudonyms of what the table's rows are about, the smallest.
    """

    name: str
    expectation_type: str
    column: str
    severity: str
    status: str
    tested_rows: int = 0
    unexpected_rows: int = 0
    observed: str = ""
    reason: str = ""
    engine: str = ""
    sample_keys: tuple[str, ...] = ()


class ValidationReport(Contract):
    """The audit of one table, or of one split of it, by one suite.

    Attributes:
        table: Canonical table name.
        data_version: Content hash of what was audited.
        suite: Suite name.
        suite_hash: Hash of the suite as resolved with its parameters.
        split: Split audited; empty for the whole table.
        outcomes: One per expectation, in the suite's order.
        seconds: Wall-clock seconds.
        data_docs: Path or URL of the rendered result; empty where none was made.
        data_docs_problem: Why none could be made, and what to do; empty where one was made, or none was wanted.
    """

    table: str
    data_version: str
    suite: str
    suite_hash: str
    split: str = ""
    outcomes: tuple[ExpectationOutcome, ...]
    seconds: float
    data_docs: str = ""
    data_docs_problem: str = ""

    def having(self, status: str) -> tuple[ExpectationOutcome, ...]:
        """The outcomes of one status."""
        return tuple(o for o in self.outcomes if o.status == status)

    @property
    def passed(self) -> int:
        """Number of expectations that passed."""
        return len(self.having("passed"))

    @property
    def failed(self) -> int:
        """Number of expectations that failed."""
        return len(self.having("failed"))

    @property
    def skipped(self) -> int:
        """Number of expectations on declared-absent tables or columns."""
        return len(self.having("skipped"))

    @property
    def pass_rate(self) -> float:
        """Passing rows over tested rows, summed over the row-level expectations that ran; 1.0 where none ran."""
        tested = sum(o.tested_rows for o in self.outcomes)
        unexpected = sum(o.unexpected_rows for o in self.outcomes)
        return 1.0 if tested == 0 else (tested - unexpected) / tested


class VerdictKey(Contract):
    """What a verdict is about. A change of any part makes an earlier verdict count no more."""

    subject: str
    data_version: str
    suite_hash: str
    gate_hash: str

    @property
    def digest(self) -> str:
        """The key as one string."""
        return content_key(self)


class Override(Contract):
    """A person's decision that a table may pass the gate although its audit failed.

    It holds for one verdict key: for the next version of the data, another suite or another gate configuration somebody
    has to answer again.

    Attributes:
        subject: The table.
        data_version: Content hash of the version that may pass.
        actor: The person, by e-mail address or by a configured name.
        reason: Why, in the person's words.
        failed: What had failed, one sentence each, as the verdict says it.
        at: When (UTC).
        entry: Number of the ledger's entry that records it.
    """

    subject: str
    data_version: str
    actor: str
    reason: str
    failed: tuple[str, ...]
    at: datetime
    entry: int


class Verdict(Contract):
    """The gate's answer for one key.

    Attributes:
        key: What it is about.
        gate: `data_quality`, `evaluation`, `infrastructure`, `parity` or `effect`.
        is_passed: Whether what is downstream may go on.
        reasons: Why not, one sentence each, with counts and the way out; empty where it passed.
        warnings: What did not block.
        decided_at: When (UTC).
        run_id: Dagster run that decided it.
        override: The override that opens the gate although it did not pass; None where there is none.
    """

    key: VerdictKey
    gate: str
    is_passed: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    decided_at: datetime
    run_id: str = ""
    override: Override | None = None

    @property
    def is_open(self) -> bool:
        """Whether what is downstream may go on: it passed, or a person answers for it."""
        return self.is_passed or self.override is not None
