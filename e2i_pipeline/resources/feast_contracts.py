"""Contracts: the feature definitions as they were applied, kept for the models that are trained on them.

A Feast service is no snapshot: it follows its views. So the definitions are written down as JSON, named by their
content, and never changed. Feast's own history of a view is used beside it: a pinned service names the version of each
view, and stays when a view changes. A version holds the schema, and by the join key's tags the TTL and the bound; it
does not follow the table, so that a pinned service reads the table that its versions were first applied over.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.feature_contract import ContractField, ContractOnDemand, ContractView, FeatureContract
from e2i_pipeline.contracts.references import FeatureTableRef
from e2i_pipeline.domain.features import ViewPlan, model_features
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView, OnDemandFeatureView

BOUND = "bound"
"""Tag of a view that says whether a row is seen at its own time (`<=`) or only after it (`<`)."""

EVENT_BOUND = "event_bound"
"""Tag of a view that says the same of an event with a time, in the table behind the view."""

PINS = "pins.json"
"""Which services are pinned, for the Feast repository to define."""

PINNED = "pinned_"
"""How the name of a pinned service begins."""


def build(
    store: "FeatureStore",
    service: str,
    registry_key: str,
    plans: Sequence[ViewPlan],
    tables: Mapping[str, FeatureTableRef],
    touch_window_days: int,
    state: Path,
) -> FeatureContract:
    """The contract of what is applied.

    Args:
        store: The open store, just applied.
        service: Feature service of the model.
        registry_key: Key of the applied definitions.
        plans: What each view holds.
        tables: The feature table of each view.
        touch_window_days: Look-back window of `recent_touches`.
        state: The state folder, to which places are relative.
    """
    covariates = {plan.view: tuple(c.model_dump(mode="json") for c in plan.covariates) for plan in plans}
    content: dict[str, Any] = {
        "project": store.project,
        "service": service,
        "registry_key": registry_key,
        "features": model_features(plans),
        "touch_window_days": touch_window_days,
        "views": {
            plan.view: _view(store.get_feature_view(plan.view), covariates[plan.view], tables[plan.view], state)
            for plan in plans
        },
        "on_demand": {view.name: _on_demand(view) for view in store.list_on_demand_feature_views()},
    }
    return FeatureContract(key=content_key(content), **content)


def keep(folder: Path, contract: FeatureContract) -> None:
    """Writes a contract down; one that is there is left as it is, for it has the same content.

    Args:
        folder: Folder of the feature store's files within the state folder.
        contract: What to keep.
    """
    path = _place(folder, contract.key)
    if not path.is_file():
        write_json(path, contract.model_dump(mode="json"))


def is_kept(folder: Path, key: str) -> bool:
    """Whether a contract is there; a reference of a time without contracts names none."""
    return not key or _place(folder, key).is_file()


def read(folder: Path, key: str) -> FeatureContract:
    """A contract by its key.

    Raises:
        ToolRejected: It is not there, or is not what was written.
    """
    path = _place(folder, key)
    try:
        return parse(path.read_bytes(), str(path), key)
    except FileNotFoundError:
        raise ToolRejected(
            f"The feature contract {key} is not among those of this state folder ({path}). A model that was trained on "
            "it carries it too, as feature_contract.json among its files."
        ) from None


def parse(content: bytes, place: str, key: str = "") -> FeatureContract:
    """Reads a contract and holds it against its own hash.

    Args:
        content: JSON.
        place: Where it was found, for the message.
        key: The key that it must have; empty for any.

    Raises:
        ToolRejected: It is not whole, or was changed.
    """
    try:
        contract = FeatureContract.model_validate_json(content)
    except ValidationError as err:
        raise ToolRejected(
            f"{place} is no feature contract: {err.error_count()} of its fields are wrong. Take it from the model's "
            "files again."
        ) from err
    if contract.key != content_key(contract.model_dump(mode="json", exclude={"key"})) or key not in ("", contract.key):
        raise ToolRejected(
            f"{place} was changed since it was written: its content no longer has its key. Take it from the model's "
            "files again."
        )
    return contract


def _place(folder: Path, key: str) -> Path:
    return folder / "contracts" / f"{key}.json"


def pinned_service(store: "FeatureStore", contract: FeatureContract) -> str:
    """The Feast service that serves the definitions of a contract, whatever its views are now.

    Raises:
        ToolRejected: Feast's history no longer holds the definitions of a view (it goes with a view that is deleted),
            or they were never pinned.
    """
    from feast.errors import FeastObjectNotFoundException

    versions = {view: _version_of(store, view, wanted) for view, wanted in contract.views.items()}
    lost = sorted(view for view, version in versions.items() if version is None)
    name = pin_name({view: version for view, version in versions.items() if version})
    try:
        if not lost:
            return store.get_feature_service(name).name
    except FeastObjectNotFoundException:
        lost = sorted(versions)
    raise ToolRejected(
        f"Feast's history does not hold {', '.join(lost)} as in the feature contract {contract.key}. The contract "
        "itself says all that they were."
    )


def pin_name(versions: Mapping[str, str]) -> str:
    """Name of the pinned service of some versions of views."""
    return f"{PINNED}{content_key(dict(versions))[:12]}"


def pins(folder: Path) -> dict[str, Any]:
    """The pinned services by name, each with the versions and the tables of its views."""
    try:
        return dict(json.loads((folder / PINS).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def forget_lost_pins(store: "FeatureStore", folder: Path) -> None:
    """Keeps of the pinned services those that Feast can still resolve: a deleted view takes its history with it."""
    write_json(folder / PINS, _resolvable(store, pins(folder)))


def _resolvable(store: "FeatureStore", kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name: pin for name, pin in kept.items() if pin == _pin(store, pin["views"])}


def pin(store: "FeatureStore", contract: FeatureContract, folder: Path) -> None:
    """Pins the versions that a contract was applied as, where they are not pinned yet.

    Args:
        store: The open store, just applied.
        contract: Its contract.
        folder: Folder of the feature store's files within the state folder.
    """
    from feast import FeatureService

    known = pins(folder)
    versions = {
        view: version for view, wanted in contract.views.items() if (version := _version_of(store, view, wanted))
    }
    name = pin_name(versions)
    if len(versions) < len(contract.views) or name in known:
        return
    write_json(folder / PINS, {**known, name: _pin(store, versions)})
    references: list[Any] = [f"{view}@{version}" for view, version in sorted(versions.items())]
    store.apply(
        FeatureService(
            name=name,
            features=references,
            description="The views as they were when a model was trained.",
            owner="model-trainer",
        )
    )


def _pin(store: "FeatureStore", versions: Mapping[str, str]) -> dict[str, Any] | None:
    """Versions and tables of views; None where Feast does not have one of them any more."""
    snapshots = {view: _snapshot(store, view, version) for view, version in versions.items()}
    found = {view: snapshot for view, snapshot in snapshots.items() if snapshot is not None}
    if len(found) < len(versions):
        return None
    return {"views": dict(versions), "tables": {view: source_of(snapshot) for view, snapshot in found.items()}}


def _snapshot(store: "FeatureStore", view: str, version: str) -> "FeatureView | None":
    from feast.errors import FeatureViewVersionNotFound

    with contextlib.suppress(FeatureViewVersionNotFound, NotImplementedError):
        found: Any = store.registry.get_feature_view_by_version(view, store.project, int(version.removeprefix("v")))
        return found
    return None


def source_of(view: "FeatureView") -> str:
    """Path or table that a view reads."""
    source: Any = view.batch_source
    return str(source.tags.get("table") or getattr(source, "path", None) or getattr(source, "table", source.name))


def _version_of(store: "FeatureStore", view: str, wanted: ContractView) -> str | None:
    """The latest version of a view with the definitions of a contract."""
    try:
        versions = store.list_feature_view_versions(view)
    except NotImplementedError:  # a registry without a history
        return None
    for version in reversed([v["version"] for v in versions]):
        snapshot = _snapshot(store, view, version)
        if snapshot is not None and _definition(snapshot) == (
            wanted.entity,
            wanted.ttl_seconds,
            (wanted.bound, wanted.event_bound),
            wanted.fields,
        ):
            return version
    return None


def _definition(view: "FeatureView") -> tuple[str, int, tuple[str, str], tuple[ContractField, ...]]:
    fields = tuple(
        ContractField(name=f.name, dtype=str(f.dtype), tags=dict(f.tags))
        for f in sorted(view.features, key=lambda f: f.name)
    )
    bounds = view.tags.get(BOUND, "<="), view.tags.get(EVENT_BOUND, "<=")
    return view.join_keys[0], _ttl_seconds(view), bounds, fields


def _ttl_seconds(view: "FeatureView") -> int:
    return int(view.ttl.total_seconds()) if view.ttl else 0


def _view(
    view: "FeatureView", covariates: tuple[dict[str, Any], ...], table: FeatureTableRef, state: Path
) -> ContractView:
    entity, ttl_seconds, (bound, event_bound), fields = _definition(view)
    place = Path(table.location)
    return ContractView(
        entity=entity,
        ttl_seconds=ttl_seconds,
        bound=bound,
        event_bound=event_bound,
        fields=fields,
        covariates=covariates,
        table=place.relative_to(state).as_posix() if place.is_relative_to(state) else place.name,
        table_key=table.key,
        table_version=table.version,
    )


def _on_demand(view: "OnDemandFeatureView") -> ContractOnDemand:
    sources = {name: projection.features for name, projection in view.source_feature_view_projections.items()}
    requests = {name: source.schema for name, source in view.source_request_sources.items()}
    return ContractOnDemand(
        features={f.name: str(f.dtype) for f in view.features},
        sources={name: tuple(f.name for f in columns) for name, columns in sorted({**sources, **requests}.items())},
        text=view.feature_transformation.udf_string if view.feature_transformation else "",
    )
