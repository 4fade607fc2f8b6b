"""When a candidate replaces the champion. Pure: verdicts and figures in, a decision out.

The rule: the infrastructure gate must have passed, the evaluation gate must have passed, and on the same rows the
candidate must be better than the champion by the declared margin, and by more than chance in a paired test. Anything
else keeps what serves today, and says why.
"""

from typing import NamedTuple

from e2i_pipeline.contracts.evaluation import Comparison
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.errors import PromotionBlocked

NAMES = {"auc": "AUC", "r2": "R2"}
"""A comparison's metric as it is written in a sentence."""


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


def is_better(comparison: Comparison, margin: float, significance: float) -> tuple[bool, str]:
    """Whether a candidate is better than the champion, and why, in a sentence with figures.

    Args:
        comparison: Both on the same rows.
        margin: By how much it must be better, in the comparison's metric.
        significance: Below which the p-value must lie.
    """
    gain = comparison.gain
    name = NAMES.get(comparison.metric, comparison.metric)
    figures = (
        f"{name} {comparison.candidate_value:.4f} against {comparison.champion_value:.4f} of version "
        f"{comparison.champion} on the same {comparison.rows} rows"
    )
    estimate = gain.estimate or 0.0
    reach = f", {gain.low:+.4f} to {gain.high:+.4f}" if gain.low is not None and gain.high is not None else ""
    chance = f"{comparison.test}: p = {comparison.p_value:.3f}"
    if estimate < margin:
        return False, f"Not better by the margin of {margin:.4f}: {figures} ({estimate:+.4f}{reach}; {chance})."
    if comparison.p_value >= significance:
        return False, (
            f"Better by {estimate:.4f}, but not by more than chance at {significance:g}: {figures} ({chance}{reach})."
        )
    return True, f"Better by {estimate:.4f}: {figures} ({chance}{reach})."


def decide(
    candidate: ModelVersion,
    evaluation: Verdict,
    champion: ModelVersion | None,
    comparison: Comparison | None,
    margin: float,
    significance: float,
) -> Decision:
    """Decides on a candidate whose verdicts are there.

    Args:
        candidate: The registered version.
        evaluation: Its evaluation verdict.
        champion: The version that serves today; None where none does.
        comparison: Candidate against champion on the same rows; None where the champion cannot score them.
        margin: By how much the candidate must be better, in the comparison's metric.
        significance: Below which the p-value of the paired test must lie.
    """
    if champion is not None and champion.version == candidate.version:
        return Decision(True, f"Version {candidate.version} is the champion already.")
    if not evaluation.is_passed:
        kept = f"version {champion.version} keeps serving" if champion else "nothing is promoted"
        return Decision(False, f"The evaluation gate is not passed, so {kept}: {' '.join(evaluation.reasons)}")
    if champion is None:
        return Decision(True, "The evaluation gate is passed, and there is no champion yet.")
    if comparison is None:
        return Decision(
            False,
            f"Champion version {champion.version} cannot score the present rows (a feature, or the library of its "
            "algorithm, is missing here), so the two cannot be compared. Archive it if it should no longer serve.",
        )
    return Decision(*is_better(comparison, margin, significance))
