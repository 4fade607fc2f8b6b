"""What one reading of the test rows leaves behind: outcomes and scores, by which models are compared without another.

One row per test row, in the dataset's order, without an identifier: `patient` is a number that means nothing elsewhere.
"""

import io
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

FILE = "test_scores.parquet"


class TestScores(NamedTuple):
    """Outcomes and scores (rows,) each.

    Attributes:
        dataset_version: Content hash of the training dataset.
        outcome: Outcomes.
        candidate: The candidate's predictions.
        champion: Those of the champion of that moment; None where there was none, or it could not score.
        champion_version: Its version number; empty where there was none.
        patients: Which patient each row is of; None where all differ.
    """

    __test__ = False

    dataset_version: str
    outcome: "np.ndarray"
    candidate: "np.ndarray"
    champion: "np.ndarray | None" = None
    champion_version: str = ""
    patients: "np.ndarray | None" = None


def to_parquet(scores: TestScores) -> bytes:
    """The scores as a Parquet file; the same bytes for the same scores."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"outcome": scores.outcome, "candidate": scores.candidate}
    more = {"champion": scores.champion, "patient": scores.patients}
    table = pa.table({**columns, **{name: values for name, values in more.items() if values is not None}})
    told = {"dataset_version": scores.dataset_version, "champion_version": scores.champion_version}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(told), buffer)
    return buffer.getvalue()


def from_parquet(content: bytes) -> TestScores:
    """Reads what `to_parquet` wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    found = {name: table[name].to_numpy() for name in table.column_names}
    return TestScores(
        dataset_version=told["dataset_version"],
        outcome=found["outcome"],
        candidate=found["candidate"],
        champion=found.get("champion"),
        champion_version=told["champion_version"],
        patients=found.get("patient"),
    )
