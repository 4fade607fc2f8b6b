"""The feature repository stands alone: Feast's own command line reads it, and it agrees with the package."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from e2i_pipeline.domain.features import ENTITIES, STORED

FEATURE_REPO = Path(__file__).resolve().parents[1] / "feature_repo"

_PLAN_AND_LIST = """
import json, os, sys
from feast import FeatureView
from feast.cli.cli import cli
cli(["-c", os.getcwd(), "plan"], standalone_mode=False)
import services, views
found = {v.name: v for v in vars(views).values() if isinstance(v, FeatureView)}
print(json.dumps({
    "views": {n: {"entity": v.entities, "fields": {f.name: str(f.dtype) for f in v.features}, "described": all(
        f.description for f in v.features) and bool(v.description and v.owner and v.tags and v.ttl)}
        for n, v in found.items()},
    "service": [p.name for p in services.conversion.feature_view_projections],
    "ours": [m for m in sys.modules if m.startswith("e2i_pipeline")],
}))
"""


class Plan(NamedTuple):
    """What Feast by itself makes of the repository: the plan's lines, and what the modules define."""

    lines: list[str]
    defined: dict[str, Any]


def _environment(state: Path) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("E2I_")},
        "PYTHONDONTWRITEBYTECODE": "1",
        "E2I_STATE_DIR": str(state),
        "E2I_FEAST_PROJECT": "e2i_features",
        "E2I_FEAST_REGISTRY": f"sqlite:///{state}/registry.db",
        "E2I_FEAST_ONLINE_STORE": str(state / "online.db"),
    }


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """`feast plan`, in a process of its own, where nothing was resolved yet."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", _PLAN_AND_LIST],
        cwd=FEATURE_REPO,
        env=_environment(tmp_path_factory.mktemp("state")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, listing = done.stdout.splitlines()
    return Plan(lines, json.loads(listing))


def test_feast_plans_it_by_itself(plan: Plan) -> None:
    for name in ENTITIES:
        assert f"Created feature view {name}" in plan.lines
    assert "Created feature service conversion" in plan.lines


def test_it_imports_nothing_of_the_package(plan: Plan) -> None:
    assert plan.defined["ours"] == []


def test_its_views_are_those_of_the_package(plan: Plan) -> None:
    views = plan.defined["views"]
    assert {name: view["entity"] for name, view in views.items()} == {v: [entity] for v, entity in ENTITIES.items()}
    for view, columns in STORED.items():
        assert views[view]["fields"] == {c.name: c.dtype for c in columns}, view


def test_its_service_reads_all_views_and_everything_is_described(plan: Plan) -> None:
    assert plan.defined["service"] == list(ENTITIES)
    assert all(view["described"] for view in plan.defined["views"].values())
