"""The feature store: feature tables, the Feast registry over them, historical and online reads.

What a feature is stands in `domain/features.py` and `feature_repo/`; how Feast is reached in `feast_repository.py`,
read in `feast_reads.py`, and its online store filled in `feast_online.py`. Feast is essential: without it there is no
training.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from filelock import FileLock

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import (
    FeatureRegistryRef,
    FeatureTableRef,
    OnlineFeaturesRef,
    TableRef,
)
from e2i_pipeline.domain.feature_tables import view_query
from e2i_pipeline.domain.features import ENTITIES, ViewPlan, covariate_description, model_features, plan_view
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources import feast_online, feast_reads
from e2i_pipeline.resources.engine import EngineResource, parquet
from e2i_pipeline.resources.feast_repository import FeastRepository, feast_errors
from e2i_pipeline.resources.sqlite_glance import first_row, sqlite_file
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
    ) -> FeatureTableRef:
        """Computes the feature table of one view.

        Args:
            view: Name of the view.
            tables: Staged tables by canonical name; one that is missing counts as absent.
            covariates: Configured covariates.
            touch_window_days: Look-back window of `recent_touches`.
            bound: Whether an event with a time is seen at that time (`<=`) or only afterwards (`<`).

        Returns:
            The table; an absent one where the source can fill nothing of it.

        Raises:
            ConfigurationError: A covariate cannot be what it is declared to be.
        """
        plan = plan_view(view, tables, covariates, bound)
        present = {name: ref for name, ref in tables.items() if not ref.is_absent}
        query_of = {name: parquet(ref.location) for name, ref in present.items()}
        versions = {name: ref.version for name, ref in present.items()}
        if plan.is_empty:
            key = content_key(view, versions, plan)
            return FeatureTableRef(
                key=key, name=view, version=key, is_absent=True, entity=plan.entity, left_out=plan.left_out
            )
        # The statement without locations: the same source gives the same key in another folder.
        neutral = view_query(plan, tables, {name: name for name in present}, touch_window_days)
        folder = self._state / "features" / view
        with self.engine.connect() as connection:
            written = self.engine.write(
                connection,
                view_query(plan, tables, query_of, touch_window_days),
                folder,
                order_by=(plan.entity, "event_timestamp", "created_timestamp"),
            )
            known = connection.execute(
                f"SELECT CAST(max(created_timestamp) AS TIMESTAMP) FROM {parquet(written.location)}"
            ).fetchone()
        ref = FeatureTableRef(
            key=content_key(view, versions, plan, neutral),
            name=view,
            location=written.location,
            version=written.version,
            rows=written.rows,
            columns=written.columns,
            known_until=known[0].replace(tzinfo=UTC) if known and known[0] else None,
            entity=plan.entity,
            left_out=plan.left_out,
        )
        write_json(self._plan_path(ref), {"plan": plan.model_dump(mode="json"), "touch_window_days": touch_window_days})
        return ref

    def definitions_hash(self) -> str:
        """Hash of what a person wrote in the feature repository; Feast is not imported."""
        return self._repository().digest()

    def is_applied(self, registry: FeatureRegistryRef) -> bool:
        """Whether the definitions last applied from this state folder are those of `registry`, and it holds them.

        Feast is not imported: a registry in an SQLite file is looked into; another one is held against the definitions
        by `training_frame`.
        """
        if self._read_definitions().get("key") != registry.key:
            return False
        file = sqlite_file(self.registry)
        return file is None or _holds(file, registry)

    def has_view(self, table: FeatureTableRef) -> bool:
        """Whether a feature table and its plan are still there."""
        return table.is_absent or (Path(table.location).is_file() and self._plan_path(table).is_file())

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
        stored = {view: self._plan_of(ref) for view, ref in present.items()}
        plans = [ViewPlan.model_validate(plan["plan"]) for plan in stored.values()]
        window = max(plan["touch_window_days"] for plan in stored.values())
        repository = self._repository()
        versions = {view: ref.version for view, ref in present.items()}
        key = content_key(self.project, repository.digest(), [*plans], versions, window)
        definitions = {
            "key": key,
            "service": SERVICE,
            "touch_window_days": window,
            "views": {plan.view: _view_definition(plan, present[plan.view]) for plan in plans},
        }
        # Kept in the registry itself, so that what is applied can be told wherever the registry lies.
        definitions["tags"] = {"e2i/key": key, "e2i/definitions": content_key(definitions)}
        with self._lock("feast-registry"), feast_errors(f"apply {self.repo}", _REGISTRY_REMEDY):
            store = repository.open()
            if self._read_definitions() != definitions or not self._is_applied(store, definitions):
                write_json(self._definitions, definitions)
                repository.apply(store)
        left_out = {name: reason for ref in tables.values() for name, reason in ref.left_out.items()}
        return FeatureRegistryRef(
            key=key,
            project=self.project,
            service=SERVICE,
            features=model_features(plans),
            tables=dict(tables),
            left_out=left_out,
            definitions=str(self._definitions),
        )

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

        A value that has outlived its view's TTL at the prediction time is null, as it is offline; Feast's own online
        read would return it.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: Feast refuses, or the registry is no longer what `registry` says.
        """
        definitions = self._current(registry)
        with feast_errors("read online features", _ONLINE_REMEDY):
            store = self._repository().open()
            service = store.get_feature_service(registry.service)
            stored = feast_reads.online_frame(store, service, feast_reads.entity_rows(rows, registry))
        return feast_reads.with_features(rows, stored, registry, definitions["touch_window_days"])

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
        with feast_errors("join historical features", _REGISTRY_REMEDY), repository.exclusive():
            return feast_reads.historical_frame(repository.open(), entity_df, features, full_feature_names)

    def get_online_features(self, entity_rows: list[dict[str, Any]], features: str | list[str]) -> dict[str, list[Any]]:
        """The stored values as Feast serves them, without TTL: see `online_frame`.

        Args:
            entity_rows: One dict of join keys per row.
            features: Name of a feature service, or references `view:feature`.

        Returns:
            One list per join key and stored column.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: Feast refuses.
        """
        with feast_errors("read online features", _ONLINE_REMEDY):
            store = self._repository().open()
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
            if not self._online_store.exists():
                self._materialized.unlink(missing_ok=True)  # it speaks of a store that is gone
            return feast_online.fill(store, self.engine, registry, until, self._materialized)

    def is_materialized(self, online: OnlineFeaturesRef) -> bool:
        """Whether the online store was last filled as `online` says, and is there; Feast is not asked."""
        if not self._online_store.exists() or not self._materialized.is_file():
            return False
        last = feast_online.last_fill(self._materialized)
        return content_key(last["key"], last["until"]) == online.key

    @property
    def _state(self) -> Path:
        return Path(self.state_dir).absolute()

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

    def _plan_path(self, ref: FeatureTableRef) -> Path:
        return self._state / "features" / ref.name / "plans" / f"{ref.key}.json"

    def _plan_of(self, ref: FeatureTableRef) -> dict[str, Any]:
        try:
            return json.loads(self._plan_path(ref).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ToolRejected(
                f"The feature table {ref.name} has lost its plan {self._plan_path(ref)}. Materialize {ref.name} again."
            ) from None

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
        try:
            return dict(json.loads(self._definitions.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):  # an unreadable one is written anew, like a missing one
            return {}

    def _is_applied(self, store: "FeatureStore", definitions: Mapping[str, Any]) -> bool:
        from feast.errors import FeastObjectNotFoundException

        try:
            return dict(store.get_feature_service(SERVICE).tags) == definitions["tags"]
        except FeastObjectNotFoundException:
            return False


_REGISTRY_REMEDY = "Check FEAST_REGISTRY_PATH and the feature repository, then materialize feature_registry again."
_ONLINE_REMEDY = "Check the online store in the Feast configuration, then materialize online_features again."


def _holds(file: Path, registry: FeatureRegistryRef) -> bool:
    """Whether a registry's file has the feature service with the key of `registry` among its tags (Feast 0.67)."""
    query = "SELECT feature_service_proto FROM feature_services WHERE project_id = ? AND feature_service_name = ?"
    try:
        row = first_row(file, query, (registry.project, registry.service))
    except sqlite3.Error:
        return False  # applying again is safe, and says what is wrong
    return row is not None and registry.key.encode() in row[0]


def _view_definition(plan: ViewPlan, ref: FeatureTableRef) -> dict[str, Any]:
    covariates = [{"name": c.name, "dtype": c.dtype, "description": covariate_description(c)} for c in plan.covariates]
    return {
        "path": ref.location,
        "bound": plan.bound,
        "columns": [c.name for c in plan.columns],
        "covariates": covariates,
    }
