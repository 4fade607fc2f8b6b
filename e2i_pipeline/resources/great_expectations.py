"""Audits tables with Great Expectations: which suite, which gate configuration, and one real GX run per audit.

What must be true stands in `gx/expectations` and is only read. Reading it belongs in `suites.py`, what it means for one
table in `audit_plans.py`, what may leave a result in `audit_results.py`, the gate's decision in `domain/quality.py`.
"""

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport, VerdictKey
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.contracts.tables import key_column
from e2i_pipeline.domain import quality
from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable
from e2i_pipeline.resources.data_docs import Docs, Page
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.suites import (
    EXISTS,
    NAME,
    Expectation,
    Suite,
    parse_suite,
    read_suite,
    suite_digest,
)

if TYPE_CHECKING:
    import duckdb

    from e2i_pipeline.resources.audit_plans import Step

DEFAULT_SUITE = "e2i_default_suite"
DECISION_RULE = 1
"""Version of the rule in `domain.quality.decide`; raised with it, so that no verdict outlives the rule it came from."""

AUDIT_MEMORY = "1GB"
"""Memory of DuckDB in an audit where the engine sets no limit of its own; what takes more is spilled."""


class GreatExpectationsResource(dg.ConfigurableResource):
    """Great Expectations over the engine's tables.

    Attributes:
        gx_root: Folder of the GX project; the suites are in its `expectations/`.
        data_docs: Folder of the data docs, or `s3://bucket/prefix`; empty for none.
        checkpoint_store: Where the results and suites behind the pages are kept, likewise; empty for beside them.
        min_pass_rate: Pass rate below which the gate closes, 0..1.
        block_on_failure: Whether the gate closes at all.
        critical_expectations: Types that are critical where a suite does not say otherwise.
        default_suites: Suite of the modelling dataset per problem type.
        default_expectations: What the default suite expects beside its own (`domain.quality.default_expectations`).
        engine: Reads the tables.
    """

    gx_root: str
    data_docs: str
    min_pass_rate: float
    block_on_failure: bool
    critical_expectations: list[str]
    default_suites: dict[str, str]
    checkpoint_store: str = ""
    default_expectations: dict = {}  # noqa: RUF012 - pydantic copies a default
    engine: EngineResource

    def expectations(self, suite: str, additional: Iterable[Mapping[str, Any]] = ()) -> tuple[Expectation, ...]:
        """A suite's expectations, in order; `additional` are generated ones that follow (`domain.quality`).

        Raises:
            ConfigurationError: There is no such suite, or it is malformed.
        """
        return self._read(suite, additional).expectations

    def check_names(self, suite: str, additional: Iterable[Mapping[str, Any]] = ()) -> tuple[str, ...]:
        """Names of a suite's expectations, in order: unique in the suite, lower snake case."""
        return tuple(e.name for e in self.expectations(suite, additional))

    def default_suite(self, problem_type: str) -> str:
        """The modelling dataset's suite for `classification` or `regression`; the default suite for any other."""
        return self.default_suites.get(problem_type, DEFAULT_SUITE)

    def suite_hash(
        self,
        suite: str,
        parameters: Mapping[str, Any],
        absent_columns: Iterable[str] = (),
        references: Mapping[str, TableRef] | None = None,
        additional: Iterable[Mapping[str, Any]] = (),
    ) -> str:
        """Hash of a suite as resolved: what it says, its parameters, and the rest where it is given.

        Args:
            suite: Suite name.
            parameters: As for `validate`.
            absent_columns: Columns that are declared absent.
            references: Tables that the suite looks into.
            additional: Generated expectations.
        """
        resolved = quality.suite_parameters(parameters)
        return suite_digest(self._read(suite, additional), resolved, absent_columns, references)

    def gate_hash(self) -> str:
        """Hash of the gate's configuration and of the rule by which it decides."""
        return content_key(
            DECISION_RULE, self.min_pass_rate, self.block_on_failure, sorted(set(self.critical_expectations))
        )

    def verdict_key(
        self,
        table: TableRef,
        suite: str,
        parameters: Mapping[str, Any],
        absent_columns: Iterable[str] = (),
        references: Mapping[str, TableRef] | None = None,
        additional: Iterable[Mapping[str, Any]] = (),
    ) -> VerdictKey:
        """What a verdict on this audit is kept under; the arguments are those of `validate`."""
        absent = {*table.absent_columns, *absent_columns}
        return VerdictKey(
            subject=table.name,
            data_version=table.version,
            suite_hash=self.suite_hash(suite, parameters, absent, references, additional),
            gate_hash=self.gate_hash(),
        )

    def validate(
        self,
        table: TableRef,
        suite: str,
        parameters: Mapping[str, Any],
        split_filter: str = "",
        absent_columns: Sequence[str] = (),
        references: Mapping[str, TableRef] | None = None,
        additional: Sequence[Mapping[str, Any]] = (),
    ) -> ValidationReport:
        """Audits a table, or one split of it.

        Args:
            table: The table.
            suite: Suite name.
            parameters: What the configuration decides; completed by `domain.quality.suite_parameters`.
            split_filter: Name of a split in `data_split`; empty for the whole table.
            absent_columns: Columns that the source declares it cannot have, beside the table's own.
            references: Tables that the suite's cross-table rules look into, by name; without one they are skipped.
            additional: Generated expectations that follow the suite's own.

        Returns:
            One outcome per expectation. An expectation that could not be executed has the status `error`.

        Raises:
            ConfigurationError: There is no such suite, it is malformed, or a parameter is missing.
            ToolUnavailable: The table could not be read.
            ToolRejected: The suite's own SQL, or Great Expectations itself, refused to run.
        """
        from e2i_pipeline.resources.audit_plans import plan

        started = time.perf_counter()
        chosen, known = self._read(suite, additional), dict(references or {})
        resolved = quality.suite_parameters(parameters)
        steps = plan(chosen, table, resolved, absent_columns, known)
        outcomes, page = self._run(chosen, steps, table, resolved, known, split_filter)
        return ValidationReport(
            table=table.name,
            data_version=table.version,
            suite=suite,
            suite_hash=self.verdict_key(table, suite, parameters, absent_columns, known, additional).suite_hash,
            split=split_filter,
            outcomes=outcomes,
            seconds=time.perf_counter() - started,
            data_docs=page.place,
            data_docs_problem=page.problem,
        )

    def dimensions(
        self, report: ValidationReport, additional: Iterable[Mapping[str, Any]] = ()
    ) -> dict[str, float | None]:
        """The six dimensions of data quality of an audit, as its suite maps them (`domain.quality.dimensions`)."""
        declared = {e.name: e.dimension for e in self.expectations(report.suite, additional) if e.dimension}
        return quality.dimensions(report, declared)

    def create_suite(self, name: str, expectations: Sequence[Mapping[str, Any]]) -> tuple[Expectation, ...]:
        """Saves a new suite beside the reviewed ones.

        Args:
            name: Its name, in lower snake case.
            expectations: Entries in the form of the suites' JSON: `type`, `kwargs`, `severity`, `meta.name`.

        Returns:
            Its expectations. Saving the same again changes nothing.

        Raises:
            ConfigurationError: The name or an entry is malformed, or another suite has that name.
        """
        if not NAME.match(name):
            raise ConfigurationError(f"{name!r} is no name for a suite; write it in lower snake case.")
        content = {"name": name, "id": None, "expectations": [dict(e) for e in expectations], "meta": {}, "notes": None}
        suite, path = parse_suite(name, content), self._folder / f"{name}.json"
        if path.is_file():
            if json.loads(path.read_text(encoding="utf-8")) != content:
                raise ConfigurationError(f"{path} holds another suite. Choose another name, or change it by review.")
            return suite.expectations
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{name}-{uuid.uuid4().hex}")
        scratch.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        scratch.replace(path)
        return suite.expectations

    @property
    def _folder(self) -> Path:
        return Path(self.gx_root) / "expectations"

    def _read(self, suite: str, additional: Iterable[Mapping[str, Any]] = ()) -> Suite:
        """The suite; the default one with what the configuration adds, for the tables that have those columns."""
        if suite != DEFAULT_SUITE:
            return read_suite(self._folder, suite, additional)
        configured = quality.default_expectations(**self.default_expectations)
        read = read_suite(self._folder, suite, (*configured, *additional))
        columns = (str(entry["kwargs"]["column"]) for entry in configured)
        return read._replace(optional_columns=(*read.optional_columns, *columns))

    def _run(
        self,
        suite: Suite,
        steps: "Sequence[Step]",
        table: TableRef,
        parameters: Mapping[str, Any],
        references: Mapping[str, TableRef],
        split: str,
    ) -> tuple[tuple[ExpectationOutcome, ...], Page]:
        from e2i_pipeline.resources.audit_plans import batch
        from e2i_pipeline.resources.audit_results import outcome_of
        from e2i_pipeline.resources.audit_run import run_suite
        from e2i_pipeline.resources.pushdown.push import Push

        severities = {e.name: e.severity_under(self.critical_expectations) for e in suite.expectations}
        running = [step for step in steps if not step.status]
        if not running:
            return tuple(outcome_of(step, severities[step.expectation.name], suite, None) for step in steps), Page()
        with self._reading(table, suite.name) as connection:
            rows = batch(suite, running, table, parameters, references, split)
            push = Push(connection, rows, running, parameters, key_column(table.name, [c.name for c in table.columns]))
            if not push.rows:
                steps = tuple(_without_rows(step) for step in steps)
            pairs = [(step, severities[step.expectation.name]) for step in steps if not step.status]
            results, page, docs = {}, Page(), Docs(self.data_docs, self.checkpoint_store)
            if pairs:
                asset = f"{table.name}[{split}]" if split else table.name
                results, page = run_suite(suite.name, pairs, push.snapshot, asset, table.version, parameters, docs)
            outcomes = [
                outcome_of(step, severities[step.expectation.name], suite, results.get(step.expectation.name))
                for step in steps
            ]
            keys = push.samples(o.name for o in outcomes if o.status == "failed" and o.name in results)
        return tuple(
            o.model_copy(update={"engine": push.engine_of(o.name), "sample_keys": keys.get(o.name, ())})
            if o.name in results
            else o
            for o in outcomes
        ), page

    @contextmanager
    def _reading(self, table: TableRef, suite: str) -> "Iterator[duckdb.DuckDBPyConnection]":
        """A connection that reads a table for its audit, in bounded memory, and says what it cannot."""
        import duckdb

        try:
            with self.engine.connect(self.engine.memory_limit or AUDIT_MEMORY) as connection:
                yield connection
        except duckdb.IOException as err:
            raise ToolUnavailable(
                f"{table.name} could not be read from {table.location} for its audit by {suite}. Check that the file "
                f"is there and readable; if it is gone, materialize {table.name} again."
            ) from err
        except duckdb.Error as err:
            # without its cause: DuckDB's text may quote a value
            raise ToolRejected(
                f"The engine refused the query behind {suite} on {table.name} ({type(err).__name__}). Compare the "
                f"table's column types with the helper columns in gx/expectations/{suite}.json."
            ) from None


def _without_rows(step: "Step") -> "Step":
    """An empty batch has a number of rows and has columns; all that is said of its rows is neither true nor false."""
    if step.status or step.type == EXISTS or step.type.startswith("expect_table_"):
        return step
    return step._replace(status="skipped", reason="there are no rows to test")
