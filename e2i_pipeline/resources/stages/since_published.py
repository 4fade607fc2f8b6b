"""What became of a source table since it was last published, asked when a new version is audited.

What is compared, and in which words it is said, stands in `domain/continuity.py`.
"""

from pathlib import Path

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain import continuity
from e2i_pipeline.resources.engine import EngineResource, parquet
from e2i_pipeline.resources.stages.publication import last_published


def since_published(table: TableRef, state_dir: str, engine: EngineResource, max_row_drop: float) -> tuple[str, ...]:
    """Warnings on a table, against the version of it that is published now.

    Args:
        table: The audited table.
        state_dir: The state folder.
        engine: Compares the rows.
        max_row_drop: Share of the rows that may be gone without a word, 0..1.

    Returns:
        One sentence each; none where nothing was published before, or the table is not a source table.
    """
    dataset = last_published(state_dir)
    last = dataset.tables.get(table.name) if dataset else None
    if last is None:
        return ()
    columns, counts = continuity.comparable(table, last), ()
    if columns and Path(last.location).is_file():
        query = continuity.rewritten_sql(table, columns, parquet(table.location), parquet(last.location))
        with engine.connect() as connection:
            counts = connection.execute(query).fetchone() or ()
    return (
        *continuity.shrinkage(table, last, max_row_drop),
        *continuity.rewritten(table, last, columns, counts),
    )
