"""A closed gate, opened by a named person, as users do it: command lines in processes of their own.

The drop is corrupted, refused, overridden, published, and then delivered clean. What counts as a person or a reason,
and for which key an override holds, is tested beside the rules and the records.
"""

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline_tests.processes import PROJECT, Done, Product

JANE, WHY = "jane.doe@example.com", "The vendor confirmed the double registration; it is one person."
OVERRIDE = ("gate", "override", "--table", "patient_journeys", "--actor", JANE, "--reason", WHY)
EVERYTHING = "+validated_dataset"


class Story(NamedTuple):
    """What each process said, and the published manifest after it."""

    product: Product
    said: dict[str, Done]
    manifests: dict[str, dict[str, Any]]


def deliver(drop: Path, journeys: pa.Table, is_corrupt: bool) -> None:
    rows = journeys.to_pylist()
    if is_corrupt:
        rows[1]["patient_id"] = rows[0]["patient_id"]
    pq.write_table(pa.Table.from_pylist(rows, schema=journeys.schema), drop / "patient_journeys.parquet")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("override")
    world, drop = generate(["Kisqali"], seed=7, journeys_per_brand=400).tables, folder / "drop"
    drop.mkdir()
    for name, table in world.items():
        pq.write_table(table, drop / f"{name}.parquet")
    product = Product(
        folder / "state",
        E2I_CONFIG=str(PROJECT / "examples" / "files.yaml"),
        E2I_DATA=str(drop),
        E2I__BRANDS="[Kisqali]",
    )
    story, published = Story(product, {}, {}), product.state / "published" / "manifest.json"

    def tell(name: str, done: Done) -> None:
        story.said[name] = done
        story.manifests[name] = json.loads(published.read_bytes()) if published.is_file() else {}

    deliver(drop, world["patient_journeys"], is_corrupt=True)
    tell("before any audit", product.e2i(*OVERRIDE))
    tell("corrupted", product.materialize(EVERYTHING))
    tell("next process", product.materialize("validated_dataset"))
    tell("overridden", product.e2i(*OVERRIDE))
    tell("after the override", product.materialize(EVERYTHING))
    deliver(drop, world["patient_journeys"], is_corrupt=False)
    tell("clean", product.materialize(EVERYTHING))
    tell("verified", product.e2i("ledger", "verify"))
    return story


def events(story: Story, asset: str, kind: str) -> list[dict[str, Any]]:
    """Dagster's events of one kind on an asset, oldest first."""
    command = f"""
import json, sys, dagster as dg
with dg.DagsterInstance.get() as instance:
    kind = dg.DagsterEventType[{kind!r}]
    for run in reversed(instance.get_runs()):
        for record in instance.get_records_for_run(run.run_id, of_type=kind).records:
            event = record.event_log_entry.dagster_event
            found = event.event_specific_data
            found = found if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION else found.materialization
            name = getattr(found, "check_name", "")
            if found.asset_key.to_user_string() == {asset!r}:
                values = {{k: str(v.value) for k, v in found.metadata.items()}}
                print(json.dumps([name, getattr(found, "passed", None), found.description, values]))
"""
    environment = {**story.product.environment, "DAGSTER_HOME": str(story.product.dagster_home)}
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    keys = ("name", "passed", "description", "metadata")
    return [dict(zip(keys, json.loads(line), strict=True)) for line in done.stdout.splitlines()]


def entries(story: Story) -> list[dict[str, Any]]:
    with sqlite3.connect(story.product.state / "metadata.db") as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM ml_ledger ORDER BY sequence")]


def test_what_was_never_audited_cannot_be_overridden(story: Story) -> None:
    said = story.said["before any audit"]

    assert said.status == 1
    assert said.err.startswith("ReferenceNotFound: patient_journeys has not been materialized in this state folder.")


@pytest.mark.parametrize("process", ["corrupted", "next process"])
def test_the_refusal_ends_with_the_way_to_override(story: Story, process: str) -> None:
    said = story.said[process]

    assert said.status == 1
    assert re.search(r"suite e2i_patient_journeys: 1 of \d+ expectations failed", said.text)
    assert re.search(r"2 of [\d,]+ tested rows do not pass, a pass rate of 0\.99\d\d, and at least 0\.95 is", said.text)
    assert "patient_id_is_unique_as_of (critical) failed: 2 of 400 rows" in said.text
    assert re.search(r"Data docs: \S+", said.text)
    assert "e2i gate override --table patient_journeys --actor <your e-mail address> --reason" in said.text
    assert "gate_override" in said.text


def test_an_override_lets_the_table_pass_and_says_so(story: Story) -> None:
    assert story.said["overridden"].status == 0, story.said["overridden"].text
    assert f"passed the gate by an override of {JANE}" in story.said["overridden"].out
    assert "2 of 400 rows" in story.said["overridden"].out

    assert story.manifests["corrupted"] == story.manifests["next process"] == story.manifests["overridden"] == {}
    assert story.said["after the override"].status == 0, story.said["after the override"].text
    [override] = story.manifests["after the override"]["overrides"]
    assert (override["subject"], override["actor"], override["reason"]) == ("patient_journeys", JANE, WHY)
    assert override["data_version"] == story.manifests["after the override"]["tables"]["patient_journeys"]["version"]


def test_it_shows_on_the_check_and_on_the_dataset_until_the_next_clean_audit(story: Story) -> None:
    closed, overridden, clean = (
        check
        for check in events(story, "patient_journeys", "ASSET_CHECK_EVALUATION")
        if check["name"] == "patient_journeys_passes_the_gate"
    )
    assert [check["passed"] for check in (closed, overridden, clean)] == [False, True, True]
    [entry] = [e for e in entries(story) if e["kind"] == "override"]
    assert f"override of {JANE} on " in overridden["description"]
    assert f"ledger entry {entry['sequence']}: {WHY}" in overridden["description"]
    assert "2 of 400 rows" in overridden["description"]
    assert JANE in overridden["metadata"]["overrides"]
    assert "e2i gate override" in closed["description"]
    assert "overrides" not in closed["metadata"]
    assert "overrides" not in clean["metadata"]
    assert clean["description"] == "All that blocks has passed."

    published = events(story, "validated_dataset", "ASSET_MATERIALIZATION")
    assert [JANE in made["metadata"].get("overrides", "") for made in published] == [True, False]
    assert story.manifests["clean"]["overrides"] == []
    assert story.manifests["clean"]["key"] != story.manifests["after the override"]["key"]


def test_the_ledger_tells_who_decided_what(story: Story) -> None:
    told = [(e["kind"], e["subject"], e["actor"]) for e in entries(story)]

    assert told.count(("override", "patient_journeys", JANE)) == 1
    assert told.count(("verdict", "patient_journeys", "data_preparer")) == 2, "one per version"
    assert len(told) == 7, "four tables, journeys and the events that look into them once more, and one override"
    assert story.said["verified"].status == 0, story.said["verified"].text
    assert re.match(r"The ledger holds: 7 entries, head [0-9a-f]{12}; anchors checked: ", story.said["verified"].out)
