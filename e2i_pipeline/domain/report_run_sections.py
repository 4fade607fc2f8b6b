"""Sections that only the report of a run has: its tables and gates, what serves, what was scored, times and memory.

Those that it shares with the model card stand in `report_sections`, `report_data_sections` and `report_use_sections`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.report_charts import columns
from e2i_pipeline.domain.report_data import CheckOutcome, RunReportData, Scores
from e2i_pipeline.domain.report_parts import (
    MISSING,
    Content,
    Html,
    count,
    day,
    duration,
    el,
    figure,
    joined,
    memory,
    moment,
    note,
    percent,
    pill,
    plural,
    ratio,
    table,
    terms,
)
from e2i_pipeline.domain.report_problem_sections import expected_values, is_regression
from e2i_pipeline.domain.report_use_sections import decision
from e2i_pipeline.domain.run_times import StageTime, StepTime, by_stage

LEAKAGE = "training_dataset_has_no_leakage"
PARITY = "online_features_match_the_offline_store"
"""The check that looks for leakage; what it found is kept with the run, not as a verdict."""

MOODS = {"good": "passed", "warn": "warned", "bad": "failed", "": "not known"}


class Gate(NamedTuple):
    """One of the gates that a run passes on its way.

    Attributes:
        name: What it looks at.
        mood: `good`, `warn`, `bad`, or nothing where it was not asked.
        answer: Its answer, in a word or two.
        detail: What the answer rests on.
    """

    name: str
    mood: str
    answer: str
    detail: str


def gates(data: RunReportData) -> Html:
    """The gates one after another, from the data to what serves."""
    found = (
        _quality(data),
        _leakage(data),
        _criteria(data),
        _parity(data),
        _bento(data),
        _promotion(data),
        _deployment(data),
    )
    return el(
        "ol",
        *(
            el("li", el("b", gate.name), pill(gate.answer, gate.mood), el("span", gate.detail), class_=gate.mood)
            for gate in found
        ),
        class_="gates",
        aria_label="Gates",
    )


def tables(data: RunReportData) -> Html:
    """What was read, in which version, and whether it is new."""
    made = data.run.made
    rows = [_table(name, found, made) for name, found in data.dataset.tables.items()]
    rows.append(_table("training_dataset", data.training, made))
    return joined(
        [
            table(("Table", "This run", "Rows", "Columns", "Known up to", "Version"), rows, (2, 3), "Tables"),
            note("A version is the hash of the table's content: the same version is the same data, to the last byte."),
        ]
    )


def online(data: RunReportData) -> Html:
    """What the online store was filled with."""
    store = data.online
    rows = [[el("code", view), count(written)] for view, written in store.rows.items()]
    rate = f"{count(store.rows_per_second)} rows per second" if store.rows_per_second else ""
    return joined(
        [
            table(("View", "Entities"), rows, (1,), "Online store"),
            terms(
                {
                    "Filled up to": moment(store.until),
                    "This run": _state("online_features", data.run.made),
                    "When it was filled": rate,
                    "Feature service": el("code", data.registry.service),
                }
            ),
        ]
    )


def bento(data: RunReportData) -> Html:
    """The Bento, and what it answered to rows whose scores are known."""
    golden, built = data.golden, data.bento
    verdict = next((v for v in data.verdicts if v.gate == "infrastructure"), None)
    label: Content = "Not tried."
    if verdict is not None:
        mood, word = ("good", "answers") if verdict.is_passed else ("bad", "does not answer")
        rest = " ".join(verdict.reasons) or f"seen on {moment(verdict.decided_at)}"
        label = joined([pill(word, mood), f" {rest}"])
    difference, given = golden.largest_difference, "values" if is_regression(data) else "probabilities"
    return joined(
        [
            terms(
                {
                    "Bento": el("code", built.tag) if built else "",
                    "Golden request": label,
                    "Made-up rows in it": count(len(golden.expected)),
                    "The model's own answer": ", ".join(figure(p) for p in golden.expected),
                    "Furthest off": "" if difference is None else "exact" if difference == 0 else f"{difference:.1e}",
                    "Up after": "" if golden.start_seconds is None else duration(golden.start_seconds),
                    "Answer took": "" if golden.latency_ms is None else f"{golden.latency_ms:.1f} ms for all rows",
                }
            ),
            note(
                f"The Bento was started in a process of its own and had to give made-up rows the {given} that the "
                "model itself gives them. Nothing that does not answer is promoted."
            ),
        ]
    )


def serving(data: RunReportData) -> Html:
    """What was decided about the version, and what is deployed now."""
    deployed = data.deployment
    mood = "good" if deployed.status == "active" and deployed.bento_tag else ""
    return joined(
        [
            decision(data),
            terms(
                {
                    "Deployed": el("code", deployed.bento_tag) if deployed.bento_tag else "nothing yet",
                    "Status": joined([pill(deployed.status, mood)]) if deployed.bento_tag else "",
                    "Answers on": f"{deployed.endpoint}, once started" if deployed.bento_tag else "",
                }
            ),
        ]
    )


def predictions(data: RunReportData) -> Html:
    """How many open journeys were scored, and how the scores lie; nothing about any one of them."""
    scored, scores = data.predictions, data.scores
    if scored.is_absent or scores is None:
        return el("p", "Nothing was scored: no version has been promoted yet.")
    if not scores.rows:
        return el("p", "Nothing was scored: the outcome of every journey is known.")
    if scores.is_regression:
        return expected_values(data, _state("batch_predictions", data.run.made))
    rate = _base_rate(data)
    chart = None
    if scores.tenths:
        caption = (
            "Mean predicted probability per tenth of the scored journeys; dashed is the share of outcomes among the "
            "training journeys."
        )
        values = [(str(at), tenth.mean) for at, tenth in enumerate(scores.tenths, start=1)]
        drawn = columns("By decile", caption, values, rate, "decile, highest scores first", "mean probability")
        chart = el("div", drawn, class_="charts wide")
    return joined(
        [
            terms(
                {
                    "Scored": f"{plural(scores.rows, 'journey')} whose outcome is still open, by "
                    f"{scored.model_name} version {scored.model_version}",
                    "Flagged": _flagged(data, scores),
                    "Mean probability": ""
                    if scores.mean is None
                    else f"{percent(scores.mean)}, against {percent(rate)} outcomes among the training journeys",
                    "This run": _state("batch_predictions", data.run.made),
                }
            ),
            chart or note("Too few journeys to be shown by decile."),
        ]
    )


def steps(data: RunReportData) -> Html:
    """How long each step took, and how much memory its process had used by then."""
    run = data.run
    if not run.steps:
        return el("p", "No times were recorded for this run: tracing is switched off, or its table did not answer.")
    stages = by_stage(run.steps)
    longest = max(stage.seconds for stage in stages) or 1.0
    widest = run.peak_mib or 1.0
    body: list[Html] = []
    for stage in stages:
        rows = [_step_row(step, run.made, longest, widest) for step in stage.steps]
        body.append(el("tbody", _stage_row(stage, longest, widest), *rows))
    heads = ("Step", "Time", "Peak memory")
    inside = sum(stage.seconds for stage in stages)
    between = max(run.seconds - inside, 0.0)
    return joined(
        [
            el(
                "p",
                f"{plural(len(run.steps), 'step')} took {duration(inside)} in all; "
                f"{duration(between)} more went to the start, to what lies between steps and to this page.",
            ),
            el(
                "table",
                el("thead", el("tr", *(el("th", head, scope="col") for head in heads))),
                *body,
                class_="times",
            ),
            _missing_times(data),
            note(
                "Peak memory is the highest resident memory of the step's process so far; + says by how much the "
                "step raised it. Where all steps run in one process, a peak is never below an earlier one. Processes "
                "that a step starts, as the one that tries the Bento, are not in it."
            ),
        ]
    )


def commands(data: RunReportData) -> Html:
    """What to do next."""
    return terms({what: el("code", command) for what, command in data.commands.items()})


def _quality(data: RunReportData) -> Gate:
    verdicts = [v for v in data.verdicts if v.gate == "data_quality"]
    passed = sum(v.is_passed for v in verdicts)
    warnings = sum(len(v.warnings) for v in verdicts)
    people = sorted({v.override.actor for v in verdicts if v.override})
    detail = f"{passed} of {plural(len(verdicts), 'table')}"
    detail += f", {plural(warnings, 'warning')}" if warnings else ", no warnings"
    if not verdicts:
        return Gate("Data quality", "", "not asked", "no verdict is kept")
    if people and all(v.is_open for v in verdicts):
        return Gate("Data quality", "warn", "overridden", f"{detail}; the rest on the word of {', '.join(people)}")
    mood = "bad" if passed < len(verdicts) else "good"
    return Gate("Data quality", mood, MOODS[mood], detail)


def _leakage(data: RunReportData) -> Gate:
    return _of_check(data, LEAKAGE, "Leakage", ("none found", "found"), "patients, time, features")


def _parity(data: RunReportData) -> Gate:
    return _of_check(data, PARITY, "Online features", ("as offline", "differ"), "values, absence, time to live")


def _of_check(data: RunReportData, name: str, title: str, words: tuple[str, str], detail: str) -> Gate:
    """What a check of the run says: `words` where it passed and where not."""
    check = next((c for c in data.run.checks if c.name == name), None)
    if check is None:
        return Gate(title, "", "not asked", "not part of this run")
    return Gate(title, "good", words[0], detail) if check.is_passed else Gate(title, "bad", words[1], detail)


def _criteria(data: RunReportData) -> Gate:
    failed = [f for f in data.evaluation.findings if not f.is_passed]
    warned = sum(not f.is_blocking for f in failed)
    fairness = "" if is_regression(data) else "fairness, "
    detail = f"criteria, calibration, slices, {fairness}behaviour{f'; {warned} warned' if warned else ''}"
    if data.evaluation.is_passed:
        return Gate("Evaluation", "good", "passed", detail)
    return Gate("Evaluation", "warn", f"{len(data.evaluation.unmet)} not met", detail)


def _bento(data: RunReportData) -> Gate:
    verdict = next((v for v in data.verdicts if v.gate == "infrastructure"), None)
    if verdict is None:
        return Gate("Bento", "", "not tried", "no verdict is kept")
    rows = f"{plural(len(data.golden.expected), 'golden row')}" if data.golden.expected else "golden request"
    return Gate("Bento", "good", "answers", rows) if verdict.is_passed else Gate("Bento", "bad", "no answer", rows)


def _promotion(data: RunReportData) -> Gate:
    champion = data.promotion.champion if data.promotion else None
    if champion is None:
        return Gate("Promotion", "warn", "held back", "nothing serves yet")
    is_ours = champion.version == data.version.version
    detail = f"{champion.stage}: version {champion.version}"
    return Gate("Promotion", "good" if is_ours else "warn", "champion" if is_ours else "kept out", detail)


def _deployment(data: RunReportData) -> Gate:
    deployed = data.deployment
    if not deployed.bento_tag:
        return Gate("Deployment", "", "none", "nothing was promoted")
    mood = {"active": "good", "failed": "bad", "rolled_back": "warn"}.get(deployed.status, "")
    return Gate("Deployment", mood, deployed.status.replace("_", " "), "make serve starts it")


def _table(name: str, found: TableRef, made: dict[str, bool]) -> Sequence[Content]:
    if found.is_absent:
        return [el("code", name), pill("absent"), "", "", "the source cannot have it", ""]
    known = day(found.known_until) if found.known_until else ""
    version = el("code", found.version[:12], title=found.version)
    return [el("code", name), _state(name, made), count(found.rows), count(len(found.columns)), known, version]


def _state(asset: str, made: dict[str, bool]) -> Html:
    """Whether this run made an asset anew."""
    if asset not in made:
        return pill("from an earlier run")
    return pill("new", "fresh") if made[asset] else pill("unchanged")


def _flagged(data: RunReportData, scores: Scores) -> str:
    """How many are flagged; the threshold is known of this run's version only, not of an older champion."""
    if scores.flagged is None:
        return ""
    said = f"{count(scores.flagged)} ({ratio(scores.flagged, scores.rows)})"
    is_ours = data.predictions.model_version == data.version.version
    return f"{said}, at {figure(data.evaluation.threshold)} or above" if is_ours else said


