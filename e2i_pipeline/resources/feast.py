"""The feature store: feature tables, the Feast registry over them, historical and online reads.

What a feature is stands in `domain/features.py` and `feature_repo/`; how its table is written in `feature_tables.py`,
how Feast is reached in `feast_repository.py`, read in `feast_reads.py`, and its online store filled in
`feast_online.py`. Feast is essential: without it there is no training.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from filelock import FileLock

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.feature_contract import FeatureContract
from e2i_pipeline.contracts.references import (
    FeatureRegistryRef,
    FeatureTableRef,
    OnlineFeaturesRef,
    TableRef,
)
from e2i_pipeline.domain.features import ENTITIES, ViewPlan, model_features
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources import feast_contracts, feast_online, feast_push, feast_reads, feast_tables, feature_tables
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast_config import offline_kind, registry_address
from e2i_pipeline.resources.feast_definitions import is_in_file, read_resolved, resolved
from e2i_pipeline.resources.feast_repository import FeastRepository, feast_errors
from e2i_pipeline.resources.feast_stores.reading_time import reading_at
from e2i_pipeline.resources.sqlite_glance import sqlite_file
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

SERVICE = "conversion"
"""Feature service that training and serving read."""


class FeastResource(dg.ConfigurableResource):
    """Feast over the engine's feature tables.

    Attributes:
        repo: Folder of the Feast repository.
        config: Its configuration file.
        registry: SQLAlchemy URL of the SQL registry.
        project: Feast project.
        state_dir: The state folder: feature tables, definitions, locks, and the embedded online store.
        engine: Computes the feature tables.
    """

    repo: str
    config: str = "feature_store.yaml"
    registry: str
    project: str
    state_dir: str
    engine: EngineResource

    def write_view(
        self,
        view: str,
        tables: Mapping[str, TableRef],
        covariates: Sequence[Mapping[str, Any]],
        touch_window_days: int,
        bound: str = "<=",
    ) -> feature_tables.Made:
        """Computes the feature table of one view.

        Args:
            view: Name of the view.
            tables: Staged tables by canonical name; one that is missing counts as absent.
            covariates: Configured covariates.
            touch_window_days: Look-back window of `recent_touches`.
            bound: Whether an event with a time is seen at that time (`<=`) or only afterwards (`<`).

        Returns:
            The table, an absent one where the source can fill nothing of it, and how much had to be computed.

        Raises:
            ConfigurationError: A covariate cannot be what it is declared to be.
        """
        return feature_tables.write_view(
            self.engine, self._tables, view, tables, covariates, touch_window_days, bound=bound
        )

    def definitions_hash(self) -> str:
        """Hash of what a person wrote in the feature repository; Feast is not imported."""
        return self._repository().digest()

    def is_applied(self, registry: FeatureRegistryRef) -> bool:
        """Whether the definitions last applied from this state folder are those of `registry`, and it holds them.

        Feast is not imported: an SQLite registry is looked into; another is held against them by `training_frame`.
        """
        if self._read_definitions().get("key") != registry.key:
            return False
        if not feast_contracts.is_kept(self._definitions.parent, registry.contract):
            return False
        file = sqlite_file(registry_address(self._repository().settings()))
        return file is None or is_in_file(file, registry)

    def has_view(self, table: FeatureTableRef) -> bool:
        """Whether a feature table and its plan are still there."""
        return table.is_absent or (
            Path(table.location).is_file() and feature_tables.plan_path(self._tables, table).is_file()
        )

    def apply(self, tables: Mapping[str, FeatureTableRef]) -> FeatureRegistryRef:
        """Applies the Feast repository over the present feature tables; does nothing where that is the state already.

        Args:
            tables: Feature tables by view, absent ones included.

        Raises:
            ToolUnavailable: The registry does not answer.
            ToolRejected: Feast refuses the definitions, or there is nothing to apply.
        """
        present = {view: tables[view] for view in ENTITIES if view in tables and not tables[view].is_absent}
        if not present:
            raise ToolRejected("No feature view can be filled from this source, so there is nothing to apply to Feast.")
        stored = {view: feature_tables.plan_of(self._tables, ref) for view, ref in present.items()}
        plans = [ViewPlan.model_validate(plan["plan"]) for plan in stored.values()]
        window = max(plan["touch_window_days"] for plan in stored.values())
        repository = self._repository()
        versions = {view: ref.version for view, ref in present.items()}
        key = content_key(self.project, repository.digest(), [*plans], versions, window)
        kind = offline_kind(repository.settings())
        folder = self._definitions.parent
        definitions = resolved(key, SERVICE, plans, present, window, kind)
        with self._lock("feast-registry"), feast_errors(f"apply {self.repo}", _REGISTRY_REMEDY):
            store = repository.open()
            if self._read_definitions() != definitions or not self._is_applied(store, definitions):
                feast_tables.publish(repository, self.engine, present.values())
                feast_contracts.forget_lost_pins(store, folder)
                write_json(self._definitions, definitions)
                repository.apply(store)
            contract = feast_contracts.build(store, SERVICE, key, plans, present, window, self._state)
            feast_contracts.keep(folder, contract)
            feast_contracts.pin(store, contract, folder)
            feast_tables.drop_unused(repository, store, folder)
        left_out = {name: reason for ref in tables.values() for name, reason in ref.left_out.items()}
        return FeatureRegistryRef(
            key=key,
            project=self.project,
            service=SERVICE,
            features=model_features(plans),
            tables=dict(tables),
            left_out=left_out,
            definitions=str(self._definitions),
            contract=contract.key,
        )

    def contract(self, key: str) -> FeatureContract:
        """The feature definitions that were applied under a key, whatever the views are now; Feast is not imported.

        Raises:
            ToolRejected: This state folder does not hold it, or it was changed.
        """
        return feast_contracts.read(self._definitions.parent, key)

    def pinned_service(self, contract: FeatureContract) -> str:
        """Name of the Feast service that serves the definitions of a contract, by the versions of its views.

        Raises:
            ToolUnavailable: The registry does not answer.
            ToolRejected: Feast's history does not hold them any more.
        """
        with feast_errors("look up the versions of views", _REGISTRY_REMEDY):
            return feast_contracts.pinned_service(self._repository().open(), contract)

    def training_frame(self, registry: FeatureRegistryRef, rows: "pd.DataFrame") -> "pd.DataFrame":
        """What a model may know of each row at its prediction time, in event time and in known-at time.

        Args:
            registry: What was applied.
            rows: `patient_id`, `event_timestamp` (the prediction time, UTC), `hcp_id` where HCP features exist, and
                whatever else is to be carried along.

        Returns:
            The rows as given, in order, then one column per feature (numeric and boolean as float64 with NaN,
            categorical as str or None), then `first_call_date` and `last_call_date` (UTC, naive) where they exist.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: Feast refuses, or the registry is no longer what `registry` says.
        """
        definitions = self._current(registry)
        stored = self.get_historical_features(feast_reads.entity_rows(rows, registry), registry.service)
        return feast_reads.with_features(rows, stored, registry, definitions["touch_window_days"])

    def online_frame(self, registry: FeatureRegistryRef, rows: "pd.DataFrame") -> "pd.DataFrame":
        """The same as `training_frame`, from the online store: what was known when it was last filled.

        A value that has outlived its view's TTL at the prediction time is null, as it is offline.
        """
        return self.online_rows(registry, rows).frame

    def online_rows(self, registry: FeatureRegistryRef, rows: "pd.DataFrame") -> feast_reads.OnlineRows:
        """As `online_frame`, and says which rows were pushed live since.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: Feast refuses, or the registry is no longer what `registry` says.
        """
        definitions = self._current(registry)
        with feast_errors("read online features", _ONLINE_REMEDY):
            store = self._repository().open()
            service = store.get_feature_service(registry.service)
            stored, ahead = feast_reads.online_rows(store, service, feast_reads.entity_rows(rows, registry))
        frame = feast_reads.with_features(rows, stored, registry, definitions["touch_window_days"])
        return feast_reads.OnlineRows(frame, ahead)

    def get_historical_features(
        self, entity_df: "pd.DataFrame", features: str | list[str], full_feature_names: bool = False
    ) -> "pd.DataFrame":
        """Feast's point-in-time join, cut by event time and by known-at time.

        Args:
            entity_df: Join keys and `event_timestamp` (aware, or naive in UTC), at least one row. Further columns are
                carried along; one that is named like a feature is refused.
            features: Name of a feature service, or references `view:feature`.
            full_feature_names: Whether names begin with their view's.

        Returns:
            The entity rows as given, in order and none lost, then the stored columns.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: Feast refuses, or returns other rows than were asked for.
        """
        repository = self._repository()
        with feast_errors("join historical features", _REGISTRY_REMEDY):
            store = repository.open(reads_versions=True)
            return feast_reads.historical_frame(store, entity_df, features, full_feature_names)

    def get_online_features(
        self, entity_rows: list[dict[str, Any]], features: str | list[str], at: datetime | None = None
    ) -> dict[str, list[Any]]:
        """The stored values as Feast serves them; what has outlived its view's TTL is null.

        Args:
            entity_rows: One dict of join keys per row.
            features: Name of a feature service, or references `view:feature`.
            at: As of when the TTL applies; by default the clock.

        Returns:
            One list per join key and stored column.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: Feast refuses.
        """
        with feast_errors("read online features", _ONLINE_REMEDY):
            store = self._repository().open()
            with reading_at(at or datetime.now(UTC)):
                return store.get_online_features(
                    features=feast_reads.wanted(store, features), entity_rows=entity_rows
                ).to_dict()

    def materialize(self, registry: FeatureRegistryRef, until: datetime) -> OnlineFeaturesRef:
        """Fills the online store with each entity's latest values known at `until`.

        Writes only what became known since the last time, where the registry is still the same.

        Args:
            registry: What was applied.
            until: Up to when, in event time and in known-at time (aware, or naive in UTC).

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: Feast refuses, or the registry is no longer what `registry` says.
        """
        self._current(registry)
        with self._lock("feast-online"), feast_errors("fill the online store", _ONLINE_REMEDY):
            store = self._repository().open()
            if self._materialized.is_file() and not self._is_online(store):
                self._materialized.unlink()  # it speaks of a store that is gone
            return feast_online.fill(store, self.engine, registry, until, self._materialized)

    def push_touches(
        self, registry: FeatureRegistryRef, touches: "pd.DataFrame", tables: Mapping[str, TableRef]
    ) -> feast_push.Pushed:
        """Makes touches visible online at once, as the next batch will compute them.

        Args:
            registry: What was applied.
            touches: `feast_push.COLUMNS`, in the order in which they became known. They may be pushed again.
            tables: Staged tables: their journeys say whom a touch of an HCP reaches.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: A touch is incomplete, or the registry or the online store does not take it.
        """
        window_days = self._current(registry)["touch_window_days"]
        by_patient, unreached = feast_push.reached(self.engine, touches, tables)
        with self._lock("feast-online"), feast_errors("push touches", _ONLINE_REMEDY):
            return feast_push.push(self._repository().open(), by_patient, unreached, window_days)

    def is_materialized(self, online: OnlineFeaturesRef) -> bool:
        """Whether the online store was last filled as `online` says, and is there.

        Feast is not asked for the embedded store, a file; another one is looked into for a few entities.
        """
        if not self._materialized.is_file():
            return False
        last = feast_online.last_fill(self._materialized)
        if "key" not in last or not feast_online.is_filled(last, last["key"], online.until):
            return False
        if content_key(last["key"], last["until"]) != online.key:
            return False
        if self._is_embedded():
            return self._online_store.exists()
        with feast_errors("look into the online store", _ONLINE_REMEDY):
            return feast_online.holds(self._repository().open(), self.engine, last)

    def _is_embedded(self) -> bool:
        """Whether the online store is the SQLite file in the state folder."""
        return feast_online.is_sqlite(Path(self.repo) / self.config)

    def _is_online(self, store: "FeatureStore") -> bool:
        """Whether the online store holds what the record says."""
        if self._is_embedded() and not self._online_store.exists():
            return False
        return feast_online.holds(store, self.engine, feast_online.last_fill(self._materialized))

    @property
    def _state(self) -> Path:
        return Path(self.state_dir).absolute()

    @property
    def _tables(self) -> Path:
        return self._state / "features"

    @property
    def _online_store(self) -> Path:
        return self._state / "feast" / "online.db"

    @property
    def _materialized(self) -> Path:
        return self._state / "feast" / "materialized.json"

    @property
    def _definitions(self) -> Path:
        return self._state / "feast" / "definitions.json"

    def _repository(self) -> FeastRepository:
        (self._state / "feast").mkdir(parents=True, exist_ok=True)
        environment = {
            "E2I_STATE_DIR": str(self._state),
            "E2I_FEATURE_DEFINITIONS": str(self._definitions),
            "E2I_FEAST_PROJECT": self.project,
            "E2I_FEAST_REGISTRY": self.registry,
            "E2I_FEAST_ONLINE_STORE": str(self._online_store),
        }
        return FeastRepository(self.repo, self.config, environment)

    def _lock(self, name: str) -> FileLock:
        folder = self._state / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")

    def _current(self, registry: FeatureRegistryRef) -> dict[str, Any]:
        """The resolved definitions, if they are still those of `registry`."""
        definitions = self._read_definitions()
        with feast_errors("open the registry", _REGISTRY_REMEDY):
            is_current = definitions.get("key") == registry.key and self._is_applied(
                self._repository().open(), definitions
            )
        if not is_current:
            raise ToolRejected(
                f"The Feast registry of project {self.project} no longer holds what feature_registry recorded. "
                "Materialize feature_registry again, and then this."
            )
        return definitions

    def _read_definitions(self) -> dict[str, Any]:
        return read_resolved(self._definitions)

    def _is_applied(self, store: "FeatureStore", definitions: Mapping[str, Any]) -> bool:
        from feast.errors import FeastObjectNotFoundException

        try:
            return dict(store.get_feature_service(SERVICE).tags) == definitions["tags"]
        except FeastObjectNotFoundException:
            return False


_REGISTRY_REMEDY = "Check FEAST_REGISTRY_PATH and the feature repository, then materialize feature_registry again."
_ONLINE_REMEDY = "Check the online store in the Feast configuration, then materialize online_features again."
