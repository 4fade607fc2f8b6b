"""Sections on the model: purpose, criteria, performance, slices, drivers.

Sections on the data stand in `report_data_sections`, on use and limits in `report_use_sections`.
"""

from collections.abc import Callable, Mapping, Sequence

from e2i_pipeline.contracts.evaluation import SliceFloor
from e2i_pipeline.domain.metrics import MINIMUM_CELL
from e2i_pipeline.domain.report_charts import charts
from e2i_pipeline.domain.report_data import SliceTable, StageResults
from e2i_pipeline.domain.report_evaluation_sections import interval
from e2i_pipeline.domain.report_parts import (
    Content,
    Html,
    bullets,
    count,
    el,
    embedded,
    figure,
    joined,
    note,
    percent,
    pill,
    table,
    terms,
    times,
)
from e2i_pipeline.domain.report_problem_sections import errors_by_level, is_regression, regression_criteria

SPLIT_ORDER = ("train", "validation", "test", "holdout")

Written = Callable[[float | None], str]

METRICS: tuple[tuple[str, str, Written], ...] = (
    ("rmse", "RMSE", figure),
    ("mae", "MAE", figure),
    ("r2", "R2", figure),
    ("auc", "AUC", figure),
    ("pr_auc", "Average precision", figure),
    ("base_rate", "Base rate", percent),
    ("precision_at_k", "Precision at capacity", percent),
    ("lift_at_k", "Lift at capacity", times),
    ("recall_at_k", "Recall at capacity", percent),
    ("fpr", "False positive rate", percent),
    ("brier", "Brier score", figure),
    ("calibration_slope", "Calibration slope", times),
    ("calibration_intercept", "Calibration intercept", times),
    ("ece", "Calibration error", figure),
    ("log_loss", "Log loss", figure),
)
"""Name in the evaluation, name on the page and how it is written, in the order shown."""

MAX_BARS = 20


def purpose(data: StageResults) -> Html:
    """What is predicted, for whom and when."""
    scope = data.scope
    history = "all of it" if scope.observation_window_days is None else f"the last {scope.observation_window_days} days"
    return terms(
        {
            "Predicts": f"{scope.target}, as a number; measured within {scope.prediction_horizon_days} days"
            if is_regression(data)
            else f"{scope.target} within {scope.prediction_horizon_days} days, as a probability from 0 to 1",
            "For": scope.population,
            "Prediction time": "the journey's index date plus the configured lag; a feature sees only what had "
            "happened and was known by then",
            "History used": history,
            "Flags": ""
            if is_regression(data)
            else f"scores of {figure(data.evaluation.threshold, 4)} and above, which is the top "
            f"{percent(scope.capacity, 0)} of the validation split",
            "Algorithm": data.study.algorithm,
            "Stage": joined([pill(data.version.stage, "good" if data.version.stage == "production" else "")]),
        }
    )


def criteria(data: StageResults) -> Html:
    """The success criteria, set before training, and what the test split gave."""
    scope, found = data.scope, data.evaluation.metrics.get("test", {})
    if is_regression(data):
        return regression_criteria(data)
    share = percent(scope.capacity, 0)
    wanted: tuple[tuple[str, float | None, str, Written, float, bool], ...] = (
        ("AUC", found.get("auc"), f"at least {figure(scope.minimum_auc, 2)}", figure, scope.minimum_auc, True),
        (
            f"Lift among the top {share}",
            found.get("lift_at_k"),
            f"at least {figure(scope.minimum_precision_at_k, 2)} times the base rate",
            times,
            scope.minimum_precision_at_k,
            True,
        ),
        (
            f"False positive rate when flagging the top {share}",
            found.get("fpr"),
            f"at most {percent(scope.maximum_fpr, 0)}",
            percent,
            scope.maximum_fpr,
            False,
        ),
    )
    rows: list[list[Content]] = []
    for name, value, bound, written, limit, is_minimum in wanted:
        is_met = value is not None and (value >= limit if is_minimum else value <= limit)
        rows.append([name, bound, written(value), pill("met", "good") if is_met else pill("not met", "bad")])
    said = bullets(data.evaluation.unmet) if data.evaluation.unmet else None
    return joined([table(("Criterion", "Set before", "Test split", ""), rows, (2, 3), "Success criteria"), said])


def performance(data: StageResults) -> Html:
    """Metrics per split, and the curves of the test split."""
    metrics = data.evaluation.metrics
    splits = [s for s in SPLIT_ORDER if s in metrics] + [s for s in metrics if s not in SPLIT_ORDER]
    intervals = data.evaluation.intervals
    rows = [
        [
            name,
            *(written(metrics[split].get(key)) for split in splits),
            *([interval(intervals.get(key))] if intervals else []),
        ]
        for key, name, written in METRICS
        if any(key in metrics[split] for split in splits)
    ]
    capacity = "" if is_regression(data) else f"Capacity is the top {percent(data.scope.capacity, 0)}. "
    return joined(
        [
            table(
                ("Metric", *splits, *(["test, interval"] if intervals else [])),
                rows,
                range(1, len(splits) + 1),
                "Metrics per split",
            ),
            note(
                f"{capacity}Train figures flatter: the model learned from them. Test journeys begin after all training "
                "journeys."
            ),
            errors_by_level(data) if is_regression(data) else _drawn(data),
        ]
    )


