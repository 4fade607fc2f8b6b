"""What a suite cannot see: what became of a table since it was last published, and what its landing had to give up.

Sentences, and one SQL text that the caller runs. All of it warns: a table may shrink, lose a column or be corrected for
good reasons, and only a person knows them. What must be true of any one version is said in `gx/expectations`.
"""

from collections.abc import Collection, Sequence

from e2i_pipeline.contracts.references import DefectCount, TableRef
from e2i_pipeline.contracts.tables import BASELINE_KNOWN_AT, KNOWN_AT, SUPERSEDED_AT, TABLES

_NOT_COMPARED = (KNOWN_AT, BASELINE_KNOWN_AT, SUPERSEDED_AT, "data_split")
"""Columns that follow from settings, or that the pipeline decides itself."""

_LISTED = 5  # columns named in a sentence


def landing_sentence(table: TableRef, defect: DefectCount) -> str:
    """One defect met in landing, in words."""
    return (
        f"{table.name} as it was landed: {defect.defect}, in {defect.rows:,} of {defect.of_rows:,} rows; "
        f"{defect.treatment}."
    )


def landing_warnings(table: TableRef, told: Collection[str] = ()) -> tuple[str, ...]:
    """What landing changed or doubted in rows: a value that cannot be read is null from then on, and passes as absent.

    Args:
        table: The landed table.
        told: Sentences that are said elsewhere.

    Returns:
        One sentence per defect; columns that were left out as a whole are not among them.
    """
    sentences = [
        landing_sentence(table, defect)
        for defect in table.defects
        if defect.table == table.name and defect.rows and not defect.treatment.startswith("left out")
    ]
    remedy = f"Correct it at the source and materialize {table.name} again."
    return tuple(f"{sentence} {remedy}" for sentence in sentences if sentence not in told)


def shrinkage(table: TableRef, last: TableRef, max_row_drop: float) -> tuple[str, ...]:
    """What the last published version had and this one has not: the table itself, columns, rows.

    Args:
        table: The audited table.
        last: The last published version of it.
        max_row_drop: Share of the rows that may go without a word, 0..1.

    Returns:
        One sentence each. What the source declares absent is not missed.
    """
    if last.is_absent:
        return ()
    before = f"the last published version ({last.version[:12]})"
    if table.is_absent:
        return () if not table.defects else (_no_table(table, last, before),)
    gone = [c.name for c in last.columns if not table.has(c.name) and c.name not in table.absent_columns]
    sentences = [_no_column(table, name, before) for name in gone]
    if table.rows < (1 - max_row_drop) * last.rows:
        sentences.append(
            f"{table.name}: {table.rows:,} rows, {1 - table.rows / last.rows:.0%} fewer than the {last.rows:,} of "
            f"{before}, and great_expectations.qc_gate.max_row_drop is {max_row_drop:g}. See that the delivery is "
            f"complete and materialize {table.name} again; if the rows were meant to go, nothing is to be done."
        )
    return tuple(sentences)


def comparable(table: TableRef, last: TableRef) -> tuple[str, ...]:
    """Columns by which a version can be held against the last published one, row by row.

    Args:
        table: The audited table.
        last: The last published version of it.

    Returns:
        Column names; empty where the version is the same, or no known-at time is delivered to find a row again by.
    """
    schema = TABLES.get(table.name)
    if schema is None or table.version == last.version or table.is_absent or last.is_absent:
        return ()
    here = {(c.name, c.dtype) for c in table.columns}
    both = [c.name for c in last.columns if (c.name, c.dtype) in here]
    identity = (schema.columns[0].name, schema.known_at)
    if any(name not in both for name in identity):
        return ()
    return tuple(name for name in both if name not in (*identity, *_NOT_COMPARED))


def rewritten_sql(table: TableRef, columns: Sequence[str], rows: str, last_rows: str) -> str:
    """Counts the rows that say something else than the published ones of the same key and known-at time.

    Args:
        table: The audited table.
        columns: From `comparable`, at least one.
        rows: The audited table as a relation in SQL.
        last_rows: The last published version as a relation in SQL.

    Returns:
        A SELECT statement with one row: the number of such rows, then how often each column differs.
    """
    schema = TABLES[table.name]
    differs = [f'n."{name}" IS DISTINCT FROM p."{name}"' for name in columns]
    counts = ", ".join(f"count(*) FILTER ({differing})" for differing in (" OR ".join(differs), *differs))
    return f'SELECT {counts} FROM {last_rows} p JOIN {rows} n USING ("{schema.columns[0].name}", "{schema.known_at}")'


def rewritten(table: TableRef, last: TableRef, columns: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    """What to say of rewritten rows.

    Args:
        table: The audited table.
        last: The last published version of it.
        columns: From `comparable`.
        counts: The row that `rewritten_sql` gives.
    """
    if not counts or not counts[0]:
        return ()
    schema = TABLES[table.name]
    changed = sorted(((n, name) for name, n in zip(columns, counts[1:], strict=True) if n), reverse=True)
    listed = ", ".join(f"{name} in {n:,}" for n, name in changed[:_LISTED])
    more = f" and {len(changed) - _LISTED} more columns" if len(changed) > _LISTED else ""
    return (
        f"{table.name}: {counts[0]:,} of {table.rows:,} rows say something else than in the last published version "
        f"({last.version[:12]}) under the same {schema.columns[0].name} and {schema.known_at} ({listed}{more}): "
        "history was changed after the fact, so what was known at a prediction time cannot be told any more. Deliver a "
        f"correction as a further row with its own {schema.known_at}, and materialize {table.name} again.",
    )


def _no_table(table: TableRef, last: TableRef, before: str) -> str:
    return (
        f"{table.name}: there is no input for this optional table, and {before} had {last.rows:,} rows; the features "
        f"that need it are left out. Deliver it and materialize {table.name} again, or declare it in "
        "source.absent.tables."
    )


def _no_column(table: TableRef, column: str, before: str) -> str:
    return (
        f"{table.name}.{column}: {before} had this column, and none of the {table.rows:,} rows has it now; the "
        f"features that need it are left out. Deliver it and materialize {table.name} again, or declare it in "
        f"source.absent.columns.{table.name}."
    )
