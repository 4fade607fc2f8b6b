"""When an effect may be used, and when a newer one takes the place of an older. Pure: verdicts in, a decision out.

The rule: the gate over the whole causal stage must have passed. An effect is an estimate and no ranking to be won, so a
newer one that passed replaces the one before it, unless the two contradict each other: where their intervals do not
meet, either changed the world or one is wrong, and a person has to say which.
"""

from e2i_pipeline.contracts.causal import EffectFigure
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.domain.promotion import Decision
from e2i_pipeline.errors import PromotionBlocked


def decide_effect(
    candidate: ModelVersion,
    verdict: Verdict | None,
    found: EffectFigure,
    champion: ModelVersion | None,
    before: EffectFigure | None,
) -> Decision:
    """Decides whether an effect is to be used from now on.

    Args:
        candidate: The registered version.
        verdict: The gate's verdict on it.
        found: Its average effect on rows that nothing was fitted on.
        champion: The version that is used today; None where none is.
        before: That version's average effect; None where it is not recorded.

    Raises:
        PromotionBlocked: There is no verdict.
    """
    who = f"{candidate.name} version {candidate.version}"
    if verdict is None:
        raise PromotionBlocked(f"{who} was not attacked yet. Materialize refutation for {candidate.brand}.")
    if champion is not None and champion.version == candidate.version:
        return Decision(True, f"Version {candidate.version} is in use already.")
    if not verdict.is_passed:
        kept = f"version {champion.version} stays in use" if champion else "no effect is in use"
        return Decision(False, f"Refused for use, so {kept}: {' '.join(verdict.reasons)}")
    if champion is None or before is None:
        return Decision(True, "No rule of the causal stage is broken, and there is no other effect in use.")
    figures = (
        f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g}) against {before.value:.4g} ({before.low:.4g} to "
        f"{before.high:.4g}) of version {champion.version}"
    )
    if found.low > before.high or found.high < before.low:
        return Decision(False, f"It contradicts the effect in use, and a person has to say which holds: {figures}.")
    return Decision(True, f"No rule is broken, and it agrees with the effect in use, of older rows: {figures}.")
