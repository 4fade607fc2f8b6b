"""Asks DuckDB all that a suite needs to know of a batch: one scan for the aggregates, one for each key that is unique.

What to ask belongs in `metrics.py`. A helper column that looks at other rows or tables (a window, a subquery) is asked
about in a scan of its own, which carries the columns that it needs and no others through the sort or join.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.domain.privacy import is_pseudonym_sql
from e2i_pipeline.resources.engine import quoted
from e2i_pipeline.resources.pushdown.batch import Batch
from e2i_pipeline.resources.pushdown.domains import Domain
from e2i_pipeline.resources.pushdown.metrics import AGGREGATE, DUPLICATED, Term, both, unexpected
from e2i_pipeline.resources.pushdown.rules import Rule

if TYPE_CHECKING:
    import duckdb

_SPARE = 5
"""How many times as many keys are read as are wanted: several rows may have the same."""


class Scan:
    """The answers of DuckDB about one batch.

    Attributes:
        found: The answer to each term that was asked.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", batch: Batch) -> None:
        self._connection = connection
        self._batch = batch
        self._doubled: dict[Term, str] = {}
        self.found: dict[Term, Any] = {}

    def ask(self, terms: Iterable[Term]) -> None:
        """Finds the answers to terms.

        Raises:
            duckdb.Error: DuckDB could not read or compute them.
        """
        asked = tuple(dict.fromkeys(terms))
        groups: dict[frozenset[str], list[Term]] = {}
        for term in asked:
            if term.kind == AGGREGATE:
                groups.setdefault(self._batch.apart(term.reads), []).append(term)
            else:
                self.found[term] = self._duplicated(term) if term.kind == DUPLICATED else self._different(term)
        for group in groups.values():
            self.found |= zip(group, self._aggregates(group), strict=True)

    def samples(self, rules: Mapping[str, tuple[Domain, Rule]], key: str, most: int) -> dict[str, tuple[str, ...]]:
        """Keys of rows that rules do not expect, the smallest first, in one scan; what is no pseudonym is left out.

        Args:
            rules: The rules by name; those on unique keys were asked about before.
            key: The column of the key.
            most: How many keys of each.
        """
        if not rules:
            return {}
        batch = self._batch if key in self._batch.fields else self._batch.having(key)
        reads = {key, *(name for domain, _ in rules.values() for name in domain.reads)}
        marks = [f"({self._is_unexpected(*rule)}) AS {quoted(f'mark {i}')}" for i, rule in enumerate(rules.values())]
        smallest = [
            f"min(the_key, {most * _SPARE}) FILTER (WHERE {quoted(f'mark {i}')} AND {is_pseudonym_sql('the_key')})"
            for i in range(len(marks))
        ]
        named = f"CAST({quoted(key)} AS VARCHAR) AS the_key"
        rows = f"SELECT {', '.join([named, *marks])} FROM ({batch.select(reads, is_view=True)})"
        some = " OR ".join(quoted(f"mark {i}") for i in range(len(marks)))
        query = f"SELECT {', '.join(smallest)} FROM ({rows}) WHERE {some}"
        found = self._connection.execute(query).fetchone() or ()
        return {n: tuple(dict.fromkeys(keys or ()))[:most] for n, keys in zip(rules, found, strict=True)}

    def _aggregates(self, terms: Sequence[Term]) -> tuple[Any, ...]:
        rows = self._batch.select({name for term in terms for name in term.reads}, is_view=True)
        query = f"SELECT {', '.join(term.sql for term in terms)} FROM ({rows})"
        return self._connection.execute(query).fetchone() or ()

    def _different(self, term: Term) -> int:
        return self._number(f"SELECT count(*) FROM (SELECT {term.sql} {self._rows(term)} GROUP BY {term.sql})")

    def _duplicated(self, term: Term) -> int:
        """Rows whose key others have too.

        They are grouped by the key's hash first, which takes little memory whatever the key is. Where no two hashes
        are the same no two keys are; else the keys behind these hashes, and no others, are compared.
        """
        rows, name = self._rows(term), f"doubled_{len(self._doubled)}"
        suspects = f"SELECT hash({term.sql}) AS h {rows} GROUP BY h HAVING count(*) > 1"
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE suspects AS {suspects}")
        if not self._number("SELECT count(*) FROM suspects"):
            return 0
        self._doubled[term] = name
        self._connection.execute(
            f"CREATE TEMP TABLE {name} AS SELECT hash({term.sql}) AS h, count(*) AS n {rows} "
            f"AND hash({term.sql}) IN (SELECT h FROM suspects) GROUP BY {term.sql} HAVING count(*) > 1"
        )
        return self._number(f"SELECT coalesce(sum(n), 0) FROM {name}")

    def _is_unexpected(self, domain: Domain, rule: Rule) -> str:
        term = unexpected(domain, rule)
        if term.kind != DUPLICATED:
            return both(domain.where, rule.unexpected)
        name = self._doubled.get(term)
        return both(term.where, f"hash({term.sql}) IN (SELECT h FROM {name})") if name else "FALSE"

    def _rows(self, term: Term) -> str:
        return f"FROM ({self._batch.select(term.reads, is_view=True)}) WHERE {term.where or 'TRUE'}"

    def _number(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0
