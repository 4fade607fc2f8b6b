"""The rows of an effect analysis: who is in, what is learned on the fit fold alone, what is refused."""

import numpy as np
import pytest

from e2i_pipeline.domain.causal.design import EVALUATION, FIT, effect_data
from e2i_pipeline.errors import CohortTooSmall, SourceError
from e2i_pipeline_tests.domain.causal.journeys import drawn, protocol, randomized, randomized_protocol


def test_folds_share_neither_patient_nor_physician_and_have_their_shares() -> None:
    data = effect_data(drawn("confounded", 1_500), protocol())
    for column in ("patient_id", "hcp_id"):
        assert data.frame.assign(fold=data.fold).groupby(column)["fold"].nunique().max() == 1
    assert np.mean(data.fold == FIT) == pytest.approx(0.5, abs=0.02)
    assert len(data.in_fold(EVALUATION).outcome) == (data.fold == EVALUATION).sum()


def test_rows_without_treatment_or_outcome_are_not_eligible() -> None:
    frame = drawn("confounded", 900)
    frame.loc[:9, "engagement_score"] = np.nan
    frame.loc[10:14, "target"] = np.nan
    data = effect_data(frame, protocol())
    assert len(data.outcome) == 885
    assert not np.isnan(data.confounders).any()


def test_what_stands_for_missing_modifiers_is_learned_on_the_fit_fold() -> None:
    frame = drawn("confounded", 900)
    whole = effect_data(frame, protocol())
    is_last = np.flatnonzero(whole.fold == EVALUATION)[:5]
    frame.loc[is_last, "disease_severity"] = np.nan
    data = effect_data(frame, protocol())
    assert data.modifiers is not None
    assert whole.modifiers is not None
    expected = np.median(whole.modifiers[whole.fold == FIT])
    assert data.modifiers[is_last, 0] == pytest.approx(np.full(5, expected))


def test_a_categorical_modifier_is_held_against_its_first_value() -> None:
    data = effect_data(drawn("confounded", 900), protocol(modifiers=("insurance_type",), segments=()))
    assert data.modifier_names == (
        "insurance_type=medicaid",
        "insurance_type=medicare",
        "insurance_type=uninsured",
    )


def test_without_modifiers_there_is_one_effect_for_everybody() -> None:
    assert effect_data(drawn("confounded", 900), protocol(modifiers=(), segments=())).modifiers is None


def test_a_binary_treatment_of_other_values_is_refused() -> None:
    frame = randomized(900)
    frame.loc[:2, "treated"] = 2.0
    with pytest.raises(SourceError, match="neither 0 nor 1 in 3 of 900 rows"):
        effect_data(frame, randomized_protocol())


def test_a_treatment_that_all_have_and_too_few_rows_are_refused() -> None:
    with pytest.raises(SourceError, match="does not vary over the 900 eligible rows"):
        effect_data(randomized(900).assign(treated=1.0), randomized_protocol())
    with pytest.raises(CohortTooSmall, match="needs at least 200"):
        effect_data(drawn("confounded", 300), protocol())
