"""The matrix over modelling rows: what is wrong with a training dataset, and what refuses it before it is learned from.

The rows are those that Feast joins for a good drop, changed afterwards, as a defect of a join or of a split would. The
source tables stand in `test_gate_matrix.py`.
"""

import re
from datetime import timedelta
from typing import Any, NamedTuple

import duckdb
import pytest

from e2i_pipeline.contracts.references import FeatureSpec, TrainingDatasetRef
from e2i_pipeline.errors import GateBlocked
from e2i_pipeline.resources.engine import file_sha256, parquet
from e2i_pipeline_tests.drops import NOW, World, contents, good_world, publish

SPLITS = ("train", "validation", "test")
FIRST = "row_number() OVER (PARTITION BY data_split ORDER BY patient_journey_id)"
REMEDY = re.compile(
    r"Correct the source|change the rule in gx/expectations|Take it out of|take it out of|Publish the dataset again|"
    r"Raise splits.version|Join by known-at time"
)


class Trained(NamedTuple):
    """A good training dataset, and the resources that made it."""

    world: World
    resources: dict[str, Any]
    dataset: TrainingDatasetRef


class Case(NamedTuple):
    """One corruption: columns by SQL expression, a query, refused or only warned of, and what is said."""

    replaced: dict[str, str]
    is_refused: bool
    says: str
    query: str = "SELECT * FROM {rows}"


def in_two_rows(value: str, column: str) -> dict[str, str]:
    """The value in the first two rows of each split."""
    return {column: f"CASE WHEN {FIRST} <= 2 THEN {value} ELSE {column} END"}


def failed(column: str, name: str, found: str = "2 of", severity: str = "critical") -> str:
    return (
        rf"training_dataset\[(train|validation|test)\]\.[\w,]*\b{column}\b[\w,]*: {name} \({severity}\) failed: {found}"
    )


