"""A feature store on its real local backends, over a random history."""

from pathlib import Path
from typing import Any, NamedTuple

from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureTableRef, TableRef
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline_tests.feature_oracle import COVARIATES, History, random_history
from e2i_pipeline_tests.staged import stage

WINDOW_DAYS = 7
FEATURE_REPO = Path(__file__).resolve().parents[1] / "feature_repo"


class Store(NamedTuple):
    """A feature store over a random history."""

    feast: FeastResource
    history: History
    staged: dict[str, TableRef]
    tables: dict[str, FeatureTableRef]
    registry: FeatureRegistryRef


def applied_store(state: Path, seed: int) -> Store:
    """Six patients and two HCPs, applied to a registry of its own."""
    history = random_history(seed=seed)
    staged = stage(state, history._asdict())
    feast = feast_in(state)
    tables = write_views(feast, staged)
    return Store(feast, history, staged, tables, feast.apply(tables))


def feast_in(state: Path, **changes: Any) -> FeastResource:
    """The adapter over stores in a folder."""
    fields: dict[str, Any] = {
        "repo": str(FEATURE_REPO),
        "registry": f"sqlite:///{state}/feast/registry.db",
        "project": "e2i_features",
        "state_dir": str(state),
        "engine": EngineResource(temp_dir=str(state / "tmp")),
        **changes,
    }
    return FeastResource(**fields)


def write_views(feast: FeastResource, staged: dict[str, TableRef]) -> dict[str, FeatureTableRef]:
    """The feature table of every view."""
    return {view: feast.write_view(view, staged, COVARIATES, WINDOW_DAYS) for view in ENTITIES}
