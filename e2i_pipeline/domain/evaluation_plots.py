"""Pictures of an evaluation for the UI, as PNG bytes: curves, slices, fairness. They show what others computed."""

# Matplotlib's types are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.evaluation import GroupDifference, Interval, SliceFloor
from e2i_pipeline.domain.plots import figure_of, png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Curves = Mapping[str, Mapping[str, Sequence[float]]]

MOST_SLICES = 30
"""Slices that a picture shows; the model card's tables have all of them."""


def evaluation_plots(
    curves: "Curves", floors: Sequence[SliceFloor] = (), differences: Sequence[GroupDifference] = ()
) -> dict[str, bytes]:
    """Draws what an evaluation found.

    Args:
        curves: What `judgement.Judgement.curves` holds; a curve that is not there is left out.
        floors: Slices against their floors.
        differences: Differences between groups.

    Returns:
        PNGs by name: `curves`, and `slices` and `fairness` where there are any.
    """
    drawn = {"curves": _residuals(curves["residuals"]) if "residuals" in curves else _curves(curves)}
    if floors:
        drawn["slices"] = _slices(floors[:MOST_SLICES])
    if differences:
        drawn["fairness"] = _fairness(differences)
    return drawn


def _curves(curves: "Curves") -> bytes:
    """ROC, precision-recall, calibration (before and after), lift and the decision curve side by side."""
    draw = {"roc": _roc, "pr": _pr, "calibration": _calibration, "lift": _lift, "decision": _decision}
    panels = [name for name in draw if name in curves]
    figure = figure_of(2.75 * len(panels), 2.9)
    for name, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        draw[name](axes, curves)
    return png_of(figure)


def _roc(axes: "Axes", curves: "Curves") -> None:
    axes.plot(curves["roc"]["fpr"], curves["roc"]["tpr"])
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")


def _pr(axes: "Axes", curves: "Curves") -> None:
    axes.plot(curves["pr"]["recall"], curves["pr"]["precision"])
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))


def _calibration(axes: "Axes", curves: "Curves") -> None:
    before, after = curves.get("calibration_before"), curves["calibration"]
    if before:
        axes.plot(before["predicted"], before["observed"], marker="o", markersize=3, color="silver", label="before")
    axes.plot(after["predicted"], after["observed"], marker="o", markersize=3, label="after")
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set(title="Calibration", xlabel="predicted", ylabel="observed")
    if before:
        axes.legend(fontsize=7, title="recalibration", title_fontsize=7)


def _lift(axes: "Axes", curves: "Curves") -> None:
    axes.plot(curves["lift"]["flagged"], curves["lift"]["lift"])
    axes.set(title="Lift", xlabel="share flagged", ylabel="lift over base rate")


def _decision(axes: "Axes", curves: "Curves") -> None:
    found = curves["decision"]
    axes.plot(found["threshold"], found["model"], label="model")
    axes.plot(found["threshold"], found["all"], color="grey", linestyle="--", label="treat all")
    axes.axhline(0, color="grey", linestyle=":", label="treat none")
    top = max(*found["model"], *found["all"], 0.01)
    axes.set(title="Decision curve", xlabel="threshold probability", ylabel="net benefit")
    axes.set_ylim(-0.15 * top, 1.1 * top)
    axes.legend(fontsize=7)


def _residuals(found: Mapping[str, Sequence[float]]) -> bytes:
    """Predicted against observed, and the middle 80 % of the residuals, per group of equal size."""
    figure = figure_of(6, 2.9)
    line, spread = figure.subplots(1, 2)
    ends = [min(*found["predicted"], *found["observed"]), max(*found["predicted"], *found["observed"])]
    line.plot(ends, ends, linestyle=":", color="grey")
    line.plot(found["predicted"], found["observed"], marker="o", markersize=3)
    line.set(title="Calibration", xlabel="predicted", ylabel="observed")
    spread.fill_between(found["predicted"], found["low"], found["high"], alpha=0.3)
    spread.axhline(0, linestyle=":", color="grey")
    spread.set(title="Residuals, 10 % to 90 %", xlabel="predicted", ylabel="observed - predicted")
    return png_of(figure)


def _slices(floors: Sequence[SliceFloor]) -> bytes:
    """A forest plot: each slice's score with its interval, and the bound."""
    labels = [f"{one.column}: {one.value} ({one.rows})" for one in floors]
    figure = figure_of(7, 0.9 + 0.22 * len(floors))
    axes = figure.subplots()
    _forest(axes, labels, [one.score for one in floors], [one.is_met for one in floors])
    axes.axvline(floors[0].floor, linestyle="--", color="firebrick", linewidth=1)
    axes.set(title="Slices, simultaneous intervals; dashed: the bound", xlabel="score")
    return png_of(figure)


def _fairness(differences: Sequence[GroupDifference]) -> bytes:
    """The difference that each column and measure is judged by."""
    labels = [f"{one.column}, {one.measure.replace('_', ' ')}: {one.highest} over {one.lowest}" for one in differences]
    figure = figure_of(7, 0.9 + 0.28 * len(differences))
    axes = figure.subplots()
    _forest(axes, labels, [one.difference for one in differences], [one.is_within for one in differences])
    for place, one in enumerate(differences):
        axes.plot([one.bound, one.bound], [-place - 0.35, -place + 0.35], color="firebrick", linewidth=1)
    axes.set(title="Differences between groups; red: the bound", xlabel="difference of rates", xlim=(-0.02, None))
    return png_of(figure)


def _forest(axes: "Axes", labels: Sequence[str], values: Sequence[Interval], held: Sequence[bool]) -> None:
    for place, (value, is_held) in enumerate(zip(values, held, strict=True)):
        if value.estimate is None or value.low is None or value.high is None:
            continue
        colour = "tab:blue" if is_held else "firebrick"
        axes.plot([value.low, value.high], [-place, -place], color=colour, linewidth=1)
        axes.plot([value.estimate], [-place], marker="o", markersize=3, color=colour)
    axes.set_yticks([-place for place in range(len(labels))], labels, fontsize=7)
