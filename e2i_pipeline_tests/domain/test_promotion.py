"""The decision to promote: each rule both ways, and what is refused without a decision."""

from datetime import UTC, datetime

import pytest

from e2i_pipeline.contracts.evaluation import Comparison, Interval
from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.domain.promotion import Decision, decide, require_verdicts
from e2i_pipeline.errors import PromotionBlocked

MARGIN, SIGNIFICANCE = 0.002, 0.05


def version(number: str, stage: str = "development") -> ModelVersion:
    name = "e2i-Kisqali-conversion"
    return ModelVersion(
        key=f"training-{number}",
        brand="Kisqali",
        name=name,
        version=number,
        mlflow_run_id=f"run-{number}",
        model_uri=f"models:/{name}/{number}",
        stage=stage,
    )


def verdict(*reasons: str, gate: str = "evaluation") -> Verdict:
    key = VerdictKey(subject="model/Kisqali", data_version="v", suite_hash="s", gate_hash=gate)
    return Verdict(
        key=key, gate=gate, is_passed=not reasons, reasons=reasons, decided_at=datetime(2026, 1, 1, tzinfo=UTC)
    )


def compared(champion_auc: float, candidate_auc: float = 0.75, p_value: float = 0.01) -> Comparison:
    gain = candidate_auc - champion_auc
    return Comparison(
        champion="1",
        metric="auc",
        candidate_value=candidate_auc,
        champion_value=champion_auc,
        gain=Interval(estimate=gain, low=gain - 0.01, high=gain + 0.01),
        p_value=p_value,
        test="DeLong's paired test",
        rows=3000,
    )


def judged(comparison: Comparison | None, *unmet: str) -> Decision:
    return decide(version("2"), verdict(*unmet), version("1", "production"), comparison, MARGIN, SIGNIFICANCE)


def test_both_verdicts_open_the_decision() -> None:
    require_verdicts(version("2"), verdict(), verdict(gate="infrastructure"))


def test_a_model_that_misses_its_criteria_may_be_decided_on() -> None:
    require_verdicts(version("2"), verdict("AUC 0.55 is below 0.60."), verdict(gate="infrastructure"))


@pytest.mark.parametrize(
    ("evaluation", "infrastructure", "message"),
    [
        (None, verdict(gate="infrastructure"), r"version 2 has no evaluation verdict\. Materialize model_evaluation"),
        (verdict(), None, r"its Bento was never seen to answer\. Materialize bento for Kisqali with its checks"),
        (None, None, "no evaluation verdict"),
        (
            verdict(),
            verdict("It did not start.", gate="infrastructure"),
            r"failed the infrastructure gate: It did not start\.",
        ),
    ],
)
def test_a_missing_verdict_or_a_failed_infrastructure_gate_is_refused(
    evaluation: Verdict | None, infrastructure: Verdict | None, message: str
) -> None:
    with pytest.raises(PromotionBlocked, match=message) as caught:
        require_verdicts(version("2"), evaluation, infrastructure)

    assert "e2i-Kisqali-conversion version 2" in str(caught.value)


def test_the_first_good_model_is_promoted() -> None:
    decision = decide(version("1"), verdict(), None, None, MARGIN, SIGNIFICANCE)

    assert decision.is_promoted
    assert "there is no champion yet" in decision.reason


def test_a_first_model_that_misses_its_criteria_is_not() -> None:
    decision = decide(version("1"), verdict("AUC 0.55 is below 0.60."), None, None, MARGIN, SIGNIFICANCE)

    assert decision == Decision(
        False, "The evaluation gate is not passed, so nothing is promoted: AUC 0.55 is below 0.60."
    )


def test_missed_criteria_keep_the_champion_however_much_better_the_candidate_is() -> None:
    decision = judged(compared(0.50, 0.90), "Too many false positives.")

    assert not decision.is_promoted
    assert "version 1 keeps serving: Too many false positives." in decision.reason


@pytest.mark.parametrize(
    ("champion_auc", "is_promoted"), [(0.74, True), (0.7479, True), (0.7481, False), (0.75, False), (0.80, False)]
)
def test_the_candidate_must_win_by_the_margin(champion_auc: float, is_promoted: bool) -> None:
    decision = judged(compared(champion_auc))

    assert decision.is_promoted is is_promoted
    assert f"AUC 0.7500 against {champion_auc:.4f} of version 1 on the same 3000 rows" in decision.reason


@pytest.mark.parametrize(("p_value", "is_promoted"), [(0.049, True), (0.05, False), (0.4, False)])
def test_the_candidate_must_win_by_more_than_chance(p_value: float, is_promoted: bool) -> None:
    decision = judged(compared(0.74, p_value=p_value))

    assert decision.is_promoted is is_promoted
    assert f"DeLong's paired test: p = {p_value:.3f}" in decision.reason
    assert ("not by more than chance at 0.05" in decision.reason) is not is_promoted


def test_exactly_the_margin_is_enough() -> None:
    assert decide(version("2"), verdict(), version("1"), compared(0.5), 0.25, SIGNIFICANCE).is_promoted


def test_a_champion_that_cannot_score_the_rows_stays_and_the_way_out_is_named() -> None:
    decision = judged(None)

    assert not decision.is_promoted
    assert "cannot score the present rows (a feature, or the library of its algorithm, is missing" in decision.reason
    assert "Archive it" in decision.reason


@pytest.mark.parametrize("unmet", [(), ("AUC 0.55 is below 0.60.",)])
def test_deciding_again_on_the_champion_changes_nothing(unmet: tuple[str, ...]) -> None:
    champion = version("2", "production")

    assert decide(version("2"), verdict(*unmet), champion, None, MARGIN, SIGNIFICANCE) == Decision(
        True, "Version 2 is the champion already."
    )
