"""What people see of the causal stage in the Dagster UI: pages that a brand lead can read, and the tables behind."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.contracts.causal import (
    CausalFinding,
    EffectEvaluationRef,
    EffectFigure,
    RefutationRef,
    TargetTrialProtocol,
)
from e2i_pipeline.storage.presentation import feature_table, table_of

if TYPE_CHECKING:
    from e2i_pipeline.domain.causal.evaluation import Evaluation
    from e2i_pipeline.domain.causal.overlap import Balance
    from e2i_pipeline.domain.causal.overlap_report import Described, SliceOverlap


def protocol_story(protocol: TargetTrialProtocol) -> dict[str, Any]:
    """The protocol in words, and what is adjusted for."""
    adjusted = "nothing needs to be: the treatment was assigned by chance" if protocol.is_randomized else "see below"
    lines = {
        "Eligible": " ".join(protocol.eligibility),
        "Time zero": protocol.time_zero,
        "Treatment": f"{protocol.treatment} ({protocol.treatment_kind}): {protocol.treatment_definition}",
        "Outcome": f"{protocol.outcome} within {protocol.window_days} days",
        "Estimand": protocol.estimand,
        "Adjusted for": adjusted,
        "May differ with": ", ".join(protocol.modifiers) or "nothing: one effect for everybody",
        "Negative controls": ", ".join(protocol.negative_controls) or "none are declared",
        "Folds": ", ".join(f"{name} {share:.0%}" for name, share in protocol.folds.items()),
    }
    return {
        "protocol": dg.MetadataValue.md("\n".join(f"- **{name}**: {what}" for name, what in lines.items())),
        "confounders": feature_table(protocol.confounders),
        "left_out": table_of({"feature": name, "reason": why} for name, why in protocol.left_out.items()),
        "randomized": protocol.is_randomized,
    }


def evaluation_story(protocol: TargetTrialProtocol, found: "Evaluation") -> dict[str, Any]:
    """The effects in words and as tables."""
    unit = f"A further point of {protocol.treatment}" if protocol.treatment_kind == "continuous" else protocol.treatment
    lines = [
        f"{unit} changes {protocol.outcome} by **{_told(protocol, found.average)}**, on average over "
        f"{found.average.rows} journeys that nothing was fitted on.",
        *(f"- {s.name}: {_told(protocol, s)} over {s.rows} journeys" for s in found.segments),
        f"\nAmong {found.uplift.name}: {_told(protocol, found.uplift)}.",
    ]
    return {
        "summary": dg.MetadataValue.md("\n".join(lines)),
        "segments": figures_table((found.average, *found.segments)),
        "segments_suppressed": found.suppressed,
        "ranking": figures_table((*found.ranking, found.uplift, *((found.slope,) if found.slope else ()))),
        "policies": figures_table(found.policies),
        "calibration_r_squared": found.calibration.r_squared,
        "rules": findings_table(found.findings),
    }


def refutation_story(evaluation: EffectEvaluationRef, found: RefutationRef) -> dict[str, Any]:
    """Whether the effect may be used, why not, and what was tried."""
    verdict = "The effect may be used." if found.is_passed else "**The effect is refused for use.**"
    lines = [verdict, *(f"- {reason}" for reason in found.reasons), *(f"- Warning: {w}" for w in found.warnings)]
    return {
        "verdict": dg.MetadataValue.md("\n".join(lines)),
        "may_be_used": found.is_passed,
        "average_effect": evaluation.average.value,
        "refutation": findings_table(found.findings),
    }


def findings_table(findings: Iterable[CausalFinding]) -> dg.MetadataValue:
    """Rules and what was found."""
    return table_of(
        {
            "name": f.name,
            "holds": f.holds,
            "if_not": "refuses the effect" if f.blocks else "warns",
            "rule": f.rule,
            "found": f.observed,
        }
        for f in findings
    )


def figures_table(figures: Iterable[EffectFigure]) -> dg.MetadataValue:
    """Effects with their intervals."""
    return table_of(
        {"what": f.name, "value": _short(f.value), "low": _short(f.low), "high": _short(f.high), "rows": f.rows}
        for f in figures
    )


def slices_table(slices: "Iterable[SliceOverlap]") -> dg.MetadataValue:
    """Overlap by segment."""
    return table_of(
        {
            "segment": s.name,
            "rows": s.rows,
            "kept": f"{s.kept:.1%}",
            "effective": f"{s.effective:.1%}",
            "worst_balanced": s.worst,
            "imbalance": _short(s.imbalance),
        }
        for s in slices
    )


def balance_table(balance: "Iterable[Balance]") -> dg.MetadataValue:
    """Balance by covariate, the worst first."""
    return table_of({"covariate": b.covariate, "before": _short(b.before), "after": _short(b.after)} for b in balance)


def trimmed_table(described: "Iterable[Described]") -> dg.MetadataValue:
    """Whom trimming took, in standard deviations of each covariate."""
    return table_of({"covariate": d.covariate, "kept": _short(d.kept), "trimmed": _short(d.trimmed)} for d in described)


def _told(protocol: TargetTrialProtocol, figure: EffectFigure) -> str:
    if protocol.outcome_kind != "binary":
        return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"
    return f"{100 * figure.value:+.2f} percentage points ({100 * figure.low:+.2f} to {100 * figure.high:+.2f})"


def _short(value: float) -> float:
    return round(float(value), 5)
