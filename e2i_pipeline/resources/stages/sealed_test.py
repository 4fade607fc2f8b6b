"""The sealed test split: its outcomes are read here and nowhere else, and every reading is written down first.

A candidate reads it once. A champion that has not seen the present rows reads them once for a comparison. What is done
with the rows is decided by who asks.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from e2i_pipeline.contracts.evaluation import TestReadings
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.domain import slices
from e2i_pipeline.domain.judgement import TestRows
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.modelling import ModellingResource

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PATIENT = "patient_id"


class SealedTestResource(dg.ConfigurableResource):
    """Reads the test rows, on the record.

    Attributes:
        metadata: Keeps the record.
        modelling: Reads the modelling rows.
        maximum_candidates: Candidates beyond which so many readings are warned of.
    """

    metadata: MetadataResource
    modelling: ModellingResource
    maximum_candidates: int = 10

    def read(
        self,
        dataset: TrainingDatasetRef,
        *,
        training_key: str,
        model_version: str,
        mlflow_run_id: str,
        purpose: str,
        occasion: str,
        run_id: str,
        now: datetime,
        columns: tuple[str, ...] = (),
    ) -> TestRows:
        """Writes down who reads, and reads.

        Args:
            dataset: Whose rows.
            training_key: The training whose model reads.
            model_version: SHA-256 of the model's files, or the registered version of a champion.
            mlflow_run_id: The run that the model is of.
            purpose: `evaluation` or `comparison`.
            occasion: Key of what asks; the same is recorded once.
            run_id: Dagster run.
            now: When (UTC).
            columns: Columns that slices and groups are made of, beside the features.
        """
        self.metadata.record_test_reading(
            dataset,
            training_key=training_key,
            model_version=model_version,
            mlflow_run_id=mlflow_run_id,
            purpose=purpose,
            occasion=occasion,
            run_id=run_id,
            read_at=now,
        )
        present = [column.name for column in dataset.columns]
        wanted = slices.columns_for(columns, present)
        more = [name for name in (*wanted, PATIENT) if name in present]
        frame, outcome = self.modelling.sealed_frame(dataset, more)
        features = [feature.name for feature in dataset.features]
        return TestRows(frame[features], outcome, frame[wanted], _patients(frame))

    def readings(self, dataset: TrainingDatasetRef) -> TestReadings:
        """How often the rows were read so far, and by how many candidates."""
        rows = self.metadata.test_readings(dataset.version)
        candidates = {row["training_key"] for row in rows if row["purpose"] == "evaluation"}
        return TestReadings(candidates=len(candidates), readings=len(rows), maximum=self.maximum_candidates)


def _patients(frame: "pd.DataFrame") -> "np.ndarray | None":
    """A number per patient that means nothing elsewhere; None where every row is of another patient."""
    if PATIENT not in frame.columns:
        return None
    codes, names = frame[PATIENT].factorize()
    return None if len(names) == len(frame) else codes