def slices(data: StageResults) -> Html | None:
    """Metrics per group of the test split."""
    if not data.slices:
        return None
    floors = {(one.column, one.value): one for one in data.detail.floors}
    floor = f" {figure(data.detail.floors[0].floor)}" if data.detail.floors else ""
    below = "" if is_regression(data) else ", nor what would tell of fewer with or without an outcome"
    parts: list[Content] = [
        note(
            f"Test split. Groups of fewer than {MINIMUM_CELL} journeys are not shown{below}. Marked: a group whose "
            f"whole interval lies beyond the bound{floor}. Intervals hold for all groups together; small groups vary "
            "by chance alone."
        )
    ]
    for column, found in data.slices.items():
        shown = _error_table(column, found, floors) if is_regression(data) else _slice_table(column, found, floors)
        parts += [el("h3", column), shown, _suppressed(found)]
    return joined(parts)


def drivers(data: StageResults) -> Html:
    """What moves the scores."""
    # a reference that was stored and read back has lost its order
    shown = sorted(data.attribution.importance.items(), key=lambda item: -item[1])[:MAX_BARS]
    widest = max((share for _, share in shown), default=0.0) or 1.0
    left = len(data.attribution.importance) - len(shown)
    unit = data.scope.target if data.attribution.unit == "outcome" else data.attribution.unit
    picture = None
    if data.summary_plot:
        image = embedded(
            data.summary_plot, "SHAP values of the sampled journeys per feature; the figures stand in the list above."
        )
        caption = note(
            "One dot per sampled journey and feature: right of the line it raised the score, left it lowered it. Red "
            "or pink is a high value, blue a low one, grey a category or a missing value."
        )
        picture = joined([el("h3", "Per journey"), image, caption])
    return joined(
        [
            bullets(data.narrative) if data.narrative else None,
            el("div", *(_bar(name, share, widest) for name, share in shown), class_="bars"),
            note(f"{left} more features carry the rest.") if left > 0 else None,
            picture,
            note(
                f"Share of the mean absolute SHAP value over {count(data.attribution.rows)} journeys of the test "
                f"split, in units of {unit}; {data.attribution.method}; base value "
                f"{figure(data.attribution.base_value)}."
            ),
        ]
    )


def _drawn(data: StageResults) -> Html:
    rate = data.evaluation.metrics.get("test", {}).get("base_rate", 0.0)
    drawn = charts(data.curves, rate)
    return el("div", *drawn, class_="charts") if drawn else note("Curves were not kept for this evaluation.")


Floors = Mapping[tuple[str, str], SliceFloor]


def _slice_table(column: str, found: SliceTable, floors: Floors) -> Html:
    heads = ("Group", "Journeys", "Outcomes", "Base rate", "AUC", "Interval", "Lift", "FPR", "Calibration slope")
    rows = [_slice_row(value, metrics, floors.get((column, value))) for value, metrics in _largest_first(found)]
    return table(heads, rows, range(1, len(heads)), f"Metrics by {column}")


def _error_table(column: str, found: SliceTable, floors: Floors) -> Html:
    rows: list[list[Content]] = []
    for value, metrics in _largest_first(found):
        bound = floors.get((column, value))
        error = _marked(metrics.get("rmse"), bound)
        reach = interval(bound.score) if bound else ""
        rows.append([value, count(metrics.get("rows")), error, reach, figure(metrics.get("r2"))])
    return table(("Group", "Journeys", "RMSE", "Interval", "R2"), rows, range(1, 5), f"Errors by {column}")


def _slice_row(value: str, metrics: dict[str, float | None], floor: SliceFloor | None) -> Sequence[Content]:
    positives = metrics.get("positives")
    is_shown = positives is not None and positives >= MINIMUM_CELL
    return [
        value,
        count(metrics.get("rows")),
        count(positives) if is_shown else "too few to tell",
        percent(metrics.get("base_rate")) if is_shown else "",
        _marked(metrics.get("auc"), floor),
        interval(floor.score) if floor else "",
        times(metrics.get("lift_at_k")),
        percent(metrics.get("fpr")),
        times(metrics.get("calibration_slope")),
    ]


def _largest_first(found: SliceTable) -> list[tuple[str, dict[str, float | None]]]:
    """The slices; what was stored and read back has lost its order."""
    return sorted(found.metrics.items(), key=lambda item: -(item[1].get("rows") or 0))


def _marked(score: float | None, floor: SliceFloor | None) -> Content:
    return pill(figure(score), "warn") if floor and not floor.is_met else figure(score)


def _suppressed(found: SliceTable) -> Html | None:
    if not found.suppressed:
        return None
    rows = f", {count(found.suppressed_rows)} journeys in all" if found.suppressed_rows is not None else ""
    return note(f"{found.suppressed} smaller groups are not shown{rows}.")


def _bar(name: str, share: float, widest: float) -> Html:
    bar = el("div", el("i", style=f"width:{share / widest:.1%}"), class_="bar")
    return joined([el("div", name, class_="name"), bar, el("div", percent(share), class_="n")])
