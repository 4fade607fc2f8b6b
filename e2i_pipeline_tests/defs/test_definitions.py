"""What is defined, as a user's process finds it: cheap to load, complete in its descriptions, and known as text.

`definitions.snapshot.txt` shows every change to the graph in a pull request. After a change that is meant, write it
anew and look at the difference:

    E2I_SNAPSHOT=write .venv/bin/python -m pytest e2i_pipeline_tests/defs -q
"""

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.garbage import OBJECTS
from e2i_pipeline_tests.processes import Product

SNAPSHOT = Path(__file__).with_name("definitions.snapshot.txt")

EXPENSIVE = {
    *("great_expectations", "feast", "mlflow", "dagster_mlflow", "shap", "bentoml", "opik", "optuna", "xgboost"),
    *("sklearn", "pandas", "numpy", "pyarrow", "duckdb", "matplotlib", "scipy", "skops", "sqlalchemy"),
}
"""What takes from half a second to ten to import, and is no part of loading."""

NEEDLESS = {"e2i_pipeline.domain.report_data"}
"""What is needed for a report alone."""

STAGES = ("source", "features", "training", "causal", "explanation", "serving")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return Product(tmp_path_factory.mktemp("definitions") / "state")


@pytest.fixture(scope="module")
def described(product: Product) -> dict[str, Any]:
    return describe(product)


def describe(product: Product) -> dict[str, Any]:
    """What a fresh process finds."""
    done = product.module("e2i_pipeline_tests.defs.graph_description")
    assert done.status == 0, done.text
    return json.loads(done.out)


def test_loading_imports_none_of_the_tools(described: dict[str, Any]) -> None:
    assert {name.partition(".")[0] for name in described["imported"]} & EXPENSIVE == set()


def test_loading_does_nothing_that_nobody_asks_for(described: dict[str, Any]) -> None:
    assert set(described["imported"]) & NEEDLESS == set()


def test_what_is_loaded_is_looked_through_no_more_and_the_rest_seldom(described: dict[str, Any]) -> None:
    garbage = described["garbage"]

    assert garbage["is_looked_for"]
    assert garbage["threshold"] == OBJECTS
    assert garbage["left_out"] > OBJECTS  # Dagster alone is more than twice as many


def test_loading_writes_nothing(described: dict[str, Any], product: Product) -> None:
    assert [*product.state.iterdir()] == []


def test_steps_share_a_process_under_the_local_profile(described: dict[str, Any]) -> None:
    assert described["executor"] == "in_process"


def test_steps_may_have_processes_of_their_own(tmp_path: Path) -> None:
    isolated = Product(tmp_path / "state", E2I__STORES__STEP_ISOLATION="multiprocess")

    assert describe(isolated)["executor"] == "multiprocess"


def test_brands_are_partitions_as_configured(tmp_path: Path) -> None:
    found = describe(Product(tmp_path / "state", E2I__BRANDS="[Only, Another]"))["assets"]

    assert {tuple(asset["partitions"]) for asset in found} == {(), ("Only", "Another")}


def test_every_asset_says_what_it_is_and_whose(described: dict[str, Any]) -> None:
    for asset in described["assets"]:
        key = asset["key"]
        assert asset["description"].endswith("."), key
        assert asset["group"] in STAGES, key
        assert asset["tags"]["e2i/stage"] == asset["group"], key
        assert asset["owners"] == ["team:ml-foundation"], key
        assert asset["kinds"], key


def test_every_asset_tries_again_when_a_tool_does_not_answer(described: dict[str, Any]) -> None:
    assert [asset["key"] for asset in described["assets"] if not asset["is_retried"]] == []


def test_every_check_says_what_must_hold(described: dict[str, Any]) -> None:
    for asset in described["assets"]:
        for check in asset["checks"]:
            assert check["description"].endswith("."), (asset["key"], check["name"])


def test_what_a_later_stage_rests_on_is_blocked_by_a_check(described: dict[str, Any]) -> None:
    blocking = {a["key"]: {c["name"] for c in a["checks"] if c["is_blocking"]} for a in described["assets"]}

    assert {key: names for key, names in blocking.items() if names} == {
        "patient_journeys": {"patient_journeys_passes_the_gate"},
        "treatment_events": {"treatment_events_passes_the_gate"},
        "hcp_profiles": {"hcp_profiles_passes_the_gate"},
        "engagement_events": {"engagement_events_passes_the_gate"},
        "training_dataset": {"training_dataset_passes_the_gate", "training_dataset_has_no_leakage"},
        "target_trial_protocol": {"no_covariate_is_from_after_time_zero"},
        "bento": {"bento_answers_golden_request"},
        "online_features": {"online_features_match_the_offline_store"},
    }


def test_the_graph_is_the_one_that_was_reviewed(described: dict[str, Any]) -> None:
    found = "\n".join(snapshot(described)) + "\n"
    if os.environ.get("E2I_SNAPSHOT") == "write":
        SNAPSHOT.write_text(found, encoding="utf-8")
    reviewed = SNAPSHOT.read_text(encoding="utf-8")

    changes = difflib.unified_diff(reviewed.splitlines(), found.splitlines(), "reviewed", "found", lineterm="", n=4)
    difference = "\n".join(changes)
    assert not difference, f"The graph has changed. If that is meant, see this module's docstring.\n{difference}"


def snapshot(described: dict[str, Any]) -> Iterator[str]:
    """The graph as lines of text."""
    yield "What e2i_pipeline.definitions defines: assets by group with what they rest on, and their checks."
    yield "Checks marked with ! block. How to write this file anew stands in test_definitions.py."
    for group in STAGES:
        yield f"\n{group}"
        for asset in described["assets"]:
            if asset["group"] == group:
                yield from _asset(asset)
    for kind in ("jobs", "schedules", "sensors", "resources"):
        yield f"\n{kind}"
        yield from (f"  {name}" for name in described[kind] or ["none"])


def _asset(asset: dict[str, Any]) -> Iterator[str]:
    partitions = f" per {', '.join(asset['partitions'])}" if asset["partitions"] else ""
    yield f"  {asset['key']}{partitions} [{', '.join(asset['kinds'])}]"
    yield from (f"    <- {dependency}" for dependency in asset["deps"])
    yield from (f"    {'!' if check['is_blocking'] else '-'} {check['name']}" for check in asset["checks"])
