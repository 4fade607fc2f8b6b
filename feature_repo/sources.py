# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""Where feature values come from: one Parquet table per view, one row per entity and change.

`event_timestamp` is the latest event behind a row; `created_timestamp` is when all of the row was known. A value may be
used from the later of the two on, so historical reads must pass `filter_by_created_timestamp=True`. A view that
cannot be filled has the source None.
"""

from definitions import is_available, source_path
from feast import FileSource
from feast.data_format import ParquetFormat


def _source(view: str, description: str) -> FileSource | None:
    if not is_available(view):
        return None
    return FileSource(
        name=f"{view}_table",
        path=source_path(view),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description=description,
        owner="data-preparer",
    )


patient_table = _source("patient_features", "Cumulative history per patient and change.")
hcp_table = _source("hcp_features", "Profile and cumulative engagement per health-care professional and change.")
engagement_table = _source("engagement_features", "Touches that reached a patient, per patient and change.")