MATRIX: dict[str, Case] = {
    "no outcome": Case(in_two_rows("NULL", "target"), True, failed("target", "target_is_not_null")),
    "an outcome of 2": Case(in_two_rows("2", "target"), True, failed("target", "target_is_zero_or_one")),
    "no brand": Case(in_two_rows("NULL", "brand"), True, failed("brand", "brand_is_not_null")),
    "another brand": Case(in_two_rows("'aspirin'", "brand"), True, failed("brand", "brand_is_configured")),
    "no prediction time": Case(
        in_two_rows("NULL", "observation_date"),
        True,
        failed("observation_date", "observation_date_is_not_null"),
    ),
    "no patient": Case(in_two_rows("NULL", "patient_id"), True, failed("patient_id", "patient_id_is_not_null")),
    "rows twice": Case(
        {},
        True,
        failed("patient_journey_id", "modelling_row_is_unique", r"4 of"),
        "SELECT * FROM {rows} UNION ALL SELECT * FROM {rows} QUALIFY " + f"{FIRST} <= 2",
    ),
    "a patient in two splits": Case(
        {"patient_id": f"CASE WHEN {FIRST} = 1 AND data_split <> 'unassigned' THEN 'one' ELSE patient_id END"},
        True,
        failed("patient_id", "patient_is_in_one_split", "1 of"),
    ),
    "no rows to test on": Case(
        {},
        True,
        r"\[test\]: row_count_is_in_range .* 0 observed",
        "SELECT * FROM {rows} WHERE data_split <> 'test'",
    ),
    "no column of the patient": Case(
        {}, True, r"patient_id: patient_id_exists \(critical\)", "SELECT * EXCLUDE patient_id FROM {rows}"
    ),
    "500 calls a month": Case(
        in_two_rows("500", "call_frequency"),
        False,
        failed("call_frequency", "call_frequency_is_in_range", "2 of", "warning"),
    ),
    "the last call before the first": Case(
        {
            **in_two_rows("TIMESTAMP '2020-01-01'", "last_call_date"),
            **in_two_rows("TIMESTAMP '2021-01-01'", "first_call_date"),
        },
        False,
        failed("last_call_date", "last_call_date_is_not_before_first", "2 of", "warning"),
    ),
    "no HCP": Case(in_two_rows("NULL", "hcp_id"), False, failed("hcp_id", "hcp_id_is_not_null", "2 of", "warning")),
    "the outcome in a feature": Case(
        {"disease_severity": "target * 3.5"},
        True,
        r"value of disease_severity alone .* AUC of 1.000 over \d+ rows",
    ),
    "the outcome in a feature's absence": Case(
        {"disease_severity": "CASE WHEN target = 1 THEN 5.0 END"},
        True,
        r"absence of a value of disease_severity alone .* over \d+ rows",
    ),
    "a test before the training": Case(
        {"observation_date": "CASE data_split WHEN 'test' THEN TIMESTAMP '2001-01-01' ELSE observation_date END"},
        True,
        r"\d+ rows of (train|validation) are predicted at or after the time at which test begins",
    ),
    "known only afterwards": Case(
        {},
        True,
        r"In 2 of \d+ rows disease_severity rests on something that became known only after",
        "SELECT *, observation_date + to_days(CASE WHEN data_split = 'train' AND " + f"{FIRST} <= 2 "
        "THEN 1 ELSE 0 END) AS disease_severity_known_at FROM {rows}",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    world = good_world(tmp_path_factory.mktemp("modelling"), journeys=600)
    resources = world.resources()
    published = publish(world)
    feast = resources["feast"]
    covariate = {
        "name": "disease_severity",
        "table": "patient_journeys",
        "column": "disease_severity",
        "dtype": "numeric",
    }
    views = {
        view: feast.write_view(view, published.tables, [covariate], touch_window_days=90).table
        for view in ("patient_features", "hcp_features", "engagement_features")
    }
    registry = feast.apply(views)
    dataset = resources["modelling"].training_dataset("a key", "Kisqali", published, registry)
    trained = Trained(world, resources, dataset)
    assert require(trained, dataset) == ""
    return trained


def require(good: Trained, dataset: TrainingDatasetRef) -> str:
    """What the study asks for before it learns, and what only warned."""
    gate, modelling = good.resources["gate"], good.resources["modelling"]
    gate.audit(dataset, run_id="a run", now=NOW + timedelta(days=1), splits=SPLITS)
    [verdict] = gate.require([dataset])
    modelling.require_no_leakage(dataset)
    return "\n".join(verdict.warnings)


def changed(good: Trained, case: Case) -> TrainingDatasetRef:
    """The dataset with a corruption, as a version of its own."""
    engine, rows = good.resources["engine"], case.query.format(rows=parquet(good.dataset.location))
    replaced = ", ".join(f"{expression} AS {name}" for name, expression in case.replaced.items())
    query = f"SELECT * {f'REPLACE ({replaced})' if replaced else ''} FROM ({rows})"
    with engine.connect() as connection:
        written = engine.write(connection, query, good.world.state / "changed", ("patient_journey_id",))
    update = {
        "location": written.location,
        "version": written.version,
        "rows": written.rows,
        "columns": written.columns,
    }
    return good.dataset.model_copy(update=update)


@pytest.mark.parametrize("case", MATRIX.values(), ids=MATRIX)
def test_modelling_rows_are_refused_before_anything_is_learned(good: Trained, case: Case) -> None:
    dataset, before = changed(good, case), contents(good.world.state / "published")

    if case.is_refused:
        with pytest.raises(GateBlocked) as caught:
            require(good, dataset)
        said = str(caught.value)
    else:
        said = require(good, dataset)

    assert re.search(case.says, said), said
    assert REMEDY.search(said)
    assert not re.search(r"aspirin|[0-9a-f]{32}", said)  # no value, no pseudonym
    assert contents(good.world.state / "published") == before
    counted = duckdb.sql(f"SELECT count(*) FROM {parquet(good.dataset.location)}").fetchall()
    assert counted == [(good.dataset.rows,)]
    assert file_sha256(good.dataset.location) == good.dataset.version


def test_a_feature_that_is_the_outcome_by_name_is_refused(good: Trained) -> None:
    told = FeatureSpec(name="days_to_treatment", kind="numeric", view="patient_features")
    dataset = good.dataset.model_copy(update={"features": (*good.dataset.features, told)})

    with pytest.raises(
        GateBlocked, match=r"feature days_to_treatment is the outcome, .* in all \d+ rows. Take it out of"
    ):
        require(good, dataset)
