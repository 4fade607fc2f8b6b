"""The card of an effect: what a brand lead reads on it, and what is never on it."""

from e2i_pipeline.contracts.causal import (
    CausalFinding,
    EffectEvaluationRef,
    EffectFigure,
    EffectModelRef,
    OverlapRef,
    RefutationRef,
)
from e2i_pipeline.domain.effect_card import effect_card
from e2i_pipeline_tests.domain.causal.journeys import protocol

AVERAGE = EffectFigure(name="average", value=0.0474, low=0.041, high=0.054, rows=5_996)
BROKEN = CausalFinding(name="negative_control_x", rule="It holds 0.", observed="0.05", holds=False, blocks=True)


def card(is_passed: bool = True, **changed: object) -> str:
    """A card of made-up figures."""
    reasons = () if is_passed else ("negative_control_x: It holds 0. Found: 0.05.",)
    return effect_card(
        "e2i-Kisqali-effect version 3",
        protocol(**changed),
        OverlapRef(key="o", brand="K", location="", version="", rows=100, kept=98, effective_rows=51.0, findings=()),
        EffectModelRef(
            key="m",
            brand="K",
            location="",
            version="",
            estimator="linear_dml",
            served="linear_dml",
            scores={},
            average=AVERAGE,
            seconds=1.0,
        ),
        EffectEvaluationRef(
            key="e",
            brand="K",
            location="",
            version="",
            average=AVERAGE,
            segments=(AVERAGE.model_copy(update={"name": "severity <4 & mild", "rows": 20}),),
            suppressed=1,
            ranking=(),
            uplift=AVERAGE.model_copy(update={"name": "the 10%"}),
            policies=(),
            findings=(),
        ),
        RefutationRef(
            key="r",
            brand="K",
            location="",
            version="",
            findings=() if is_passed else (BROKEN,),
            is_passed=is_passed,
            reasons=reasons,
            warnings=(),
        ),
        {},
    )


def test_the_effect_is_said_with_its_interval_in_percentage_points() -> None:
    page = card()
    assert "A further point of engagement_score changes treatment_initiated within 180 days by" in page
    assert "+4.74 percentage points (+4.10 to +5.40)" in page
    assert "may be used" in page
    assert "1 smaller segments are not reported" in page


def test_names_are_escaped() -> None:
    assert "severity &lt;4 &amp; mild" in card()


def test_a_refused_effect_says_so_first_and_why() -> None:
    page = card(is_passed=False)
    assert page.index("refused for use") < page.index("What was asked")
    assert "negative_control_x: It holds 0. Found: 0.05." in page


def test_a_card_without_a_negative_control_says_what_was_not_tested() -> None:
    said = "nothing tested for a hidden cause"
    assert said in card()
    assert said not in card(negative_controls=("appendicitis",))


def test_a_numeric_outcome_is_told_in_its_own_unit() -> None:
    assert "0.0474 (0.041 to 0.054)" in card(outcome_kind="continuous")
