"""When a candidate replaces the champion. Pure: verdicts and figures in, a decision out.

The rule: the infrastructure gate must have passed, all success criteria must be met, and on the same rows the candidate
must beat the champion's AUC by the declared margin. Anything else keeps what serves today, and says why.
"""

from typing import NamedTuple

from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.references import ModelVersion
from e2i_pipeline.errors import PromotionBlocked


class Decision(NamedTuple):
    """Whether to promote, and the reason in a sentence."""

    is_promoted: bool
    reason: str


def require_verdicts(candidate: ModelVersion, evaluation: Verdict | None, infrastructure: Verdict | None) -> None:
    """Refuses to decide without both verdicts, or after a failed infrastructure gate.

    Raises:
        PromotionBlocked: A verdict is missing, or the Bento did not load and answer.
    """
    who = f"{candidate.name} version {candidate.version}"
    if evaluation is None:
        raise PromotionBlocked(f"{who} has no evaluation verdict. Materialize model_evaluation for {candidate.brand}.")
    if infrastructure is None:
        raise PromotionBlocked(
            f"{who} has no infrastructure verdict: its Bento was never seen to answer. Materialize bento for "
            f"{candidate.brand} with its checks."
        )
    if not infrastructure.is_passed:
        raise PromotionBlocked(f"{who} failed the infrastructure gate: {' '.join(infrastructure.reasons)}")


def decide(
    candidate: ModelVersion,
    evaluation: Verdict,
    champion: ModelVersion | None,
    candidate_auc: float,
    champion_auc: float | None,
    margin: float,
) -> Decision:
    """Decides on a candidate whose verdicts are there.

    Args:
        candidate: The registered version.
        evaluation: Its evaluation verdict.
        champion: The version that serves today; None where none does.
        candidate_auc: The candidate's AUC on the test rows, 0..1.
        champion_auc: The champion's AUC on the same rows; None where it cannot score them.
        margin: By how much the candidate must be better, in AUC.
    """
    if champion is not None and champion.version == candidate.version:
        return Decision(True, f"Version {candidate.version} is the champion already.")
    if not evaluation.is_passed:
        kept = f"version {champion.version} keeps serving" if champion else "nothing is promoted"
        return Decision(False, f"Success criteria are not met, so {kept}: {' '.join(evaluation.reasons)}")
    if champion is None:
        return Decision(True, "All success criteria are met, and there is no champion yet.")
    if champion_auc is None:
        return Decision(
            False,
            f"Champion version {champion.version} cannot score the present rows (a feature it needs is gone), so the "
            "two cannot be compared. Archive it if it should no longer serve.",
        )
    gain = candidate_auc - champion_auc
    figures = f"AUC {candidate_auc:.4f} against {champion_auc:.4f} of version {champion.version} on the same rows"
    if gain < margin:
        return Decision(False, f"Not better by the margin of {margin:.4f}: {figures}.")
    return Decision(True, f"Better by {gain:.4f}: {figures}.")