def _base_rate(data: RunReportData) -> float:
    rows = data.training.split_counts.get("train", 0)
    return data.training.positives.get("train", 0) / rows if rows else 0.0


def _stage_row(stage: StageTime, longest: float, widest: float) -> Html:
    cells = (_amount(duration(stage.seconds), stage.seconds / longest), _peak(stage.peak_mib, "", widest))
    head = el("th", stage.stage, scope="rowgroup")
    return el("tr", head, *(el("td", cell) for cell in cells), class_="stage")


def _step_row(step: StepTime, made: dict[str, bool], longest: float, widest: float) -> Html:
    raised = f"+{memory(step.raised_mib)}" if step.raised_mib and step.raised_mib >= 1 else ""
    cells = (_amount(duration(step.seconds), step.seconds / longest), _peak(step.peak_mib, raised, widest))
    label = joined([el("code", step.name), *_remarks(step, made)])
    kind = "check" if step.is_check else None
    return el("tr", el("th", label, scope="row"), *(el("td", cell) for cell in cells), class_=kind)


def _remarks(step: StepTime, made: dict[str, bool]) -> list[Html]:
    found: list[Html] = []
    if not step.is_ok:
        found.append(pill("failed", "bad"))
    elif not step.is_check and made.get(step.asset) is False:
        found.append(pill("unchanged"))
    if step.attempts > 1:
        found.append(pill(f"{step.attempts} attempts", "warn"))
    return [joined([" ", remark]) for remark in found]


def _amount(text: str, share: float, more: str = "") -> Html:
    bar = el("i", style=f"width:{min(share, 1.0):.2%}")
    return joined([el("span", text, class_="n"), el("span", more, class_="more") if more else None, bar])


def _peak(mib: float | None, raised: str, widest: float) -> Html:
    return Html(MISSING) if mib is None else _amount(memory(mib), mib / widest, raised)


def _missing_times(data: RunReportData) -> Html | None:
    parts: list[str] = []
    if not data.run.are_steps_complete:
        parts.append("Some times are missing: the table of spans did not take them in time.")
    if data.run.elsewhere:
        parts.append(f"Not part of this run: {', '.join(data.run.elsewhere)}.")
    return note(" ".join(parts)) if parts else None


def failed(checks: Sequence[CheckOutcome]) -> tuple[CheckOutcome, ...]:
    """The checks that did not hold."""
    return tuple(check for check in checks if not check.is_passed)
