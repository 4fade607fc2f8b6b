"""What every metadata table shares: the declarative base, portable column types and the links to runs.

The same models serve SQLite and PostgreSQL, so nothing here is dialect-specific. Tables stand in the sibling modules.
"""

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import JSON, DateTime, Dialect, MetaData, String, Table, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from e2i_pipeline.metadata.values import plain

KEY = String(64)
"""Type of a key: a hash in hexadecimal, a UUID, or a short id of a tool."""

NAME = String(255)
"""Type of a name that a person chose."""


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: takes any aware datetime, gives it back in UTC. SQLite stores no offset, so it is added here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuses a naive datetime: it would be another moment on another machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Gives the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainJson(TypeDecorator[Any]):
    """A JSON value. NaN and infinity, which JSON does not have and PostgreSQL refuses, become null."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Turns the value into plain JSON."""
        return plain(value)


class Base(DeclarativeBase):
    """Base of all metadata tables. Constraints are named by rule, so that a migration can find them again."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def table_of(model: type[Base]) -> Table:
    """A model's table, as the type that it always is here."""
    return cast(Table, model.__table__)


class RunLinks:
    """Which run wrote the row, and when the database took it.

    Attributes:
        dagster_run_id: Dagster run; empty outside a run.
        mlflow_run_id: MLflow run, where one exists.
        recorded_at: When the row was first written, by the database's own clock (UTC).
    """

    dagster_run_id: Mapped[str] = mapped_column(KEY, default="", index=True)
    mlflow_run_id: Mapped[str | None] = mapped_column(KEY)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
