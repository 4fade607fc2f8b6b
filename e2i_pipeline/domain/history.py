"""Which of the rows that several pulls of a table have brought count, and which keys are gone. SQL text, never run.

A version of a row is named by its key and the moment it became known. What a later pull says of a version replaces what
an earlier one said. A key that a pull of the whole table did not find any more was deleted before that pull.
"""

from typing import NamedTuple

from e2i_pipeline.contracts.tables import DELETED, DELETED_AT
from e2i_pipeline.domain.landing import Plan

PULLED = "e2i_pulled"
"""Temporary table of the rows of the present pull."""

NUMBER = "e2i_pull"
"""Column with the number of the pull that brought a row."""

_VERSION, _KEY, _AT = "e2i_version", "e2i_key", "e2i_at"


class Stored(NamedTuple):
    """What earlier pulls have brought, as relations: rows with their version and pull, keys that were gone."""

    rows: str
    gone: str


def stored(plan: Plan, rows: str, gone: str) -> Stored:
    """What lies in the files of earlier pulls, with the columns and types of the plan.

    Args:
        plan: What is landed now; a column that an earlier pull did not have is null there.
        rows: Query over the files of rows; empty without any.
        gone: Query over the files of gone keys; empty without any.
    """
    types = {column.name: column.dtype for column, _ in plan.landed}
    types |= {DELETED: "BOOLEAN", DELETED_AT: "TIMESTAMP", _VERSION: "TIMESTAMP", NUMBER: "INTEGER"}
    none = f"SELECT {', '.join(f'NULL::{dtype} AS {_quoted(name)}' for name, dtype in types.items())} WHERE false"
    everything = f"{none} UNION ALL BY NAME {rows}" if rows else none
    # A covariate's type may have been changed meanwhile.
    selected = ", ".join(f"TRY_CAST({_quoted(name)} AS {dtype}) AS {_quoted(name)}" for name, dtype in types.items())
    return Stored(
        f"(SELECT {selected} FROM ({everything}))", f"({gone or f'SELECT *, 0 AS {NUMBER} FROM ({nobody_sql()})'})"
    )


def nobody_sql() -> str:
    """No key that is gone."""
    return f"SELECT NULL::VARCHAR AS {_KEY}, NULL::TIMESTAMP AS {_AT} WHERE false"


def pulled_sql(plan: Plan, landed: str) -> str:
    """The landed rows of a pull, with the version that each is."""
    return f"SELECT {', '.join(_columns(plan))}, {_version(plan)} AS {_VERSION} FROM {landed}"


def changed_sql(plan: Plan, known: Stored) -> str:
    """The rows of `PULLED` whose version is new, or reads otherwise than before, or whose key had been gone."""
    key, columns = _key(plan), ", ".join(_columns(plan))
    digest = f"count(*) AS n, sum(hash({columns})::HUGEINT) AS digest"
    grouped = f"SELECT {key} AS {_KEY}, {_VERSION}, {digest} FROM {{}} GROUP BY ALL"
    before = grouped.format(f"({_latest(plan, known)})")
    same = f"o.{_KEY} IS NOT DISTINCT FROM n.{_KEY} AND o.{_VERSION} IS NOT DISTINCT FROM n.{_VERSION}"
    changed = (
        f"SELECT n.{_KEY}, n.{_VERSION} FROM ({grouped.format(PULLED)}) n LEFT JOIN ({before}) o ON {same} "
        f"WHERE o.n IS DISTINCT FROM n.n OR o.digest IS DISTINCT FROM n.digest "
        f"OR n.{_KEY} IN (SELECT {_KEY} FROM ({_gone_now(plan, known)}))"
    )
    return (
        f"SELECT p.* FROM {PULLED} p SEMI JOIN ({changed}) c "
        f"ON p.{key} IS NOT DISTINCT FROM c.{_KEY} AND p.{_VERSION} IS NOT DISTINCT FROM c.{_VERSION}"
    )


def missing_sql(plan: Plan, known: Stored, at: str) -> str:
    """The keys that earlier pulls have brought, and that `PULLED`, which is all of the table, does not have any more.

    Args:
        plan: The plan.
        known: What earlier pulls have brought.
        at: SQL timestamp (UTC): as of when they are gone.
    """
    key = _key(plan)
    return (
        f"SELECT {_KEY}, {at} AS {_AT} FROM "
        f"(SELECT DISTINCT {key} AS {_KEY} FROM {known.rows} WHERE {key} IS NOT NULL) "
        f"WHERE {_KEY} NOT IN (SELECT {key} FROM {PULLED} WHERE {key} IS NOT NULL) "
        f"AND {_KEY} NOT IN (SELECT {_KEY} FROM ({_gone_now(plan, known)}))"
    )


def all_versions_sql(plan: Plan, known: Stored) -> str:
    """Every version of every row, with the columns of the plan, `DELETED` and `DELETED_AT`."""
    names = ", ".join(f"l.{name}" for name in _columns(plan) if name != DELETED_AT)
    gone = f"SELECT r.{_KEY}, r.{NUMBER}, min(g.{_AT}) AS {_AT} FROM (SELECT DISTINCT {_key(plan)} AS {_KEY}, {NUMBER} "
    gone += f"FROM ({_latest(plan, known)})) r JOIN {known.gone} g ON g.{_KEY} = r.{_KEY} AND g.{NUMBER} > r.{NUMBER} "
    gone += "GROUP BY ALL"
    return (
        f"SELECT {names}, least(l.{DELETED_AT}, g.{_AT}) AS {DELETED_AT} FROM ({_latest(plan, known)}) l "
        f"LEFT JOIN ({gone}) g ON g.{_KEY} = l.{_key(plan)} AND g.{NUMBER} = l.{NUMBER}"
    )


def _latest(plan: Plan, known: Stored) -> str:
    """The stored rows that no later pull has replaced."""
    newest = f"max({NUMBER}) OVER (PARTITION BY {_key(plan)}, {_VERSION})"
    return f"SELECT * FROM {known.rows} QUALIFY {NUMBER} = {newest}"


def _gone_now(plan: Plan, known: Stored) -> str:
    """The keys that were gone and have not come back."""
    seen = f"SELECT {_key(plan)} AS {_KEY}, max({NUMBER}) AS seen FROM {known.rows} GROUP BY ALL"
    left = f"SELECT {_KEY}, max({NUMBER}) AS missed FROM {known.gone} GROUP BY ALL"
    return f"SELECT {_KEY} FROM ({left}) JOIN ({seen}) USING ({_KEY}) WHERE missed > seen"


def _columns(plan: Plan) -> list[str]:
    return [*(_quoted(column.name) for column, _ in plan.landed), DELETED, DELETED_AT]


def _version(plan: Plan) -> str:
    names = [name for name in (plan.schema.known_at, plan.schema.event_time) if plan.has(name)]
    times = [f"CAST({_quoted(name)} AS TIMESTAMP)" for name in names]
    return f"coalesce({', '.join(dict.fromkeys(times))})" if times else "NULL::TIMESTAMP"


def _key(plan: Plan) -> str:
    return _quoted(plan.schema.columns[0].name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
