"""What a person wants to know when the causal stage is over: the effect, among whom, and whether it may be used.

It reads the stored references only: no tool is imported.
"""

from typing import cast

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.causal import (
    EffectEvaluationRef,
    EffectFigure,
    EffectModelRef,
    OverlapRef,
    RefutationRef,
    TargetTrialProtocol,
)
from e2i_pipeline.storage.references import ReferenceIOManager


def summarize_effect(brand: str, chosen: Settings) -> str:
    """The summary of a brand's last effect as text.

    Raises:
        ReferenceNotFound: The stage was not run for the brand in this state folder.
    """
    store = ReferenceIOManager(root=str(chosen.state_dir / "references"))
    protocol = cast(TargetTrialProtocol, store.current("target_trial_protocol", brand))
    overlap = cast(OverlapRef, store.current("overlap", brand))
    model = cast(EffectModelRef, store.current("effect_model", brand))
    evaluation = cast(EffectEvaluationRef, store.current("effect_evaluation", brand))
    refutation = cast(RefutationRef, store.current("refutation", brand))
    point = "a further point of " if protocol.treatment_kind == "continuous" else ""
    answers = [("Refused", reason) for reason in refutation.reasons] or [("Verdict", "the effect may be used")]
    lines = [
        ("Effect", f"of {point}{protocol.treatment} on {protocol.outcome}: {_told(protocol, evaluation.average)}"),
        *(("among", f"{s.name}: {_told(protocol, s)}, {s.rows:,} journeys") for s in evaluation.segments),
        ("Best reached", f"{evaluation.uplift.name}: {_told(protocol, evaluation.uplift)}"),
        ("Estimator", f"{model.estimator}, by R-score; served as {model.served or 'nothing'}"),
        ("Overlap", f"{overlap.kept:,} of {overlap.rows:,} journeys can be compared"),
        *answers,
        *(("Warning", warning) for warning in refutation.warnings),
    ]
    return "\n".join(["", *(f"  {name:<14}{text}" for name, text in lines), ""])


def _told(protocol: TargetTrialProtocol, figure: EffectFigure) -> str:
    if protocol.outcome_kind == "binary":
        value, low, high = 100 * figure.value, 100 * figure.low, 100 * figure.high
        return f"{value:+.2f} percentage points ({low:+.2f} to {high:+.2f})"
    return f"{figure.value:+.4g} ({figure.low:+.4g} to {figure.high:+.4g})"
