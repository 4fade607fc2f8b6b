"""The evaluation of an effect: by its table alone, segments in order, rules that refuse."""

import json

import numpy as np
import pandas as pd
import pytest

from e2i_pipeline.contracts.causal import EffectFigure, TargetTrialProtocol
from e2i_pipeline.domain.causal.design import EVALUATION, FIT, effect_data
from e2i_pipeline.domain.causal.effect_table import effect_table
from e2i_pipeline.domain.causal.estimators import ForestSpec, average_effect, fit_effects
from e2i_pipeline.domain.causal.evaluation import Evaluation, as_json, evaluate_effect
from e2i_pipeline.domain.causal.nuisance import nuisance_on
from e2i_pipeline_tests.domain.causal.journeys import SPEC, drawn, protocol, randomized, randomized_protocol

FOREST = ForestSpec(trees=8, maximum_rows=1_000, threads=1)


def evaluated(frame: pd.DataFrame, trial: TargetTrialProtocol) -> tuple[Evaluation, pd.DataFrame]:
    """Fits the linear effect and evaluates it."""
    data = effect_data(frame, trial)
    learn, judged = data.in_fold(FIT), data.in_fold(EVALUATION)
    [fitted] = fit_effects(learn, trial, ["linear_dml"], SPEC, FOREST)
    kinds = (trial.treatment_kind, trial.outcome_kind, trial.is_randomized)
    nuisance = nuisance_on(learn, judged, SPEC, *kinds)
    table = effect_table(judged, fitted.effects(judged), nuisance, np.ones(len(judged.outcome), bool), trial)
    average = average_effect(learn, trial, SPEC)
    return evaluate_effect(table, trial, average, fitted.effects(learn).value), table


@pytest.fixture(scope="module")
def heterogeneous() -> tuple[Evaluation, pd.DataFrame]:
    return evaluated(drawn("heterogeneous", 12_000), protocol())


def test_the_three_segments_come_out_in_order_and_apart(heterogeneous: tuple[Evaluation, pd.DataFrame]) -> None:
    mild, middle, severe = heterogeneous[0].segments
    assert mild.value < middle.value < severe.value
    assert mild.high < severe.low
    assert heterogeneous[0].suppressed == 0


def test_ranking_calibration_and_policies_find_the_heterogeneity(
    heterogeneous: tuple[Evaluation, pd.DataFrame],
) -> None:
    found = heterogeneous[0]
    assert [figure.name for figure in found.ranking] == ["AUTOC", "Qini"]
    assert all(figure.low > 0 for figure in found.ranking)
    assert found.slope is not None
    assert found.slope.low < 1 < found.slope.high
    assert found.uplift.value > found.average.value
    nobody, everybody, today = found.policies
    assert nobody.low > 0 > everybody.high
    assert today.name == "the model's choice against today's choice"
    assert all(f.holds for f in found.findings)


def test_it_is_computed_from_the_table_alone_and_is_plain_json(heterogeneous: tuple[Evaluation, pd.DataFrame]) -> None:
    found, table = heterogeneous
    again = evaluate_effect(table.sample(frac=1, random_state=1), protocol(), found.average, table["effect"].to_numpy())
    assert again.average.value == pytest.approx(found.average.value)
    assert again.ranking[0].value == pytest.approx(found.ranking[0].value)
    content = json.dumps(as_json(found))
    assert "NaN" not in content
    assert set(json.loads(content)) >= {"average", "segments", "policies", "curve", "calibration", "findings"}
    assert {"effect", "effect_low", "effect_high", "is_supported"} <= set(table)


def test_a_small_segment_is_not_reported(heterogeneous: tuple[Evaluation, pd.DataFrame]) -> None:
    found, table = heterogeneous
    mild = table["disease_severity"] < 4
    few = pd.concat([table[mild].head(10), table[~mild]])
    again = evaluate_effect(few, protocol(), found.average, table["effect"].to_numpy())
    assert again.suppressed == 1
    assert len(again.segments) == 2


def test_on_randomized_data_the_average_is_the_difference_in_means() -> None:
    found, table = evaluated(randomized(6_000), randomized_protocol())
    arms = table.groupby("treatment")["outcome"].mean()
    assert found.average.low < arms[1.0] - arms[0.0] < found.average.high
    assert found.average.value == pytest.approx(0.15, abs=0.05)


def test_cost_is_taken_off_what_treating_brings() -> None:
    free, _ = evaluated(randomized(3_000), randomized_protocol())
    dear, _ = evaluated(randomized(3_000), randomized_protocol(cost=0.05))
    assert dear.policies[0].value == pytest.approx(free.policies[0].value - 0.05 * 0.1, abs=0.001)


def test_no_effect_and_folds_that_disagree_are_refused() -> None:
    found, table = evaluated(drawn("null_effect", 4_000), protocol())
    against = EffectFigure(name="average", value=-found.average.value, low=-1, high=1, rows=10)
    again = evaluate_effect(table, protocol(), against, table["effect"].to_numpy())
    broken = {f.name for f in again.findings if not f.holds and f.blocks}
    assert broken == {"effect_is_not_zero", "folds_agree"}


def test_a_placebo_treatment_is_refused() -> None:
    frame = drawn("confounded", 4_000)
    frame["engagement_score"] = np.random.default_rng(5).permutation(frame["engagement_score"])
    found, _ = evaluated(frame, protocol())
    assert "effect_is_not_zero" in {f.name for f in found.findings if not f.holds and f.blocks}
