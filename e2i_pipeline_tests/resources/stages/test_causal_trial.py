"""A trial whose treatment was assigned by chance, as files of a user's own: the estimate is the difference in means."""

from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.resources.stages.causal import CausalResource
from e2i_pipeline_tests.drops import NOW, World, publish
from e2i_pipeline_tests.resources.stages.test_causal import SCOPE, rows_of

CHOSEN = {
    "E2I__CAUSAL__TREATMENT": "invited",
    "E2I__CAUSAL__TREATMENT_KIND": "binary",
    "E2I__CAUSAL__IS_RANDOMIZED": "true",
    "E2I__CAUSAL__ESTIMATORS": "[linear_dml, dr_learner]",
    "E2I__CAUSAL__REFUTATION__DRAWS": "4",
    "E2I__FEATURES__COVARIATES": (
        "[{name: invited, table: patient_journeys, column: invited, dtype: boolean},"
        " {name: disease_severity, table: patient_journeys, column: disease_severity, dtype: numeric}]"
    ),
}
INVITED = {"name": "invited", "table": "patient_journeys", "column": "invited", "dtype": "boolean"}


@pytest.mark.slow
def test_the_estimate_is_the_difference_in_means(tmp_path: Path) -> None:
    world = World(tmp_path / "drop", tmp_path / "state")
    world.drop.mkdir()
    for name, table in generate(["Kisqali"], 7, 3_000, process="null_effect").tables.items():
        rows = table.to_pandas()
        if name == "patient_journeys":
            chance = np.random.default_rng(3)
            rows["invited"] = chance.integers(0, 2, len(rows))
            starts = rows["treatment_initiated"].eq(1) | (rows["invited"].eq(1) & (chance.random(len(rows)) < 0.2))
            rows["treatment_initiated"] = starts.astype("Int64").where(rows["treatment_initiated"].notna())
            rows["days_to_treatment"] = rows["days_to_treatment"].where(rows["treatment_initiated"].eq(1)).fillna(5)
            rows["days_to_treatment"] = rows["days_to_treatment"].where(rows["treatment_initiated"].eq(1))
        duckdb.from_arrow(type(table).from_pandas(rows, preserve_index=False)).write_csv(
            str(world.drop / f"{name}.csv")
        )
    published = publish(world, **CHOSEN)
    resources = world.resources(**CHOSEN)
    dataset = rows_of(resources, published, [INVITED])
    causal: CausalResource = resources["causal"]
    protocol = causal.protocol(dataset, SCOPE)
    overlap, _, _ = causal.overlap("o", protocol, dataset)
    model = causal.fit("m", protocol, dataset, overlap)
    evaluation, found, _ = causal.evaluate("e", protocol, model)
    parts = (protocol, dataset, published, overlap, model, evaluation)
    refutation = causal.refute("r", *parts, "a run", NOW + timedelta(days=1))

    table = duckdb.sql(f"SELECT * FROM '{Path(model.location) / 'evaluation.parquet'}'").df()
    arms = table.groupby("treatment")["outcome"].mean()
    assert evaluation.average.low < arms[1.0] - arms[0.0] < evaluation.average.high
    assert evaluation.average.low < 0.14 < evaluation.average.high  # 0.2 of the seven in ten who do not start anyway
    assert protocol.is_randomized
    assert refutation.is_passed, refutation.reasons
    assert found.policies[0].low > 0
