"""Runs of one brand at the same time, on a folder that is new: twice the same training, and one with another seed.

The same training is found by whoever comes second; of two trainings the champion is the one that the rule wants.
"""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline_tests.end_state import scratch
from e2i_pipeline_tests.processes import Product

pytestmark = pytest.mark.slow

BRAND, NAME = "Kisqali", "e2i-Kisqali-conversion"
MARGIN = 0.002
SEEDS = ("1", "1", "2")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The state folder after the three runs."""
    made = Product(
        tmp_path_factory.mktemp("at-once") / "state",
        E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND="1500",
        E2I__OPTUNA__SEARCH__N_TRIALS="4",
        E2I__BRANDS=f"[{BRAND}]",
    )
    assert made.dagster_home.is_dir()
    with ThreadPoolExecutor(len(SEEDS)) as shells:
        started = [shells.submit(made.module, "e2i_pipeline.cli", "run", E2I__SEED=seed) for seed in SEEDS]
    said = [one.result() for one in started]
    assert [done.status for done in said] == [0, 0, 0], "\n".join(done.text[-3000:] for done in said)
    return made


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        return sorted(connection.execute(query).fetchall())


def test_there_is_one_run_and_one_version_per_training(product: Product) -> None:
    tracking = product.state / "mlflow" / "mlflow.db"
    keys = rows(tracking, "SELECT value, count(*) FROM tags WHERE key = 'e2i.training_key' GROUP BY 1")
    assert [count for _, count in keys] == [1, 1]
    assert rows(tracking, "SELECT name, version FROM model_versions") == [(NAME, 1), (NAME, 2)]
    trials = "SELECT p.value, count(*) FROM tags t JOIN tags p USING (run_uuid) WHERE t.key = 'e2i.trial' AND p.key = "
    assert [count for _, count in rows(tracking, f"{trials}'mlflow.parentRunId' GROUP BY 1")] == [4, 4]
    assert rows(tracking, "SELECT DISTINCT status FROM runs WHERE status = 'RUNNING'") == []


def test_one_version_serves_and_it_is_the_better_one(product: Product) -> None:
    metadata, tracking = product.state / "metadata.db", product.state / "mlflow" / "mlflow.db"
    [(alias, holder)] = rows(tracking, "SELECT alias, version FROM registered_model_aliases")
    registered = rows(metadata, "SELECT version, stage, is_champion, auc FROM ml_model_registry")
    auc = {version: auc for version, *_, auc in registered}
    champions = [version for version, _, is_champion, _ in registered if is_champion]
    assert (alias, champions) == ("production", [str(holder)])
    [other] = set(auc) - set(champions)
    assert auc[other] < auc[str(holder)] + MARGIN, "who came later and is better by the margin has replaced the first"
    stages = dict(rows(tracking, "SELECT version, value FROM model_version_tags WHERE key = 'e2i.stage'"))
    assert {str(version): stage for version, stage in stages.items()} == {v: stage for v, stage, *_ in registered}


def test_the_ledger_is_whole_and_tells_each_decision_once(product: Product) -> None:
    done = product.e2i("ledger", "verify")
    assert done.status == 0, done.text
    moves = "SELECT kind, json_extract(payload, '$.version'), count(*) FROM ml_ledger"
    decided = rows(product.state / "metadata.db", f"{moves} WHERE kind <> 'verdict' GROUP BY 1, 2")
    assert {(kind, count) for kind, _, count in decided} == {("promotion", 1)}
    verdicts = "SELECT json_extract(payload, '$.gate'), count(*) FROM ml_ledger WHERE kind = 'verdict' GROUP BY about"
    assert {count for _, count in rows(product.state / "metadata.db", verdicts)} == {1}


def test_nothing_is_half_written(product: Product) -> None:
    assert scratch(product.state) == []
