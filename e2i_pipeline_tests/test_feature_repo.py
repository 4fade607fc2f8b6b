"""The feature repository stands alone: Feast's own command line reads it, and it agrees with the package."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from e2i_pipeline.domain.features import ENTITIES, STORED
from e2i_pipeline_tests.feature_store import applied_store
from e2i_pipeline_tests.servers import free_port

FEATURE_REPO = Path(__file__).resolve().parents[1] / "feature_repo"

_PLAN_AND_LIST = """
import json, os
from feast import FeatureView
from feast.cli.cli import cli
import services, views
cli(["-c", os.getcwd(), "plan"], standalone_mode=False)
found = {v.name: v for v in vars(views).values() if isinstance(v, FeatureView)}
print(json.dumps({
    "views": {n: {"entity": v.entities, "fields": {f.name: str(f.dtype) for f in v.features}, "described": all(
        f.description for f in v.features) and bool(v.description and v.owner and v.tags and v.ttl)}
        for n, v in found.items()},
    "service": [p.name for p in services.conversion.feature_view_projections],
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
        "PYTHONWARNINGS": "ignore",
        "E2I_STATE_DIR": str(state),
        "E2I_FEAST_PROJECT": "e2i_features",
        "E2I_FEAST_REGISTRY": f"sqlite:///{state}/feast/registry.db",
        "E2I_FEAST_ONLINE_STORE": str(state / "feast" / "online.db"),
    }


def _said(program: str, state: Path) -> str:
    """What a program says that uses Feast by hand in the repository's folder, in a process of its own."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", program],
        cwd=FEATURE_REPO,
        env=_environment(state),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """`feast plan`, in a process of its own, where nothing was resolved yet."""
    state = tmp_path_factory.mktemp("state")
    (state / "feast").mkdir()
    said = _said(_PLAN_AND_LIST, state)
    *lines, listing = said.splitlines()
    return Plan(lines, json.loads(listing))


def test_feast_plans_it_by_itself(plan: Plan) -> None:
    for name in ENTITIES:
        assert f"Created feature view {name}" in plan.lines
    assert "Created feature service conversion" in plan.lines


def test_it_imports_nothing_of_the_package() -> None:
    """Its configuration names stores of the package, which Feast imports; the modules know nothing of it."""
    modules = sorted(FEATURE_REPO.glob("*.py"))
    assert modules
    trees = {path.name: ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in modules}
    imported = {
        (name, module)
        for name, nodes in trees.items()
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert ("views.py", "feast") in imported
    assert [pair for pair in imported if pair[1].startswith("e2i_pipeline")] == []


def test_its_views_are_those_of_the_package(plan: Plan) -> None:
    views = plan.defined["views"]
    assert {name: view["entity"] for name, view in views.items()} == {v: [entity] for v, entity in ENTITIES.items()}
    for view, columns in STORED.items():
        assert views[view]["fields"] == {c.name: c.dtype for c in columns}, view


def test_its_service_reads_all_views_and_everything_is_described(plan: Plan) -> None:
    assert plan.defined["service"] == list(ENTITIES)
    assert all(view["described"] for view in plan.defined["views"].values())


_PLAN_APPLY_PLAN = """
import os
from feast.cli.cli import cli
for command in ("plan", "apply", "plan"):
    print("===", command)
    cli(["-c", os.getcwd(), command], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that the product has applied, changed by nobody since."""
    state = tmp_path_factory.mktemp("applied")
    applied_store(state)
    return state


def test_by_hand_there_is_nothing_to_do_after_the_product_has_applied(applied: Path) -> None:
    said = _said(_PLAN_APPLY_PLAN, applied)
    before, apply, after = said.split("=== ")[1:]
    for plan in (before, after):
        assert "No changes to registry" in plan
        assert "No changes to infrastructure" in plan
    assert not any(word in apply for word in ("Created", "Updated", "Deleted")), apply


def test_feast_ui_shows_it(applied: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "feast.cli.cli", "-c", str(FEATURE_REPO), "ui", "--host", "127.0.0.1"]
    with (applied / "ui.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*command, "--port", str(port)], cwd=FEATURE_REPO, env=_environment(applied), stdout=log, stderr=log
        )
    try:
        page, projects, views = (
            _answer(process, f"http://127.0.0.1:{port}{path}", applied / "ui.log")
            for path in ("/", "/projects-list.json", "/api/v1/feature_views?project=e2i_features")
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert "<title>Feast Feature Store</title>" in page
    assert [project["id"] for project in json.loads(projects)["projects"]] == ["e2i_features"]
    assert all(name in views for name in ENTITIES)


def _answer(process: "subprocess.Popen[bytes]", url: str, log: Path) -> str:
    """What the server says once it is up; it imports for seconds first."""
    for _ in range(1_200):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            return httpx.get(url, timeout=60).raise_for_status().text
        except httpx.ConnectError:
            time.sleep(0.05)
    raise TimeoutError(log.read_text(encoding="utf-8"))
