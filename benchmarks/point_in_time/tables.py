"""What the tables of a bar look like: entity rows, and views with their columns, bounds and limits of age.

`journeys` is three views of four columns over many rows; `wide` is ten views of a hundred; `pair` is one view as large
as the entity rows, with twenty rows of either per key, as a health-care professional has them. Rows become known up to
60 days after they happened, at random, so that the known-time cut, restatements and the running maximum all matter.
"""

from dataclasses import dataclass
from pathlib import Path

TTL_DAYS = 400
ENTITIES = "entities.parquet"


@dataclass(frozen=True)
class Table:
    """A feature table.

    Attributes:
        name: Name of the view; its file is `<name>.parquet`.
        key: Join key.
        columns: Number of features, named `<name>_0` and so on.
        rows: Number of rows.
        holders: Number of different keys.
        is_strict: Whether the view's bound is strict.
    """

    name: str
    key: str
    columns: int
    rows: int
    holders: int
    is_strict: bool = False

    @property
    def features(self) -> list[str]:
        """Names of the features."""
        return [f"{self.name}_{i}" for i in range(self.columns)]

    def file(self, folder: Path) -> Path:
        """The Parquet file."""
        return folder / f"{self.name}.parquet"


def tables(kind: str, entities: int, rows: int) -> list[Table]:
    """The views of a kind of data.

    Args:
        kind: `journeys`, `wide` or `pair`.
        entities: Number of entity rows.
        rows: Rows of all views together (`journeys`), or of each.
    """
    patients, hcps = max(1, entities // 5), max(1, entities // 20)
    if kind == "journeys":
        return [
            Table("clinical", "patient_id", 4, rows * 2 // 5, patients),
            Table("profile", "hcp_id", 4, rows // 5, hcps),
            Table("touches", "patient_id", 4, rows - rows * 2 // 5 - rows // 5, patients, is_strict=True),
        ]
    if kind == "wide":
        return [Table(f"group_{i}", "patient_id", 100, rows, max(1, entities // 2)) for i in range(10)]
    return [Table("profile", "hcp_id", 4, rows, hcps)]
