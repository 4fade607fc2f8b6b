"""The settings of a PostgreSQL source, as a frozen type; defaults stand in `e2i.yaml`."""

from typing import Literal

from pydantic import Field, field_validator

from e2i_pipeline.config.part import Part
from e2i_pipeline.contracts.tables import TABLES


class PostgresSettings(Part):
    """How a PostgreSQL database is read; its address is in the environment, `E2I_SOURCE_URL`.

    Attributes:
        schema_: Schema of the tables (`schema`).
        tables: The table behind a canonical one, as `table` or `schema.table`, where it has another name.
        mode: `snapshot` reads a table whole when it has changed; `incremental` what is new, and keeps a history.
        watermark: Per canonical table the column whose values only grow; by default its known-at column.
        overlap_hours: How far behind the watermark is read again, since a transaction commits after it began.
        reconcile_every_days: How often all is read, to find what was deleted or missed; 0: never.
        statement_timeout: Seconds that one statement may take; the reading of a table is one.
        connect_timeout: Seconds until a server that does not answer counts as unreachable.
        batch_rows: Rows that come over at a time.
    """

    schema_: str = Field(alias="schema", min_length=1)
    tables: dict[str, str]
    mode: Literal["snapshot", "incremental"]
    watermark: dict[str, str]
    overlap_hours: float = Field(ge=0)
    reconcile_every_days: int = Field(ge=0)
    statement_timeout: int = Field(ge=1, le=2_000_000)
    connect_timeout: int = Field(ge=1)
    batch_rows: int = Field(ge=1, le=1_000_000)

    @field_validator("tables", "watermark")
    @classmethod
    def _canonical(cls, named: dict[str, str]) -> dict[str, str]:
        if unknown := [table for table in named if table not in TABLES]:
            raise ValueError(f"{', '.join(unknown)} is no canonical table; there are {', '.join(TABLES)}")
        return named
