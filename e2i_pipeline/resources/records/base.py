"""What the records of every topic share: finding rows, and writing one under its own key."""

from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.base import content_key

if TYPE_CHECKING:
    from e2i_pipeline.metadata.base import Base
    from e2i_pipeline.metadata.database import Database

Row = dict[str, Any]
"""One row of a metadata table, by column name."""


class Records:
    """A part of `MetadataResource`, which opens the database."""

    def _database(self) -> "Database":
        raise NotImplementedError

    def _find(self, model: "type[Base]", **equal: Any) -> list[Row]:
        """The rows whose columns have these values."""
        from e2i_pipeline.metadata.base import table_of

        return self._database().rows(table_of(model).select().filter_by(**equal))

    def _put(self, model: "type[Base]", row: Row, keys: tuple[str, ...], keep: tuple[str, ...] = ()) -> None:
        """Inserts or updates the row that has this natural key; its `id` is the key's hash unless the row names one."""
        from e2i_pipeline.metadata.database import upsert

        row = {"id": content_key(*(row[key] for key in keys)), **row}
        with self._database().write() as connection:
            upsert(connection, model, row, ["id"], keep=keep)
