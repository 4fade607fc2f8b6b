"""Curves and columns as inline SVG that follows the page's colours, in light, in dark and on paper."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from e2i_pipeline.domain.report_parts import Html, el, joined

WIDTH, HEIGHT = 320, 232
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40

FROM_SHARE = 0.01
"""Smallest share flagged that the lift curve shows: below it a handful of rows make it jump."""

Points = Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """One line chart.

    Attributes:
        title: Above the chart.
        caption: How to read it.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        points: The curve, at least one point.
        reference: What no skill or perfection would look like; drawn dashed.
        top: Upper end of the vertical axis; the lower is 0, the horizontal axis goes from 0 to `right`.
        right: Right end of the horizontal axis.
        is_dotted: Whether each point is drawn.
        before: Another curve to hold it against, drawn faint.
    """

    title: str
    caption: str
    x: str
    y: str
    points: Points
    reference: Points
    top: float = 1.0
    right: float = 1.0
    is_dotted: bool = False
    before: Points = ()


def charts(curves: Mapping[str, Mapping[str, Sequence[float]]], base_rate: float) -> list[Html]:
    """Draws what `metrics.curves` gave; a curve that is not there is left out.

    Args:
        curves: `roc`, `pr`, `calibration`, `lift`.
        base_rate: Share of positives in the rows behind them, 0..1.
    """
    found: list[Chart] = []
    if roc := _points(curves, "roc", "fpr", "tpr"):
        caption = "Share of the outcomes found against share of the others flagged; the diagonal is chance."
        found.append(Chart("ROC", caption, "false positive rate", "true positive rate", roc, [(0, 0), (1, 1)]))
    if pr := _points(curves, "pr", "recall", "precision"):
        caption = "How many of the flagged have the outcome; dashed is flagging everyone."
        line = [(0.0, base_rate), (1.0, base_rate)]
        found.append(Chart("Precision and recall", caption, "recall", "precision", pr, line))
    if calibration := _points(curves, "calibration", "predicted", "observed"):
        caption = "Observed share by predicted probability; on the diagonal the model means what it says."
        before = _points(curves, "calibration_before", "predicted", "observed")
        caption += " Faint: before recalibration." if before else ""
        end = _round_up(max(max(point) for point in (*calibration, *before)))
        diagonal = [(0.0, 0.0), (end, end)]
        found.append(
            Chart("Calibration", caption, "predicted", "observed", calibration, diagonal, end, end, True, before)
        )
    if lift := [point for point in _points(curves, "lift", "flagged", "lift") if point[0] >= FROM_SHARE]:
        caption = f"Outcomes among the flagged over the base rate, from the top {FROM_SHARE:.0%} on; dashed is chance."
        end = _round_up(max(y for _, y in lift))
        found.append(Chart("Lift", caption, "share flagged", "times the base rate", lift, [(0, 1), (1, 1)], end))
    if decision := _points(curves, "decision", "threshold", "model"):
        found.append(_decision(decision, _points(curves, "decision", "threshold", "all")))
    return [draw(chart) for chart in found]


def _decision(model: Points, everybody: Points) -> Chart:
    """The decision curve from a net benefit of 0, which is that of acting on nobody, upwards."""
    caption = (
        "What acting on scores above a threshold is worth, per journey; dashed is acting on everybody, the axis on "
        "nobody."
    )
    top = _round_up(max(*(y for _, y in model), 0.01))
    reference = [(x, y) for x, y in everybody if y >= 0] or [(0.0, 0.0)]
    return Chart(
        "Decision curve",
        caption,
        "threshold probability",
        "net benefit",
        model,
        reference,
        top,
        _round_up(model[-1][0]),
    )


def draw(chart: Chart) -> Html:
    """One chart as a figure with its caption."""
    faint = [_line(chart, chart.before, "before")] if chart.before else []
    curve = [_line(chart, chart.reference, "ref"), *faint, _line(chart, chart.points, "curve")]
    return _figure(chart, [_axis(chart), *curve, *([_dots(chart)] if chart.is_dotted else [])])


def _figure(chart: Chart, parts: Sequence[Html]) -> Html:
    picture = el(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{chart.title}: {chart.y} against {chart.x}",
    )
    return el("figure", el("figcaption", el("b", chart.title), el("span", chart.caption)), picture, class_="chart")


def columns(title: str, caption: str, values: Sequence[tuple[str, float]], reference: float, x: str, y: str) -> Html:
    """Columns of shares, each under its figure, over a dashed line to hold them against.

    Args:
        title: Above the chart.
        caption: How to read it.
        values: Label and share, 0..1, of each column.
        reference: Share at which the line is drawn.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
    """
    end = _round_up(max(reference, *(value for _, value in values)))
    chart = Chart(title, caption, x, y, (), [(0.0, reference), (1.0, reference)], end)
    parts: list[Html] = []
    figures: list[Html] = []
    for at, (label, value) in enumerate(values):
        left, top = _place(chart, (at + 0.12) / len(values), value)
        right, bottom = _place(chart, (at + 0.88) / len(values), 0)
        middle, width = round((left + right) / 2, 1), round(right - left, 1)
        parts.append(el("rect", x=left, y=top, width=width, height=round(bottom - top, 1), class_="column"))
        figures.append(el("text", f"{value:.0%}", x=middle, y=top - 4, text_anchor="middle", class_="figure"))
        figures.append(el("text", label, x=middle, y=bottom + 15, text_anchor="middle"))
    return _figure(chart, [_axis(chart, with_steps=False), *parts, _line(chart, chart.reference, "ref"), *figures])


def _points(
    curves: Mapping[str, Mapping[str, Sequence[float]]], name: str, x: str, y: str
) -> list[tuple[float, float]]:
    curve = curves.get(name, {})
    return [(float(a), float(b)) for a, b in zip(curve.get(x, ()), curve.get(y, ()), strict=False)]


def _place(chart: Chart, x: float, y: float) -> tuple[float, float]:
    across = LEFT + (WIDTH - LEFT - RIGHT) * min(max(x / chart.right, 0.0), 1.0)
    down = TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(y / chart.top, 0.0), 1.0))
    return round(across, 1), round(down, 1)


def _line(chart: Chart, points: Points, name: str) -> Html:
    steps = " L".join(f"{x} {y}" for x, y in (_place(chart, *point) for point in points))
    return el("path", d=f"M{steps}", class_=name)


def _dots(chart: Chart) -> Html:
    places = (_place(chart, *point) for point in chart.points)
    return joined(el("circle", cx=x, cy=y, r=3, class_="dot") for x, y in places)


def _axis(chart: Chart, with_steps: bool = True) -> Html:
    """Both axes with their names; `with_steps` false leaves the marks below the horizontal one to the caller."""
    parts: list[Html] = []
    for step in range(5):
        share = step / 4
        x, bottom = _place(chart, share * chart.right, 0)
        left, y = _place(chart, 0, share * chart.top)
        parts.append(el("line", x1=left, y1=y, x2=WIDTH - RIGHT, y2=y, class_="grid"))
        parts.append(el("text", _tick(share * chart.top), x=left - 6, y=y + 3.5, text_anchor="end"))
        if with_steps:
            parts.append(el("text", _tick(share * chart.right), x=x, y=bottom + 15, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(el("text", chart.x, x=middle, y=HEIGHT - 6, text_anchor="middle", class_="name"))
    turned = f"translate(11 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"
    parts.append(el("text", chart.y, transform=turned, text_anchor="middle", class_="name"))
    return joined(parts)


def _tick(value: float) -> str:
    return f"{value:.3g}"


def _round_up(value: float) -> float:
    """The next end of an axis whose quarters are short numbers."""
    for end in (0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0):
        if value <= end:
            return end
    return value
