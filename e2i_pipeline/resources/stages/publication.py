"""Publishes the dataset: all tables together, by renaming one manifest.

Readers see the manifest of the last good dataset until the next one is complete. What may be published is decided by
the gate before; how journeys are split is decided in `domain/splits.py`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.cohort import CohortDefinition
from e2i_pipeline.contracts.quality import Override
from e2i_pipeline.contracts.references import DatasetRef, SplitCuts, TableRef
from e2i_pipeline.contracts.tables import SUPERSEDED_AT
from e2i_pipeline.domain import cohorts, splits
from e2i_pipeline.errors import CohortTooSmall, E2IError, SourceError
from e2i_pipeline.resources.engine import EngineResource, parquet, quoted, timestamp
from e2i_pipeline.storage.keeping import in_use
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    import duckdb
    from filelock import FileLock


class PublicationResource(dg.ConfigurableResource):
    """The published dataset of this state folder.

    Attributes:
        state_dir: The state folder.
        engine: Computes the assignment of journeys to splits.
        cohort: The cohort definition (`CohortDefinition`).
        split_settings: Shares, gap and version, as `SplitSettings`.
        target: Name of the outcome column.
    """

    state_dir: str
    engine: EngineResource
    cohort: dict[str, Any]
    split_settings: dict[str, Any]
    target: str

    def key(
        self, tables: Mapping[str, TableRef], as_of: datetime, code: str, overrides: Sequence[Override] = ()
    ) -> str:
        """Content key of the dataset that `publish` would make; under overrides it is never that of a clean one."""
        versions = {name: table.version for name, table in sorted(tables.items())}
        answered = [[o.subject, o.data_version, o.entry] for o in overrides]
        settings = (self.cohort, self.split_settings, self.target)
        return content_key(versions, as_of.isoformat(), *settings, code, *([answered] if answered else []))

    def publish(
        self, key: str, tables: Mapping[str, TableRef], as_of: datetime, overrides: Sequence[Override] = ()
    ) -> DatasetRef:
        """Splits the journeys and publishes all tables under one manifest.

        The cut dates of the last manifest are kept while `splits.version` stays, so that adding rows moves no journey
        from one split to another.

        Args:
            key: From `key`.
            tables: The audited tables.
            as_of: Up to when anything is known.
            overrides: By which the gate was open.

        Raises:
            SourceError: The journeys have no column of the outcome.
            CohortTooSmall: There are too few mature journeys to cut.
        """
        self._require_target(tables["patient_journeys"])
        with self._lock():
            cuts, assignments, counts = self._split(tables["patient_journeys"], as_of)
            # Which cuts were kept depends on what was published before, so they are part of what the key names.
            key = content_key(key, cuts)
            dataset = DatasetRef(
                key=key,
                tables=dict(tables),
                as_of=as_of,
                cuts=cuts,
                assignments=assignments,
                split_counts=counts,
                manifest=str(self._folder / "by-key" / f"{key}.json"),
                overrides=tuple(overrides),
            )
            write_json(Path(dataset.manifest), dataset.model_dump(mode="json"))
            self._show(dataset)
        return dataset

    def make_current(self, dataset: DatasetRef) -> None:
        """Shows a dataset that was published before: the source went back to what it was, or another came between."""
        with self._lock():
            last = self.current()
            if last is None or last.key != dataset.key:
                self._show(dataset)

    def current(self) -> DatasetRef | None:
        """The last published dataset; None before the first.

        Raises:
            E2IError: The manifest is there and cannot be read.
        """
        return last_published(self.state_dir)

    def _show(self, dataset: DatasetRef) -> None:
        last = self.current()
        if last is not None:
            in_use(Path(last.manifest))  # whoever has just read the manifest is given the time to read its tables
        write_json(self._folder / "manifest.json", dataset.model_dump(mode="json"))

    def _lock(self) -> "FileLock":
        from filelock import FileLock

        path = Path(self.state_dir) / "locks" / "publication.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    @property
    def _folder(self) -> Path:
        return Path(self.state_dir) / "published"

    def _split(self, journeys: TableRef, as_of: datetime) -> tuple[SplitCuts, TableRef, dict[str, int]]:
        import numpy as np
        import pyarrow as pa

        definition = CohortDefinition.model_validate(self.cohort)
        with self.engine.connect() as connection:
            rows = connection.sql(self._journeys_sql(journeys, as_of, definition)).to_arrow_table()
            dates = rows["journey_start_date"].to_numpy().astype("datetime64[D]")
            mature = rows["is_mature"].to_numpy(zero_copy_only=False).astype(bool)
            if not mature.any():
                raise self._no_outcome(connection, journeys, as_of)
            gap = self._gap_days(definition)
            cuts = self._cuts(dates[mature], gap)
            split = splits.assign(dates, rows["patient_id"].to_numpy(zero_copy_only=False), mature, cuts, gap)
            if self.split_settings["adopt_incoming"]:
                split = splits.adopt(rows["incoming"].to_numpy(zero_copy_only=False), mature)
            connection.register(
                "assigned",
                pa.table(
                    {
                        "patient_journey_id": rows["patient_journey_id"],
                        "patient_id": rows["patient_id"],
                        "data_split": pa.array(split),
                        "is_mature": pa.array(mature),
                    }
                ),
            )
            written = self.engine.write(
                connection, "SELECT * FROM assigned", self._folder / "assignments", ("patient_journey_id",)
            )
        names, counts = np.unique(split, return_counts=True)
        assignments = TableRef(
            key=written.version,
            name="split_assignments",
            location=written.location,
            version=written.version,
            rows=written.rows,
            columns=written.columns,
        )
        return cuts, assignments, {str(n): int(c) for n, c in zip(names, counts, strict=True)}

    def _no_outcome(
        self, connection: "duckdb.DuckDBPyConnection", journeys: TableRef, as_of: datetime
    ) -> CohortTooSmall:
        view = cohorts.as_of_view_sql(parquet(journeys.location), timestamp(as_of), journeys.has(SUPERSEDED_AT))
        counted = connection.execute(f"SELECT count(*), count({quoted(self.target)}) FROM ({view})").fetchone()
        known, told = counted or (0, 0)
        unread = [d for d in journeys.defects if d.rows and d.defect.startswith(f"{self.target}:")]
        notes = "".join(f" As it was landed: {d.defect}, in {d.rows:,} of {d.of_rows:,} rows." for d in unread)
        return CohortTooSmall(
            f"No outcome is settled on {as_of:%Y-%m-%d}, so there is nothing to learn, and nothing was published: of "
            f"{known:,} journeys known by then, {known - told:,} have no {self.target}, and the outcome windows of the "
            f"other {told:,} are still open.{notes} Deliver the outcome as 0 or 1, bring journeys of a longer period, "
            "shorten cohort.outcome_window_days, or set a later as_of."
        )

    def _require_target(self, journeys: TableRef) -> None:
        if journeys.has(self.target):
            return
        unknown = [d.defect for d in journeys.defects if "not a column of the data dictionary" in d.defect]
        found = f" Found in its place: {'; '.join(unknown)}." if unknown else ""
        raise SourceError(
            f"patient_journeys has no column {self.target}, the outcome that is to be learned; nothing was published."
            f"{found} Deliver the column under this name, or name the outcome's column in the setting `target`."
        )

    def _journeys_sql(self, journeys: TableRef, as_of: datetime, definition: CohortDefinition) -> str:
        moment = timestamp(as_of)
        mature = cohorts.mature_sql(definition.outcome_window_days, moment, self.target)
        view = cohorts.as_of_view_sql(parquet(journeys.location), moment, journeys.has(SUPERSEDED_AT))
        incoming = "data_split" if journeys.has("data_split") else "NULL"
        return (
            f"SELECT patient_journey_id, patient_id, journey_start_date, {mature} AS is_mature, "
            f"CAST({incoming} AS VARCHAR) AS incoming FROM ({view}) "
            "ORDER BY patient_journey_id"
        )

    def _gap_days(self, definition: CohortDefinition) -> int:
        is_horizon = self.split_settings["gap"] == "horizon"
        return definition.outcome_window_days if is_horizon else int(self.split_settings["gap_days"])

    def _cuts(self, mature_dates: Any, gap_days: int) -> SplitCuts:
        version = int(self.split_settings["version"])
        last = self.current()
        if last is not None and last.cuts.version == version and last.cuts.gap_days == gap_days:
            return last.cuts
        train, validation, test, holdout = (float(self.split_settings[name]) for name in splits.SPLITS)
        return splits.compute_cuts(mature_dates, (train, validation, test, holdout), gap_days, version)


def last_published(state_dir: str) -> DatasetRef | None:
    """The dataset that a state folder shows; None before the first.

    Raises:
        E2IError: The manifest is there and cannot be read.
    """
    path = Path(state_dir) / "published" / "manifest.json"
    if not path.is_file():
        return None
    try:
        return DatasetRef.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as err:
        raise E2IError(
            f"The manifest {path} is not readable. Publish again: materialize validated_dataset after removing it."
        ) from err
