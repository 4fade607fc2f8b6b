"""Sections on how the model was judged: the gate part by part, groups at the threshold, and what the figures rest on.

Metrics, curves and slices stand in `report_sections`.
"""

from e2i_pipeline.contracts.evaluation import Finding, GroupDifference, Interval
from e2i_pipeline.domain.report_data import StageResults
from e2i_pipeline.domain.report_parts import Content, Html, bullets, count, el, figure, joined, note, pill, table, terms

PARTS = {
    "success_criteria": "Success criteria",
    "calibration": "Calibration",
    "slices": "Slices",
    "fairness": "Fairness",
    "behaviour": "Behaviour",
    "comparison": "Against the champion",
    "readings": "Readings of the test rows",
}
"""Part of the gate to its name on the page, in the order shown."""

MEASURES = {"equal_opportunity": "Equal opportunity (true-positive rate)", "demographic_parity": "Share flagged"}


def gate(data: StageResults) -> Html | None:
    """Each check of the evaluation gate, and what it saw; nothing for an evaluation that kept no findings."""
    findings = data.evaluation.findings
    if not findings:
        return None
    order = list(PARTS)
    ranked = sorted(findings, key=lambda f: order.index(f.part) if f.part in order else len(order))
    rows = [_finding_row(finding) for finding in ranked]
    said = [sentence for finding in ranked for sentence in finding.sentences]
    return joined(
        [
            table(("Part", "Check", "Effect", ""), rows, (), "Evaluation gate"),
            bullets(said) if said else None,
            terms(_grounds(data)),
            note(
                "A success criterion is held against the figure itself. Every other bound is broken only when the "
                "whole interval lies beyond it, so that few patients do not fail a good model by chance."
            ),
            bullets(data.detail.left_out) if data.detail.left_out else None,
        ]
    )


def fairness(data: StageResults) -> Html | None:
    """How differently groups are treated at the threshold; nothing where no two groups are large enough."""
    if not data.evaluation.fairness:
        return None
    rows = [_difference_row(one) for one in data.evaluation.fairness]
    heads = ("Column", "Measure", "Highest", "Lowest", "Difference", "Interval", "Bound", "")
    return joined(
        [
            table(heads, rows, (4, 6), "Differences between groups"),
            note(
                "At the operational threshold, of the groups that break the bound most clearly, else of those furthest "
                "apart; intervals are corrected for the number of pairs. Where groups truly differ in how often the "
                "outcome occurs, no calibrated score makes both measures equal: a difference is something for people "
                "to look at, not proof of a fault."
            ),
        ]
    )


def interval(value: Interval | None) -> str:
    """An interval as it stands in a table; empty where there is none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{figure(value.low)} to {figure(value.high)}"


def _finding_row(finding: Finding) -> list[Content]:
    effect = "holds back promotion" if finding.is_blocking else "warns"
    answer = pill("holds", "good") if finding.is_passed else pill("fails", "bad" if finding.is_blocking else "warn")
    return [PARTS.get(finding.part, finding.part), finding.check.replace("_", " "), effect, answer]


def _difference_row(one: GroupDifference) -> list[Content]:
    return [
        one.column,
        MEASURES.get(one.measure, one.measure),
        _rate(one, one.highest),
        _rate(one, one.lowest),
        figure(one.difference.estimate),
        interval(one.difference),
        figure(one.bound, 2),
        pill("within", "good") if one.is_within else pill("beyond", "warn"),
    ]


def _rate(one: GroupDifference, group: str) -> str:
    rate = one.rates[group]
    return f"{group}: too few to tell" if rate is None else f"{group}: {rate:.1%} of {count(one.rows[group])}"


def _grounds(data: StageResults) -> dict[str, Content]:
    """Recalibration, behaviour, comparison and readings, in words."""
    found, comparison = data.detail.recalibration, data.evaluation.comparison
    readings = data.evaluation.readings
    champion = data.detail.champion_problem or "There was no other champion to compare with."
    if comparison:
        champion = (
            f"Version {comparison.champion} on the same {count(comparison.rows)} rows: {comparison.metric.upper()} "
            f"{figure(comparison.candidate_value, 4)} against {figure(comparison.champion_value, 4)}, gain "
            f"{interval(comparison.gain)}; {comparison.test}, p = {comparison.p_value:.3f}"
        )
    told: dict[str, Content] = {
        "Recalibration": joined([pill(found.method), f" {found.reason}"]) if found.reason else "",
        "Behaviour": joined([el("span", " ".join(data.detail.behaviour))]) if data.detail.behaviour else "",
        "Champion at that time": champion,
        "Test rows read": f"{count(readings.readings)} times, by {count(readings.candidates)} candidates, up to then"
        if readings.readings
        else "",
    }
    return {name: content for name, content in told.items() if content}
