"""What of a suite DuckDB answers: decided per expectation, by the metrics that GX itself says it judges by.

An expectation goes to GX's own engine where one of its metrics is not known here, where the data is not such that both
engines surely agree, or where a rounding could decide. Running GX with the answers belongs in `audit_run.py`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.domain.privacy import is_pseudonym
from e2i_pipeline.resources.audit_plans import Step
from e2i_pipeline.resources.audit_run import RESULT_FORMAT, Snapshot, comparable, great_expectations
from e2i_pipeline.resources.pushdown.batch import Batch
from e2i_pipeline.resources.pushdown.columns import NotPushed
from e2i_pipeline.resources.pushdown.domains import Domain
from e2i_pipeline.resources.pushdown.metrics import AGGREGATE, Answer, Term, answer_to
from e2i_pipeline.resources.pushdown.rules import Rule
from e2i_pipeline.resources.pushdown.scan import Scan
from e2i_pipeline.resources.suites import resolved

if TYPE_CHECKING:
    import duckdb

DUCKDB = "duckdb"
GREAT_EXPECTATIONS = "great_expectations"
SAMPLE_KEYS = 5

_ROWS = Term(AGGREGATE, "count(*)", "", frozenset())
_UNEXPECTED = ".unexpected_count"
_LOG = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """One expectation, its keywords with their parameters, and the metrics that GX judges it by (none if unknown)."""

    step: Step
    kwargs: dict[str, Any]
    metrics: Mapping[Any, Any]

    @property
    def counted(self) -> Any:
        """The key of the metric that counts its unexpected rows; None where it is not about rows."""
        return next((key for key in reversed(self.metrics) if key[0].endswith(_UNEXPECTED)), None)


class Push:
    """The expectations of a suite on one batch, divided between DuckDB and GX's own engine.

    Attributes:
        rows: Number of rows of the batch.
        snapshot: What GX is run with.
    """

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        batch: Batch,
        steps: Sequence[Step],
        parameters: Mapping[str, Any],
        key: str = "",
    ) -> None:
        """Asks DuckDB, and reads the columns of what is left to GX's own engine.

        Args:
            connection: A connection to DuckDB.
            batch: The rows and columns.
            steps: What is to be run.
            parameters: Values of the suite parameters.
            key: The column that names a row; empty for none.

        Raises:
            duckdb.Error: The batch cannot be read.
        """
        great_expectations()
        self._connection, self._batch, self._key = connection, batch.typed(connection), key
        self._scan = Scan(connection, self._batch)
        self._asked = {step.expectation.name: _asked(step, parameters) for step in steps}
        self._answers = self._answerable()
        given = self._values()
        self._left = self._undecided(given)
        self.rows: int = self._scan.found[_ROWS]
        self.snapshot = Snapshot(self._frame(), given, {})

    def engine_of(self, name: str) -> str:
        """Which engine counts for an expectation: `duckdb` or `great_expectations`."""
        return GREAT_EXPECTATIONS if name in self._left else DUCKDB

    def samples(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Keys of rows that expectations do not expect, at most five of each, the smallest first.

        Args:
            names: Expectations that GX has judged, with `snapshot`.

        Raises:
            duckdb.Error: The batch cannot be read.
        """
        if not self._key:
            return {}
        rules: dict[str, tuple[Domain, Rule]] = {}
        found: dict[str, tuple[str, ...]] = {}
        for name in names:
            counted = self._asked[name].counted
            if name in self._left:
                found[name] = self._marked(self._asked[name].metrics.get(counted))
            elif counted is not None and (rule := self._answers[counted].rule):
                rules[name] = rule
        return found | self._scan.samples(rules, self._key, SAMPLE_KEYS)

    def _answerable(self) -> dict[Any, Answer]:
        """How to answer the metrics of the expectations that can be answered as a whole."""
        answers: dict[Any, Answer] = {}
        for asked in self._asked.values():
            try:
                answers |= {key: self._answer(metric) for key, metric in asked.metrics.items()}
            except NotPushed:
                continue
        return answers

    def _answer(self, metric: Any) -> Answer:
        return answer_to(
            metric.metric_name,
            metric.metric_domain_kwargs,
            metric.metric_value_kwargs,
            self._batch.fields,
            tuple(self._batch.fields),
        )

    def _values(self) -> dict[Any, Any]:
        """The values of the metrics; without those that only GX's own engine knows on this data."""
        import duckdb

        try:
            self._scan.ask([_ROWS, *(t for a in self._answers.values() for t in (*a.guards, *a.terms))])
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except duckdb.Error as err:  # what it cannot compute, GX's own engine may
            _LOG.warning("DuckDB did not take a suite's scan (%s); GX's own engine counts.", type(err).__name__)
            self._scan.ask([_ROWS])
            return {}
        found = self._scan.found
        return {
            key: answer.value(*(found[term] for term in answer.terms))
            for key, answer in self._answers.items()
            if all(found[guard] for guard in answer.guards)
        }

    def _undecided(self, given: dict[Any, Any]) -> frozenset[str]:
        """Names of the expectations that are left to GX's own engine; what a rounding decides is taken from `given`."""
        for asked in self._asked.values():
            for key in asked.metrics:
                if key in given and self._is_close(self._answers[key], given[key], asked.kwargs):
                    del given[key]
        return frozenset(
            name for name, asked in self._asked.items() if not asked.metrics or not given.keys() >= asked.metrics.keys()
        )

    def _is_close(self, answer: Answer, value: Any, kwargs: Mapping[str, Any]) -> bool:
        """Whether GX's own engine, which rounds differently, may find a value on the other side of a bound."""
        if answer.margin is None or value is None:
            return False
        margin = answer.margin(*(self._scan.found[term] for term in answer.terms))
        bounds = [kwargs.get(name) for name in ("min_value", "max_value")]
        return any(isinstance(b, int | float) and not abs(value - b) > margin for b in bounds)

    def _frame(self) -> Any:
        """The columns that GX's own engine needs, and the key; no row where it needs none."""
        import pandas as pd

        if not self._left:
            return pd.DataFrame()
        entries = [self._asked[n].step.expectation._replace(kwargs=self._asked[n].step.kwargs) for n in self._left]
        names = {c for e in entries for c in (*e.columns, *e.condition_columns)}
        if any(not entry.columns for entry in entries):
            names |= set(self._batch.fields)
        batch = self._batch.having(self._key) if self._key else self._batch
        return comparable(self._connection.execute(batch.select({*names, self._key})).df())

    def _marked(self, metric: Any) -> tuple[str, ...]:
        """Keys of the rows that GX's own engine did not expect."""
        from e2i_pipeline.resources.pushdown.engine import condition_key

        marks = self.snapshot.conditions.get(condition_key(metric)) if metric is not None else None
        if marks is None:
            return ()
        keys = self.snapshot.frame.loc[marks[marks == True].index, self._key].dropna()  # noqa: E712 - may be objects
        return tuple(sorted(filter(is_pseudonym, set(map(str, keys))))[:SAMPLE_KEYS])


def _asked(step: Step, parameters: Mapping[str, Any]) -> _Asked:
    from e2i_pipeline.resources.pushdown.engine import key_of, metrics_of

    kwargs = resolved(step.kwargs, parameters)
    try:
        metrics = metrics_of(step.type, kwargs, RESULT_FORMAT)
    except Exception:  # whatever GX has against it, it says when it runs it
        metrics = []
    keys = (key_of(m.metric_name, m.metric_domain_kwargs, m.metric_value_kwargs) for m in metrics)
    return _Asked(step, kwargs, dict(zip(keys, metrics, strict=True)))
