"""Brands side by side on one state folder: nothing lost, nothing doubled, nothing half written, nothing locked.

They are started together on a folder that is new, each in another way that users have: `e2i run` with and without
DAGSTER_HOME, and the job that schedule, sensor and backfills run.
"""

import json
import re
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline_tests.end_state import State, differences, end_state, scratch
from e2i_pipeline_tests.processes import Done, Product

BRANDS = ("Remibrutinib", "Fabhalta", "Kisqali")
SOURCES = ("patient_journeys", "treatment_events", "hcp_profiles", "engagement_events")
TIMES = 10
TROUBLE = re.compile(r"locked|Traceback|requested a retry|gave up", re.IGNORECASE)


def product_in(state: Path) -> Product:
    return Product(
        state,
        E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND="1500",
        E2I__OPTUNA__SEARCH__N_TRIALS="6",
        E2I__EVALUATION__BLOCKING="[success_criteria]",  # so few rows leave one of the brands badly calibrated
        # with a folder's own key its pseudonyms, and so its tables, would be its own
        E2I_PSEUDONYM_KEY="a key of tests, the same in each folder",
    )


def side_by_side(product: Product) -> list[Done]:
    """All brands at once."""
    home = str(product.dagster_home)
    job = ("dagster", "job", "execute", "-m", "e2i_pipeline.definitions", "-j", "brand_refresh")
    with ThreadPoolExecutor(len(BRANDS)) as shells:
        started = [
            shells.submit(product.e2i, "run", "--brand", BRANDS[0]),
            shells.submit(product.module, "e2i_pipeline.cli", "run", "--brand", BRANDS[1]),
            shells.submit(product.module, *job, "--tags", f'{{"dagster/partition": "{BRANDS[2]}"}}', DAGSTER_HOME=home),
        ]
    return [one.result() for one in started]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The state folder after all brands were refreshed at once."""
    made = product_in(tmp_path_factory.mktemp("side-by-side") / "state")
    said = side_by_side(made)
    assert [done.status for done in said] == [0, 0, 0], "\n".join(done.text[-3000:] for done in said)
    assert [line for done in said for line in done.text.splitlines() if TROUBLE.search(line)] == []
    return made


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        return sorted(connection.execute(query).fetchall())


def test_every_run_has_ended_well_and_no_log_tells_of_trouble(product: Product) -> None:
    history = product.state / "dagster" / "history"
    assert rows(history / "runs.db", "SELECT status, count(*) FROM runs GROUP BY 1") == [("SUCCESS", 3)]
    logs = [path for path in (history / "runs").glob("*.db") if path.stem != "index"]
    assert len(logs) == 3
    told = [event for path in logs for (event,) in rows(path, "SELECT event FROM event_logs")]
    assert [event[:500] for event in told if TROUBLE.search(event)] == []
    assert list((history / "leases").glob("*.lease")) == []


def test_the_tables_that_brands_share_were_made_once(product: Product) -> None:
    for table in SOURCES:
        assert len(list((product.state / "staging" / table).glob("*/data.parquet"))) == 1, table
    for view in ("patient_features", "hcp_features", "engagement_features"):
        assert len(list((product.state / "features" / view).glob("*/data.parquet"))) == 1, view
    published = product.state / "published"
    assert len(list((published / "by-key").iterdir())) == 1
    assert len(list((published / "assignments").glob("*/data.parquet"))) == 1


def test_each_audit_was_made_once(product: Product) -> None:
    made = rows(
        product.state / "metadata.db", "SELECT table_name, split, count(*) FROM ml_data_quality_reports GROUP BY 1, 2"
    )
    splits = [("training_dataset", split, 3) for split in ("test", "train", "validation")]
    assert made == sorted([*((table, "", 1) for table in SOURCES), *splits])
    verdicts = rows(
        product.state / "metadata.db", "SELECT gate, is_passed, count(*) FROM ml_gate_verdicts GROUP BY 1, 2"
    )
    assert verdicts == [("data_quality", 1, 7), ("evaluation", 1, 3), ("infrastructure", 1, 3), ("parity", 1, 1)]


def test_each_brand_has_one_training_one_version_and_one_champion(product: Product) -> None:
    metadata, tracking = product.state / "metadata.db", product.state / "mlflow" / "mlflow.db"
    names = [(f"e2i-{brand}-conversion",) for brand in sorted(BRANDS)]
    trainings = (
        "SELECT r.status, count(*) FROM runs r JOIN tags t USING (run_uuid) WHERE t.key = 'e2i.training_key' GROUP BY 1"
    )
    assert rows(tracking, trainings) == [("FINISHED", 3)]
    assert rows(tracking, "SELECT name, version FROM model_versions") == [(*name, 1) for name in names]
    assert rows(tracking, "SELECT name, alias, version FROM registered_model_aliases") == [
        (*name, "production", 1) for name in names
    ]
    assert rows(metadata, "SELECT brand, status, count(*) FROM ml_training_runs GROUP BY 1, 2") == [
        (brand, "completed", 1) for brand in sorted(BRANDS)
    ]
    assert rows(metadata, "SELECT name, version, stage, is_champion FROM ml_model_registry") == [
        (*name, "1", "production", 1) for name in names
    ]
    assert list((product.state / "locks" / "mlflow-trainings").glob("*.lease")) == []


def test_each_trial_was_logged_once_and_each_decision_stands_once_in_the_ledger(product: Product) -> None:
    metadata, tracking = product.state / "metadata.db", product.state / "mlflow" / "mlflow.db"
    trials = """
        SELECT p.value, t.value, count(*) FROM tags t JOIN tags p ON p.run_uuid = t.run_uuid
        WHERE t.key = 'e2i.trial' AND p.key = 'mlflow.parentRunId' GROUP BY 1, 2
    """
    logged = rows(tracking, trials)
    assert len({parent for parent, _, _ in logged}) == 3
    assert {count for *_, count in logged} == {1}
    decided = "SELECT kind, subject, actor FROM ml_ledger WHERE kind IN ('promotion', 'stage_change', 'rollback')"
    assert rows(metadata, decided) == [
        ("promotion", f"registry/e2i-{brand}-conversion", "pipeline") for brand in sorted(BRANDS)
    ]


def test_each_brand_has_one_bento_and_one_deployment(product: Product) -> None:
    for store, manifest in (("bentos", "bento.yaml"), ("models", "model.yaml")):
        made = [path.parent.parent.name for path in (product.state / "bentoml" / store).glob(f"*/*/{manifest}")]
        assert sorted(made) == [f"e2i-{brand.lower()}-conversion" for brand in sorted(BRANDS)]
    deployed = rows(product.state / "metadata.db", "SELECT brand, status, count(*) FROM ml_deployments GROUP BY 1, 2")
    assert deployed == [(brand, "active", 1) for brand in sorted(BRANDS)]


def test_every_asset_of_every_brand_has_its_reference(product: Product) -> None:
    current = product.state / "references" / "current"
    whole = {path: json.loads(path.read_text(encoding="utf-8")) for path in current.rglob("*.json")}
    found = Counter(path.parent.name for path in whole)
    assert set(found.values()) == {1, len(BRANDS)}
    assert {asset for asset, count in found.items() if count == 1} == {
        *SOURCES, "validated_dataset", "patient_features", "hcp_features", "engagement_features",
        "feature_registry", "online_features",
    }  # fmt: skip
    reports = [whole[current / "run_report" / f"{brand}.json"]["reference"] for brand in BRANDS]
    assert all(Path(report["location"]).is_file() for report in reports)


def test_every_step_left_its_span(product: Product) -> None:
    spans = rows(product.state / "metadata.db", "SELECT trace_id, count(*) FROM ml_observability_spans GROUP BY 1")
    assert len(spans) == len(BRANDS)
    assert len({count for _, count in spans}) == 1, "each run traces the same steps"


def test_nothing_is_half_written(product: Product) -> None:
    assert scratch(product.state) == []


@pytest.fixture(scope="module")
def one_after_another(tmp_path_factory: pytest.TempPathFactory) -> State:
    made = product_in(tmp_path_factory.mktemp("one-after-another") / "state")
    for brand in BRANDS:
        done = made.e2i("run", "--brand", brand)
        assert done.status == 0, done.text
    return end_state(made.state)


@pytest.mark.slow
@pytest.mark.parametrize("time", range(TIMES))
def test_side_by_side_ends_as_one_after_another(tmp_path: Path, one_after_another: State, time: int) -> None:
    made = product_in(tmp_path / "state")

    said = side_by_side(made)

    assert [done.status for done in said] == [0, 0, 0], "\n".join(done.text[-3000:] for done in said)
    assert [line for done in said for line in done.text.splitlines() if TROUBLE.search(line)] == []
    assert differences(one_after_another, end_state(made.state)) == []
    assert scratch(made.state) == []
