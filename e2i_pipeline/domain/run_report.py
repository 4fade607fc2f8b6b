"""The report of one run: one self-contained HTML page, from the source's tables to the scored journeys.

This module orders the sections; those that the model card has too are the same functions. Nothing is fetched from
anywhere, everything that comes from data is escaped, and nothing is said about any one patient.
"""

from e2i_pipeline.domain import report_data_sections as from_data
from e2i_pipeline.domain import report_evaluation_sections as from_evaluation
from e2i_pipeline.domain import report_run_sections as from_run
from e2i_pipeline.domain import report_sections as from_model
from e2i_pipeline.domain import report_use_sections as from_use
from e2i_pipeline.domain.report_data import RunFacts, RunReportData
from e2i_pipeline.domain.report_page import Section, Tile, heading, page
from e2i_pipeline.domain.report_parts import (
    MISSING,
    Html,
    bullets,
    count,
    duration,
    el,
    memory,
    moment,
    plural,
)
from e2i_pipeline.domain.report_problem_sections import score_tiles


def run_report(data: RunReportData) -> str:
    """Renders the report.

    Args:
        data: What it shows.

    Returns:
        An HTML page that needs nothing but itself; the same page for the same data.
    """
    sections = (
        Section("data", "Data", from_run.tables(data)),
        Section("audits", "Audits and verdicts", from_data.audits(data)),
        Section("defects", "Defects in the input", from_data.defects(data)),
        Section("splits", "Splits", from_data.training_data(data)),
        Section("features", "Features", from_data.features(data)),
        Section("online", "Online store", from_run.online(data)),
        Section("study", "Hyperparameter study", from_data.study(data)),
        Section("criteria", "Success criteria", from_model.criteria(data)),
        Section("gate", "Evaluation gate", from_evaluation.gate(data)),
        Section("performance", "Performance", from_model.performance(data)),
        Section("groups", "By group", from_model.slices(data)),
        Section("fairness", "Between groups", from_evaluation.fairness(data)),
        Section("limits", "Limits of these figures", bullets(from_use.found_limits(data))),
        Section("drivers", "What moves the scores", from_model.drivers(data)),
        Section("bento", "Bento", from_run.bento(data)),
        Section("serving", "Promotion and deployment", from_run.serving(data)),
        Section("predictions", "Batch predictions", from_run.predictions(data)),
        Section("steps", "Times and memory", from_run.steps(data)),
        Section("places", "Where everything lies", from_use.places(data)),
        Section("commands", "Going on", from_run.commands(data)),
    )
    run = data.run
    title = f"Run report: {data.version.brand}, {moment(run.started_at)}"
    return page(title, _header(data), sections, f"E2I pipeline, Dagster run {run.run_id}")


def headline(data: RunReportData) -> str:
    """What came of the run, in a few words."""
    brand, version = data.version.brand, data.version.version
    champion = data.promotion.champion if data.promotion else None
    if champion is None:
        return f"{brand}: no version serves yet"
    if champion.version == version:
        return f"{brand}: version {version} serves"
    return f"{brand}: version {champion.version} still serves, not version {version}"


def _header(data: RunReportData) -> Html:
    run = data.run
    eyebrow = f"Run report · {moment(run.started_at)} · {data.source} source"
    card = el("a", f"model card of version {data.version.version}", href=data.links.get(data.card, data.card))
    about = el("p", "Run ", el("code", run.run_id), ". The ", card, " tells of the model alone.", class_="note")
    return heading(eyebrow, headline(data), [_lead(data)], _tiles(data), about, from_run.gates(data))


def _lead(data: RunReportData) -> str:
    said = [_assets(data.run), *([_checks(data.run)] if data.run.checks else [])]
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _assets(run: RunFacts) -> str:
    new = sum(run.made.values())
    kept = len(run.made) - new
    if not run.made:
        return "only this page was made, from what earlier runs left"
    if not new:
        return f"nothing new, {plural(kept, 'asset')} found unchanged"
    made = plural(new, "asset made", "assets made")
    return f"{made}, {kept:,} found unchanged" if kept else made


def _checks(run: RunFacts) -> str:
    broken = from_run.failed(run.checks)
    if not broken:
        return f"all {len(run.checks):,} checks passed" if len(run.checks) > 1 else "its check passed"
    passed = f"{len(run.checks) - len(broken):,} of {plural(len(run.checks), 'check')} passed"
    warned = sum(check.is_warning for check in broken)
    return f"{passed}, {warned} only warned" if warned else passed


def _tiles(data: RunReportData) -> list[Tile]:
    run, scores = data.run, data.scores
    peak = f"memory at most {memory(run.peak_mib)}" if run.peak_mib is not None else "start to report"
    scored = Tile(MISSING, "open journeys scored")
    if scores is not None:
        flagged = "" if scores.flagged is None else f", {count(scores.flagged)} flagged"
        scored = Tile(count(scores.rows), f"open journeys scored{flagged}")
    return [
        *score_tiles(data, f", {data.study.algorithm.replace('_', ' ')}"),
        scored,
        Tile(duration(run.seconds), peak),
    ]
