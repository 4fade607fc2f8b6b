"""Builds the modelling rows of a brand and hands them to those who learn from them.

A row is a journey at its prediction time: what Feast knew then, and the outcome. What a feature is stands in
`domain/features.py`, what counts as leakage in `domain/leakage.py`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.cohort import CohortDefinition
from e2i_pipeline.contracts.feature_contract import CONTRACT_FILE
from e2i_pipeline.contracts.references import DatasetRef, FeatureRegistryRef, TableRef, TrainingDatasetRef
from e2i_pipeline.contracts.tables import SUPERSEDED_AT
from e2i_pipeline.domain import cohorts, leakage, splits
from e2i_pipeline.errors import ConfigurationError, LeakageFound, ReferenceNotFound, TestSplitSealed
from e2i_pipeline.resources.engine import EngineResource, literal, parquet, quoted, timestamp
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEALED = "test"
"""The split whose outcomes are read on the record only."""

_USED = "used"
"""Folder beside the versions of a brand's training dataset: which training has learnt from which."""


class ModellingResource(dg.ConfigurableResource):
    """The modelling rows.

    Attributes:
        state_dir: The state folder.
        engine: Reads and writes the rows.
        feast: Knows the features at each prediction time.
        cohort: The cohort definition (`CohortDefinition`).
        target: Name of the outcome column.
        problem_type: `classification` or `regression`.
        prediction_lag_days: Days from the index date to the prediction time.
        source_columns: Source column per configured covariate.
    """

    state_dir: str
    engine: EngineResource
    feast: FeastResource
    cohort: dict[str, Any]
    target: str
    prediction_lag_days: int
    source_columns: dict[str, str]
    problem_type: str = "classification"

    def key(self, brand: str, dataset: DatasetRef, registry: FeatureRegistryRef, code: str) -> str:
        """Content key of the dataset that `training_dataset` would make."""
        target = (self.target, self.problem_type)
        return content_key(brand, dataset.key, registry.key, self.cohort, target, self.prediction_lag_days, code)

    def training_dataset(
        self, key: str, brand: str, dataset: DatasetRef, registry: FeatureRegistryRef
    ) -> TrainingDatasetRef:
        """Joins features to the brand's journeys at their prediction times, and writes the rows.

        Journeys whose outcome is still open are in it too, as `unassigned` and without a target: they are what is
        scored later.

        Raises:
            CohortTooSmall: Too few journeys or positives to train and to evaluate; nothing is written.
            ConfigurationError: The outcome of a regression is no number.
        """
        rows = self._journeys(brand, dataset)
        counts = self._counts(rows)
        cohorts.check_size(counts, CohortDefinition.model_validate(self.cohort), self.problem_type)
        frame = self.feast.training_frame(registry, rows)
        with self.engine.connect() as connection:
            connection.register("modelling", frame)
            chosen = ", ".join(self._columns(list(frame.columns)))
            written = self.engine.write(
                connection,
                f"SELECT {chosen} FROM modelling",
                f"{self.state_dir}/training/{brand}",
                ("patient_journey_id",),
            )
        learning = rows["data_split"].to_numpy(dtype=str)
        return TrainingDatasetRef(
            key=key,
            name="training_dataset",
            location=written.location,
            version=written.version,
            rows=written.rows,
            columns=written.columns,
            known_until=dataset.as_of,
            brand=brand,
            dataset_key=dataset.key,
            overrides=dataset.overrides,
            features=registry.features,
            contract=registry.contract,
            split_counts={split: n for split, (n, _) in counts.items()},
            positives={} if self._is_regression else {s: n for s, (_, n) in counts.items() if s != "unassigned"},
            label_overlap=splits.label_overlap(
                rows["index_date"].to_numpy(dtype="datetime64[D]"), learning, self._horizon_days, dataset.cuts
            ),
        )

    def contract_files(self, dataset: TrainingDatasetRef) -> dict[str, bytes]:
        """The feature definitions behind the rows, as a file that travels with a model; none for rows without.

        Raises:
            ToolRejected: The definitions are not there any more, or were changed.
        """
        if not dataset.contract:
            return {}
        return {CONTRACT_FILE: self.feast.contract(dataset.contract).model_dump_json(indent=2).encode()}

    def note_use(self, training_key: str, dataset: TrainingDatasetRef) -> None:
        """Writes down which rows a training learns from, so that its model can be traced to its data for ever."""
        path = Path(self.state_dir) / "training" / dataset.brand / _USED / f"{training_key}.json"
        if not path.is_file():
            write_json(path, {"type": type(dataset).__name__, "reference": dataset.model_dump(mode="json")})

    def require_use(self, training_key: str, dataset: TrainingDatasetRef) -> None:
        """Refuses rows that are not those which a training learns from.

        Raises:
            ReferenceNotFound: The training was begun on other rows, or nobody has written down on which.
        """
        noted = used_by_trainings(self.state_dir, training_key)
        if not any(dataset.version in path.read_text(encoding="utf-8") for path in noted):
            raise ReferenceNotFound(
                f"The study of {dataset.brand} was not made on the present training dataset (version "
                f"{dataset.version[:12]}); nothing was fitted. Materialize hyperparameter_study first."
            )

    def frame(
        self, dataset: TrainingDatasetRef, split_names: Sequence[str], columns: Sequence[str] = ()
    ) -> "tuple[pd.DataFrame, np.ndarray]":
        """The rows of some splits, in order of the journey's key, and their outcomes.

        Args:
            dataset: The training dataset.
            split_names: Splits to read.
            columns: Further columns beside the features.

        Returns:
            Frame (rows, features and further columns), and outcomes (rows,) of float64, NaN where open.

        Raises:
            TestSplitSealed: The test split is among them: its outcomes are read on the record only.
        """
        if SEALED in split_names:
            raise TestSplitSealed(
                f"The outcomes of the test split of {dataset.brand} were asked for. They are read once per candidate, "
                "by model_evaluation, and every reading is recorded; for features alone ask for `features`."
            )
        return self._rows(dataset, split_names, columns)

    def features(
        self, dataset: TrainingDatasetRef, split_names: Sequence[str], columns: Sequence[str] = ()
    ) -> "pd.DataFrame":
        """The same rows without their outcomes, of any split."""
        return self._rows(dataset, split_names, columns)[0]

    def sealed_frame(
        self, dataset: TrainingDatasetRef, columns: Sequence[str] = ()
    ) -> "tuple[pd.DataFrame, np.ndarray]":
        """The test rows with their outcomes: for `sealed_test`, which records the reading, and for nobody else."""
        return self._rows(dataset, [SEALED], columns)

    def _rows(
        self, dataset: TrainingDatasetRef, split_names: Sequence[str], columns: Sequence[str]
    ) -> "tuple[pd.DataFrame, np.ndarray]":
        import numpy as np

        from e2i_pipeline.domain.encoding import raw_features

        wanted = [*columns, *(f.name for f in dataset.features), "target"]
        where = f"data_split IN ({', '.join(map(literal, split_names))})"
        frame = self.engine.read_pandas(dataset.location, list(dict.fromkeys(wanted)), where)
        outcomes = frame.pop("target").to_numpy(dtype=np.float64, na_value=np.nan)
        features = {feature.name for feature in dataset.features}
        more = [name for name in dict.fromkeys(columns) if name not in features]
        return raw_features(frame, dataset.features).join(frame[more]), outcomes

    def leakage_key(self, dataset: TrainingDatasetRef) -> str:
        """Content key of the leakage audit: the rows, what they are taken for, and the rules."""
        return content_key(dataset.version, dataset.features, self.source_columns, self.target, _leakage_code())

    def audit_leakage(self, dataset: TrainingDatasetRef) -> "tuple[leakage.LeakageFinding, ...]":
        """What the modelling rows know that they must not; empty where nothing was found.

        The same rows are audited once by the same rules; the findings are kept with the audits.
        """
        key = self.leakage_key(dataset)
        kept = Path(self.state_dir) / "audits" / "leakage" / dataset.brand / f"{key}.json"
        if kept.is_file():
            stored = json.loads(kept.read_text(encoding="utf-8"))
            return tuple(leakage.LeakageFinding.model_validate(finding) for finding in stored)
        frame = self.engine.read_pandas(dataset.location)
        findings = leakage.audit(frame, dataset.features, self.source_columns, [self.target])
        write_json(kept, [finding.model_dump(mode="json") for finding in findings])
        return findings

    def require_no_leakage(self, dataset: TrainingDatasetRef) -> None:
        """Refuses a dataset that leaks, whatever an earlier run decided.

        Raises:
            LeakageFound: With all findings.
        """
        findings = [f for f in self.audit_leakage(dataset) if f.severity == "critical"]
        if findings:
            listed = "\n  ".join(f.sentence for f in findings)
            raise LeakageFound(f"The training dataset of {dataset.brand} leaks; nothing was trained.\n  {listed}")

    @property
    def _is_regression(self) -> bool:
        return self.problem_type == "regression"

    @property
    def _horizon_days(self) -> int:
        return CohortDefinition.model_validate(self.cohort).outcome_window_days

    def _journeys(self, brand: str, dataset: DatasetRef) -> "pd.DataFrame":
        journeys = dataset.tables["patient_journeys"]
        moment = timestamp(dataset.as_of)
        view = cohorts.as_of_view_sql(parquet(journeys.location), moment, journeys.has(SUPERSEDED_AT))
        hcp = ", j.hcp_id" if journeys.has("hcp_id") else ""
        query = f"""
            SELECT j.patient_journey_id, j.patient_id{hcp}, j.brand, j.journey_start_date AS index_date,
                   CAST(j.journey_start_date AS TIMESTAMP) + to_days({self.prediction_lag_days}) AS event_timestamp,
                   CASE WHEN a.is_mature THEN j.{quoted(self.target)} END AS target, a.data_split
            FROM ({view}) j JOIN {parquet(dataset.assignments.location)} a USING (patient_journey_id)
            WHERE j.brand = {literal(brand)}{self._still_at_risk(journeys)} ORDER BY patient_journey_id
        """
        with self.engine.connect() as connection:
            rows = connection.execute(query).df()
        if self._is_regression and not _is_numeric(rows["target"]):
            raise ConfigurationError(
                f"{self.target} is to be predicted as a number (problem_type: regression), and the column of "
                "patient_journeys holds something else. Name a numeric column as target."
            )
        return rows

    def _counts(self, rows: "pd.DataFrame") -> dict[str, tuple[int, int]]:
        """Journeys and positives per split; of a regression, journeys and measured outcomes."""
        is_counted = rows["target"].notna() if self._is_regression else rows["target"] == 1
        grouped = is_counted.groupby(rows["data_split"])
        return {str(split): (len(counted), int(counted.sum())) for split, counted in grouped}

    def _still_at_risk(self, journeys: TableRef) -> str:
        """With a prediction lag, a patient who was treated before the prediction time has nothing left to predict."""
        if not self.prediction_lag_days or not journeys.has("days_to_treatment"):
            return ""
        return f" AND coalesce(j.days_to_treatment >= {self.prediction_lag_days}, TRUE)"

    def _columns(self, present: Sequence[str]) -> list[str]:
        renamed = {"event_timestamp": "observation_date"}
        return [f"{quoted(name)} AS {quoted(renamed.get(name, name))}" for name in present if name != "index_date"]


def used_by_trainings(state_dir: str, training_key: str) -> list[Path]:
    """Where it is written down which rows a training has learnt from; empty where it is not."""
    return sorted(Path(state_dir).glob(f"training/*/{_USED}/{training_key}.json"))


def _leakage_code() -> str:
    return code_version("domain/leakage.py", "domain/splits.py")


def _is_numeric(outcomes: "pd.Series") -> bool:
    from pandas.api.types import is_numeric_dtype

    return is_numeric_dtype(outcomes) or bool(outcomes.isna().all())
