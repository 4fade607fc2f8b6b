"""A feature store over a small random history, on its real local backends, for the tests of its parts."""

import random
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureTableRef, TableRef
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline_tests.feature_oracle import BEGIN, COVARIATES, History, random_history
from e2i_pipeline_tests.staged import stage

WINDOW_DAYS = 7
FEATURE_REPO = Path(__file__).resolve().parents[1] / "feature_repo"
UNTIL = BEGIN + timedelta(days=60)


class Store(NamedTuple):
    """A feature store over a random history."""

    feast: FeastResource
    history: History
    staged: dict[str, TableRef]
    tables: dict[str, FeatureTableRef]
    registry: FeatureRegistryRef


def feast_in(state: Path, **changes: Any) -> FeastResource:
    """Feast as the local profile has it, in a state folder."""
    fields: dict[str, Any] = {
        "repo": str(FEATURE_REPO),
        "registry": f"sqlite:///{state}/feast/registry.db",
        "project": "e2i_features",
        "state_dir": str(state),
        "engine": EngineResource(temp_dir=str(state / "tmp")),
        **changes,
    }
    return FeastResource(**fields)


def write_views(
    feast: FeastResource, staged: Mapping[str, TableRef], window_days: int = WINDOW_DAYS
) -> dict[str, FeatureTableRef]:
    """The feature tables of all views."""
    return {view: feast.write_view(view, staged, COVARIATES, window_days).table for view in ENTITIES}


def applied_store(state: Path, seed: int = 5, **changes: Any) -> Store:
    """Six patients and two HCPs, applied."""
    history = random_history(seed=seed)
    staged = stage(state, history._asdict())
    feast = feast_in(state, **changes)
    tables = write_views(feast, staged)
    return Store(feast, history, staged, tables, feast.apply(tables))


def entity_rows(number: int, seed: int = 0) -> pd.DataFrame:
    """Entity rows at random times, some of them the very moments of events, some of unknown entities."""
    chance = random.Random(seed)  # noqa: S311 - test data
    times = [BEGIN + timedelta(days=chance.randrange(45), hours=chance.choice((0, 9, 20))) for _ in range(number)]
    return pd.DataFrame(
        {
            "label": range(number),
            "patient_id": [chance.choice(("p0", "p1", "p2", "p3", "elsewhere", "stranger")) for _ in times],
            "hcp_id": [chance.choice(("h0", "h1", "h2", "nobody", None)) for _ in times],
            "event_timestamp": times,
        }
    )
