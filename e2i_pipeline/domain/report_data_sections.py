"""Sections on what the model learned from: rows, defects, audits, features, study."""

from collections.abc import Sequence

from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport, Verdict
from e2i_pipeline.contracts.references import DefectCount, FeatureSpec, TrainingDatasetRef
from e2i_pipeline.domain.overrides import sentence
from e2i_pipeline.domain.report_data import StageResults
from e2i_pipeline.domain.report_parts import (
    MISSING,
    Content,
    Html,
    bullets,
    count,
    day,
    el,
    embedded,
    figure,
    joined,
    moment,
    note,
    percent,
    pill,
    ratio,
    table,
    terms,
)
from e2i_pipeline.domain.report_problem_sections import is_regression
from e2i_pipeline.domain.report_sections import SPLIT_ORDER

TREATMENT_MOODS = {"kept": "warn", "corrected": "", "left out": ""}
"""What was done about a defect, as `DefectCount.treatment` begins, to the mood of its label."""


def training_data(data: StageResults) -> Html:
    """Where the rows came from, and how many there are."""
    training = data.training
    names = [s for s in (*SPLIT_ORDER, *training.split_counts) if s in training.split_counts]
    splits = list(dict.fromkeys(names))
    cuts = data.dataset.cuts
    absent = sorted(name for name, found in data.dataset.tables.items() if found.is_absent)
    return joined(
        [
            _measured_rows(training, splits) if is_regression(data) else _outcome_rows(training, splits),
            terms(
                {
                    "Source": data.source,
                    "Known up to": moment(data.dataset.as_of),
                    "Split by index date": f"train before {day(cuts.train_end)}, validation before "
                    f"{day(cuts.validation_end)}, test before {day(cuts.test_end)}, then holdout; "
                    f"{cuts.gap_days} days of gap after each",
                    "Labels that overlap": f"{count(training.label_overlap)} training labels mature after the "
                    "validation period begins",
                    "Tables the source cannot have": ", ".join(absent),
                    "Dataset version": el("code", training.version),
                }
            ),
            note(
                "Unassigned journeys lie in a gap, would put one patient into two splits, or have an open outcome"
                + (" or one that was not measured." if is_regression(data) else ".")
            ),
        ]
    )


def _outcome_rows(training: TrainingDatasetRef, splits: Sequence[str]) -> Html:
    rows = [
        [
            split,
            count(training.split_counts[split]),
            count(training.positives.get(split)),
            ratio(training.positives[split], training.split_counts[split]) if split in training.positives else MISSING,
        ]
        for split in splits
    ]
    return table(("Split", "Journeys", "Outcomes", "Share"), rows, (1, 2, 3), "Rows per split")


def _measured_rows(training: TrainingDatasetRef, splits: Sequence[str]) -> Html:
    """Of a regression; each journey in a split has a measured outcome."""
    rows = [[split, count(training.split_counts[split])] for split in splits]
    return table(("Split", "Journeys"), rows, (1,), "Rows per split")


def defects(data: StageResults) -> Html:
    """Known kinds of defect in the input, each with what was done about it."""
    found = [d for name in sorted(data.dataset.tables) for d in data.dataset.tables[name].defects]
    if not found:
        return el("p", "No known kind of defect was met on the way in.")
    rows = [_defect(d) for d in found]
    heads = ("Table", "Defect", "Rows", "Of", "Share", "What was done")
    return joined(
        [
            table(heads, rows, (2, 3, 4), "Defects in the input"),
            note("Counted on the source's own tables, before anything was derived from them."),
        ]
    )


def audits(data: StageResults) -> Html:
    """What the suites said, table by table, and what the gates made of it."""
    if not data.reports and not data.verdicts:
        return el("p", "No audit is attached.")
    heads = ("Table and suite", "Passed", "Failed", "Warnings", "Skipped", "Rows passing")
    rows = [_audit(report) for report in data.reports]
    failed = [[r.table, *_failure(o)] for r in data.reports for o in (*r.having("failed"), *r.having("error"))]
    shown = table(("Table", "Expectation", "Column", "Severity", "Found"), failed, (), "Failed expectations")
    return joined(
        [
            table(heads, rows, range(1, 6), "Audits per table") if rows else None,
            note("Skipped expectations are about tables or columns that the source declares it cannot have."),
            el("details", el("summary", _failures(len(failed))), shown) if failed else None,
            verdicts(data.verdicts) if data.verdicts else None,
        ]
    )


