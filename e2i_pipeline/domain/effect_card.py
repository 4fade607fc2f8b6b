"""The card of an effect: one self-contained HTML page that a brand lead can read.

It says what was asked, what was found and among whom, whether it may be used, what was tried to break it, and where it
ends. No single patient's effect is on it.
"""

from e2i_pipeline.contracts.causal import (
    CausalFinding,
    EffectEvaluationRef,
    EffectFigure,
    EffectModelRef,
    OverlapRef,
    RefutationRef,
    TargetTrialProtocol,
)
from e2i_pipeline.domain.report_page import Section, Tile, heading, page
from e2i_pipeline.domain.report_parts import Html, bullets, count, embedded, figure, note, percent, pill, table, terms


def effect_card(
    title: str,
    protocol: TargetTrialProtocol,
    overlap: OverlapRef,
    model: EffectModelRef,
    evaluation: EffectEvaluationRef,
    refutation: RefutationRef,
    pictures: dict[str, str],
) -> str:
    """Renders the card.

    Args:
        title: Registered name and version.
        protocol: The protocol.
        overlap: The overlap.
        model: The effect.
        evaluation: Its evaluation.
        refutation: Its refutation.
        pictures: PNG as base64 by name: `overlap`, `effects`.
    """
    every = (*overlap.findings, *evaluation.findings, *refutation.findings)
    sections = (
        Section("question", "What was asked", _question(protocol)),
        Section("effect", "What was found", _effect(protocol, evaluation, pictures.get("effects", ""))),
        Section("choice", "What choosing by it would bring", _choice(protocol, evaluation)),
        Section("verdict", "May it be used", _verdict(refutation)),
        Section("rules", "What was held against it", _rules(every)),
        Section("overlap", "Who can be compared", _overlap(overlap, pictures.get("overlap", ""))),
        Section("limits", "Use and limits", _limits(protocol)),
    )
    return page(
        f"Effect card: {title}",
        _header(title, protocol, overlap, model, evaluation, refutation),
        sections,
        f"E2I pipeline, effect key {model.key}",
    )


def _header(
    title: str,
    protocol: TargetTrialProtocol,
    overlap: OverlapRef,
    model: EffectModelRef,
    evaluation: EffectEvaluationRef,
    refutation: RefutationRef,
) -> Html:
    may = pill("may be used", "good") if refutation.is_passed else pill("refused for use", "bad")
    point = "A further point of" if protocol.treatment_kind == "continuous" else "The treatment"
    lead = (
        f"{point} {protocol.treatment} changes {protocol.outcome} within {protocol.window_days} days by "
        f"{told(protocol, evaluation.average)}. ",
        may,
    )
    tiles = (
        Tile(short(protocol, evaluation.average.value), "average effect"),
        Tile(count(evaluation.average.rows), "journeys it was judged on, none of them fitted on"),
        Tile(percent(overlap.kept / overlap.rows if overlap.rows else None), "of the journeys can be compared"),
        Tile(model.estimator.replace("_", " "), "estimator, by R-score on a fold of its own"),
    )
    return heading(f"Effect card · {protocol.brand}", title, lead, tiles)


def told(protocol: TargetTrialProtocol, one: EffectFigure) -> str:
    """An effect with its interval, in percentage points where the outcome is a risk."""
    if protocol.outcome_kind != "binary":
        return f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})"
    value, low, high = 100 * one.value, 100 * one.low, 100 * one.high
    return f"{value:+.2f} percentage points ({low:+.2f} to {high:+.2f})"


def short(protocol: TargetTrialProtocol, value: float) -> str:
    """An effect alone."""
    return f"{100 * value:+.2f} pp" if protocol.outcome_kind == "binary" else figure(value)


def _question(protocol: TargetTrialProtocol) -> Html:
    adjusted = ", ".join(f.name for f in protocol.confounders)
    return terms(
        {
            "Who": " ".join(protocol.eligibility),
            "From when on": protocol.time_zero,
            "Treatment": f"{protocol.treatment}: {protocol.treatment_definition}",
            "Outcome": f"{protocol.outcome} within {protocol.window_days} days",
            "Estimand": protocol.estimand,
            "Adjusted for": "nothing: it was assigned by chance" if protocol.is_randomized else adjusted,
            "Not adjusted for": "; ".join(f"{name} ({why})" for name, why in protocol.left_out.items()),
        }
    )


def _effect(protocol: TargetTrialProtocol, evaluation: EffectEvaluationRef, png: str) -> Html:
    figures = (evaluation.average, *evaluation.segments)
    rows = ((one.name, told(protocol, one), count(one.rows)) for one in figures)
    shown = table(("Among", "Effect, with its interval of 95 %", "Journeys"), rows, numbers=(2,), label="Effects")
    left = note(f"{evaluation.suppressed} smaller segments are not reported.") if evaluation.suppressed else None
    seen = "Effects by segment, the gain of targeting, and predicted against found effects"
    drawn = embedded(png, seen) if png else None
    return Html("".join(part for part in (shown, left, drawn) if part))


def _choice(protocol: TargetTrialProtocol, evaluation: EffectEvaluationRef) -> Html:
    rows = [(one.name, told(protocol, one)) for one in (evaluation.uplift, *evaluation.policies)]
    said = table(("Rule", "Gain, per journey, net of cost"), rows, label="Policies")
    ranked = "; ".join(f"{one.name} {one.value:.4g} ({one.low:.4g} to {one.high:.4g})" for one in evaluation.ranking)
    return Html(said + note(f"Ranking by predicted effect: {ranked}. Both are 0 for a choice by chance."))


def _verdict(refutation: RefutationRef) -> Html:
    if refutation.is_passed and not refutation.warnings:
        return Html("<p>No rule is broken.</p>")
    parts = [bullets(refutation.reasons)] if refutation.reasons else [Html("<p>No blocking rule is broken.</p>")]
    if refutation.warnings:
        parts += [note("Warnings, which do not keep it from use:"), bullets(refutation.warnings)]
    return Html("".join(parts))


def _rules(findings: tuple[CausalFinding, ...]) -> Html:
    rows = ((one.name, _held(one), one.rule, one.observed) for one in findings)
    return table(("Name", "", "Rule", "Found"), rows, label="Rules")


def _held(one: CausalFinding) -> Html:
    return pill("holds", "good") if one.holds else pill("broken", "bad" if one.blocks else "warn")


def _overlap(overlap: OverlapRef, png: str) -> Html:
    said = note(
        f"{overlap.kept:,} of {overlap.rows:,} journeys lie within the declared bounds; the effect is about these. By "
        f"their weights they are worth {overlap.effective_rows:,.0f} equal ones."
    )
    return Html(said + (embedded(png, "Overlap, and balance before and after weighting") if png else ""))


def _limits(protocol: TargetTrialProtocol) -> Html:
    hidden = (
        "Whatever drives both treatment and outcome and is not adjusted for is in the effect. Sensitivity says how "
    )
    items = [
        hidden + "strong it would have to be.",
        "The effect is about the journeys within the overlap, and about today's way of engaging.",
        "Read no single patient's effect without its interval, nor outside the support that is noted beside it.",
    ]
    if not protocol.negative_controls:
        items.append("No negative control was declared, so nothing tested for a hidden cause.")
    return bullets(items)
