# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""Where feature values come from: one table per view, one row per entity and change.

`event_timestamp` is the latest event behind a row; `created_timestamp` is when all of the row was known. A value may be
used from the later of the two on, which the offline store sees to; Feast's own stores need
`filter_by_created_timestamp=True` for it. A view that cannot be filled has the source None.

Which kind of source it is goes by the offline store: Parquet files for DuckDB, tables for PostgreSQL and Redshift.
"""

from definitions import is_available, offline_kind, source_path, source_table
from feast import FileSource, PushSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource


def _source(view: str, description: str) -> DataSource | None:
    if not is_available(view):
        return None
    about = {
        "name": f"{view}_table",
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "created_timestamp",
        "description": description,
        "owner": "data-preparer",
    }
    match offline_kind():
        case "postgres":
            # imported only here: its driver belongs to an extra
            from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

            # a query, because Feast 0.67 does not notice that a source has another table
            table = source_table(view)
            return PostgreSQLSource(query=f'SELECT * FROM "{table}"', tags={"table": table}, **about)
        case "redshift":
            from feast import RedshiftSource

            return RedshiftSource(table=source_table(view), **about)
        case _:
            return FileSource(path=source_path(view), file_format=ParquetFormat(), **about)


patient_table = _source("patient_features", "Cumulative history per patient and change.")
hcp_table = _source("hcp_features", "Profile and cumulative engagement per health-care professional and change.")
engagement_table = _source("engagement_features", "Touches that reached a patient, per patient and change.")

engagement_push = engagement_table and PushSource(
    name="engagement_push",
    batch_source=engagement_table,
    description="Touches as they happen, as whole rows of engagement_features; the next batch brings the same rows.",
    owner="data-preparer",
)