def verdicts(found: Sequence[Verdict]) -> Html:
    """What the gates decided: at length where there is something to say, else in a line per gate."""
    silent = [v for v in found if v.is_passed and not v.warnings]
    passed: dict[str, Content] = {}
    for gate in dict.fromkeys(v.gate for v in silent):
        subjects = [el("code", v.key.subject) for v in silent if v.gate == gate]
        listed = joined(part for subject in subjects for part in (", ", subject))
        passed[gate.replace("_", " ")] = joined([pill("passed", "good"), Html(listed.removeprefix(",")), "."])
    rows = [_verdict(v) for v in found if v not in silent]
    return joined(
        [
            el("h3", "Verdicts"),
            table(("Gate", "About", "Verdict", "Remarks"), rows, (), "Verdicts with remarks") if rows else None,
            terms(passed) if passed else None,
        ]
    )


def features(data: StageResults) -> Html:
    """What the model sees, and what it does not see, with the reason."""
    rows = [
        [
            joined([el("code", f.name), el("span", _kind(f), class_="sub")]),
            f.description,
        ]
        for f in data.training.features
    ]
    left = data.registry.left_out
    out: list[Content] = []
    if left:
        reasons = table(
            ("Feature", "Why"), [[el("code", n), reason] for n, reason in sorted(left.items())], (), "Left out"
        )
        out = [el("h3", "Left out"), reasons]
    heads = ("Feature, kind, range and view", "Meaning")
    return joined([table(heads, rows, (), "Features"), *out])


def study(data: StageResults) -> Html:
    """How the hyperparameters were found."""
    tuned = data.study
    trials = ", ".join(f"{count(n)} {state.lower()}" for state, n in tuned.trials.items() if n)
    rows = [[el("code", name), _parameter(value)] for name, value in sorted(tuned.parameters.items())]
    ended = "" if tuned.is_reproducible else "A time-out ended the search, so running it again may find others."
    return joined(
        [
            terms(
                {
                    "Study": el("code", tuned.study),
                    "Trials": trials,
                    "Best value": f"{tuned.metric} {figure(tuned.best_value, 4)} on the validation split",
                    "Took": f"{tuned.seconds:,.0f} s",
                    "Algorithm": tuned.algorithm,
                }
            ),
            el("p", ended) if ended else None,
            _history(data),
            table(("Parameter", "Value"), rows, (1,), "Best parameters"),
        ]
    )


def _history(data: StageResults) -> Html | None:
    if not data.history_plot:
        return None
    alt = f"{data.study.metric} of each trial on the validation split, by algorithm."
    image = embedded(data.history_plot, alt)
    return joined(
        [
            image,
            note("One dot per trial, in the order they were tried; a pruned one stands where it was given up."),
        ]
    )


def _defect(found: DefectCount) -> Sequence[Content]:
    kind = next((known for known in TREATMENT_MOODS if found.treatment.lower().startswith(known)), "")
    rest = found.treatment[len(kind) :].lstrip(" :,;-")
    done = joined([pill(kind, TREATMENT_MOODS[kind]), f" {rest}"]) if kind else found.treatment
    share = ratio(found.rows, found.of_rows)
    return [el("code", found.table), found.defect, count(found.rows), count(found.of_rows), share, done]


def _audit(report: ValidationReport) -> Sequence[Content]:
    failed = report.having("failed")
    warnings = sum(1 for outcome in failed if outcome.severity != "critical")
    name = f"{report.table} ({report.split})" if report.split else report.table
    broken = len(failed) - warnings
    return [
        joined([el("code", name), el("span", report.suite, class_="sub")]),
        count(report.passed),
        pill(count(broken), "bad") if broken else "0",
        pill(count(warnings), "warn") if warnings else "0",
        count(report.skipped),
        percent(report.pass_rate, 2) if any(o.tested_rows for o in report.outcomes) else MISSING,
    ]


def _failures(number: int) -> str:
    return "1 failed expectation" if number == 1 else f"{number} failed expectations"


def _failure(outcome: ExpectationOutcome) -> Sequence[Content]:
    found = outcome.observed or outcome.reason
    if outcome.tested_rows:
        found = f"{count(outcome.unexpected_rows)} of {count(outcome.tested_rows)} rows"
    return [outcome.expectation_type, outcome.column, outcome.severity, found]


def _verdict(found: Verdict) -> Sequence[Content]:
    label, remarks = pill("passed", "good"), (*found.reasons, *found.warnings)
    if found.override:
        label, remarks = pill("overridden", "warn"), (f"{sentence(found.override)}.", *remarks)
    elif not found.is_passed:
        label = pill("blocked", "bad")
    return [found.gate.replace("_", " "), el("code", found.key.subject), label, bullets(remarks) if remarks else ""]


def _kind(feature: FeatureSpec) -> str:
    span = _range(feature.low, feature.high)
    return ", ".join(part for part in (feature.kind, span, feature.view) if part)


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"from {low:g}"
    return f"up to {high:g}" if low is None else f"{low:g} to {high:g}"


def _parameter(value: bool | float | str | None) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
