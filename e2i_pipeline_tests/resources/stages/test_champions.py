"""Who becomes champion: over real MLflow and metadata, with the test rows read once per candidate and on the record."""

import json
import math
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2i_pipeline.contracts.evaluation import EvaluationDetail, EvaluationRef
from e2i_pipeline.contracts.training import TrainedModelRef
from e2i_pipeline.errors import TestSplitSealed
from e2i_pipeline.resources.stages.evaluation import _page
from e2i_pipeline.resources.stages.test_scores import FILE
from e2i_pipeline_tests.resources.stages.judged_models import NOON, SCOPE, Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("champions"))


@pytest.fixture(scope="module")
def middling(bench: Bench) -> tuple[TrainedModelRef, EvaluationRef]:
    trained = bench.trained("middling", rounds=1)
    return trained, bench.evaluated(trained)


def test_a_champion_is_replaced_only_by_a_better_one_and_a_worse_one_stays_in_development(
    bench: Bench, middling: tuple[TrainedModelRef, EvaluationRef]
) -> None:
    first, promoted = bench.decided(*middling)
    assert (promoted.is_promoted, bench.stages()) == (True, {"1": "production"})

    worse = bench.trained("worse", rounds=1, depth=1)
    judged = bench.evaluated(worse)
    assert judged.comparison is not None
    assert judged.comparison.champion == "1"
    _, kept = bench.decided(worse, judged)
    assert not kept.is_promoted
    assert kept.champion == promoted.champion
    assert bench.stages() == {"1": "production", "2": "development"}
    assert "Not better by the margin of 0.0020: AUC 0." in kept.reason
    assert "of version 1 on the same 800 rows" in kept.reason

    better = bench.trained("better", rounds=60)
    judged = bench.evaluated(better)
    version, replaced = bench.decided(better, judged)
    assert judged.is_passed, judged.unmet
    assert (replaced.is_promoted, replaced.reason[:10]) == (True, "Better by ")
    assert (bench.stages()["2"], bench.stages()["3"]) == ("development", "production")
    assert bench.mlflow.holder(version.name, "production") == "3"
    champion = bench.metadata.champion(first.name)
    assert champion is not None
    assert champion.version == "3"

    readings = bench.metadata.rows("ml_test_readings")
    assert [row["purpose"] for row in readings] == ["evaluation"] * 3  # comparisons reused the candidates' readings
    assert {row["dataset_version"] for row in readings} == {bench.dataset.version}
    assert judged.readings.candidates == 3

    # a champion that changed after the candidate's evaluation has not read these rows for it: that is on the record
    again = bench.comparisons.compare(bench.dataset, worse, replaced.champion or version, "run", NOON)
    assert again is not None
    assert again.champion == "3"
    readings = bench.metadata.rows("ml_test_readings")
    assert [row["purpose"] for row in readings].count("comparison") == 1
    assert bench.sealed.readings(bench.dataset).candidates == 3


def test_an_evaluation_says_everything_and_keeps_no_identifier(
    bench: Bench, middling: tuple[TrainedModelRef, EvaluationRef]
) -> None:
    trained, evaluation = middling
    stored = json.loads(Path(evaluation.location).read_text(encoding="utf-8"))
    detail = EvaluationDetail.model_validate(stored["detail"])
    assert stored["scope_key"] == evaluation.scope_key == SCOPE.key
    assert detail.recalibration.rows == 500
    assert detail.behaviour == (
        "The same for 800 rows in another order.",
        "The same for 800 rows under other identifiers.",
    )
    assert {"age_group"} == set(stored["slices"])
    assert {"roc", "decision"} <= set(stored["curves"])
    table = pq.read_table(Path(evaluation.location).with_name(FILE))
    assert table.column_names == ["outcome", "candidate"]
    run = bench.mlflow.find_run(trained.key)
    assert run == trained.mlflow_run_id


def test_what_is_not_defined_is_null_in_the_file_of_an_evaluation() -> None:
    page = _page({"slices": {"gender": {"metrics": {"f": {"auc": math.nan, "rows": 12.0}}}}})
    assert json.loads(page, parse_constant=pytest.fail) == {
        "slices": {"gender": {"metrics": {"f": {"auc": None, "rows": 12.0}}}}
    }


def test_asked_again_it_is_no_new_reading_and_other_settings_are_another_evaluation(
    bench: Bench, middling: tuple[TrainedModelRef, EvaluationRef]
) -> None:
    trained, evaluation = middling
    before = bench.sealed.readings(bench.dataset)
    again = bench.evaluated(trained)
    assert again.metrics["test"] == evaluation.metrics["test"]
    assert bench.sealed.readings(bench.dataset) == before
    other = bench.evaluations.model_copy(update={"settings": {**bench.evaluations.settings, "slice_floor": 0.1}})
    assert other.key(trained, SCOPE) != bench.evaluations.key(trained, SCOPE)


def test_nobody_else_reads_the_outcomes_of_the_test_split(bench: Bench) -> None:
    with pytest.raises(TestSplitSealed, match="every reading is recorded"):
        bench.modelling.frame(bench.dataset, ["test"])


def test_a_model_that_fails_the_gate_is_registered_and_not_promoted(tmp_path: Path) -> None:
    strict = Bench(tmp_path, calibration={"slope": [5.0, 9.0]})
    trained = strict.trained("strict", rounds=20)
    evaluation = strict.evaluated(trained)
    version, kept = strict.decided(trained, evaluation)
    assert (version.stage, kept.is_promoted, kept.champion) == ("development", False, None)
    assert kept.reason.startswith("The evaluation gate is not passed, so nothing is promoted: Calibration slope is ")
    assert strict.stages() == {"1": "development"}


def test_groups_that_are_certainly_flagged_unequally_hold_a_promotion_back_unless_configured_to_warn(
    tmp_path: Path,
) -> None:
    bounds = {"maximum_equal_opportunity_difference": 0.5, "maximum_demographic_parity_difference": 0.02}
    strict = Bench(tmp_path, fairness={"columns": ["age_group"], **bounds})
    trained = strict.trained("unequal", rounds=60)
    evaluation = strict.evaluated(trained)
    _, kept = strict.decided(trained, evaluation)
    assert (kept.is_promoted, kept.champion) == (False, None)
    # so few are flagged of one group that its figures are not told; the gate knows them
    wanted = (
        r"nothing is promoted: The share flagged by age_group is higher for .* more than the maximum 0\.020, chance"
    )
    assert re.search(wanted, kept.reason), kept.reason
    others = {"blocking": ["success_criteria", "calibration", "slices", "behaviour"]}
    rules = {**strict.evaluations.settings["rules"], **others}
    warning = strict.evaluations.model_copy(update={"settings": {**strict.evaluations.settings, "rules": rules}})
    warned, _ = warning.evaluate(strict.dataset, SCOPE, trained, "run", NOON)
    assert warned.is_passed
    assert warned.warnings == evaluation.unmet
