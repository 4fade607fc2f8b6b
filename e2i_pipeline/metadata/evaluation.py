"""The table of test readings: who has looked at the sealed split of which dataset."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from e2i_pipeline.metadata.base import KEY, NAME, Base, RunLinks, UtcDateTime


class TestReading(RunLinks, Base):
    """One reading of a dataset's test rows by one model. A row is never changed or removed.

    Attributes:
        id: Hash of dataset version, model version, purpose and occasion.
        brand: The brand.
        dataset_version: Content hash of the training dataset.
        training_key: The training whose model read.
        model_version: SHA-256 of the model's files.
        purpose: `evaluation` of a candidate, or `comparison` of a champion that had not read these rows.
        occasion: What asked for it: the key of the evaluation or of the comparison. Asked again, it is no new reading.
        rows: Rows read.
        read_at: When (UTC).
    """

    __test__ = False
    __tablename__ = "ml_test_readings"
    __table_args__ = (
        Index(None, "dataset_version"),
        CheckConstraint("purpose IN ('evaluation', 'comparison')", name="purpose"),
    )

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    dataset_version: Mapped[str] = mapped_column(KEY)
    training_key: Mapped[str] = mapped_column(KEY)
    model_version: Mapped[str] = mapped_column(KEY)
    purpose: Mapped[str] = mapped_column(NAME)
    occasion: Mapped[str] = mapped_column(KEY)
    rows: Mapped[int]
    read_at: Mapped[datetime] = mapped_column(UtcDateTime)
