"""A whole run of a regression as a user sets it up: own files, an outcome with a name of its own, a configuration."""

import re
from pathlib import Path
from typing import cast

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.references import ModelCardRef, PredictionsRef, RunReportRef
from e2i_pipeline.contracts.registry import PromotionRef
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.resources.engine import parquet
from e2i_pipeline.storage.references import ReferenceIOManager
from e2i_pipeline_tests.domain.page_reader import Reader
from e2i_pipeline_tests.processes import Product

COSTS = {
    "source": {"kind": "files"},
    "brands": ["Kisqali"],
    "target": "cost_180d",
    "problem_type": "regression",
    "model_type": "cost",
    "optuna": {
        "study_defaults": {"metric": "rmse", "direction": "minimize"},
        "search": {"n_trials": 4, "n_jobs": 1},
        "algorithms": ["xgboost", "ridge"],
    },
}


def write_drop(folder: Path) -> None:
    """Canonical CSV files, with what each journey cost in the half-year after it began."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name, table in generate(["Kisqali"], 7, 1200).tables.items():
        if name == "patient_journeys":
            severity, age = (np.asarray(table[c], float) for c in ("disease_severity", "age_at_diagnosis"))
            cost = 4000 + 900 * severity + 60 * age + rng.normal(0, 1500, len(age))
            table = table.append_column("cost_180d", pa.array(cost.round(2)))
        duckdb.from_arrow(table).write_csv(str(folder / f"{name}.csv"))


@pytest.mark.slow
def test_a_whole_run_learns_promotes_and_serves_a_number_and_speaks_of_nothing_else(tmp_path: Path) -> None:
    write_drop(tmp_path / "drop")
    (tmp_path / "cost.yaml").write_text(yaml.safe_dump(COSTS))
    product = Product(tmp_path / "state", E2I_CONFIG=str(tmp_path / "cost.yaml"), E2I_DATA=str(tmp_path / "drop"))
    done = product.e2i("run")
    assert done.status == 0, done.text
    assert re.search(r"Test split +RMSE [\d.]+  R2 0\.[4-9]\d\d\n", done.out), done.out
    assert "probabilities" not in done.text
    assert " ok  bento_answers_golden_request" in done.err

    store = ReferenceIOManager(root=str(load_settings(product.environment).state_dir / "references"))
    assert cast(PromotionRef, store.current("promoted_model", "Kisqali")).is_promoted
    scored = cast(PredictionsRef, store.current("batch_predictions", "Kisqali"))
    assert scored.has("value")
    assert not scored.has("probability")
    [(least, most)] = duckdb.sql(f"SELECT min(value), max(value) FROM {parquet(scored.location)}").fetchall()
    assert 4_000 < least < most < 25_000
    card = cast(ModelCardRef, store.current("model_card", "Kisqali")).location
    report = cast(RunReportRef, store.current("run_report", "Kisqali")).location
    for page in (Path(card), Path(report)):
        text = Reader(page.read_text(encoding="utf-8")).text
        assert "RMSE on the test split, in the unit of cost_180d" in text
        assert [wrong for wrong in ("AUC", "the probability", "base rate", "n/a") if wrong in text] == [], page
