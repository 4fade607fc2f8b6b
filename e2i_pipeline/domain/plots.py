"""Small pictures for the UI, as PNG bytes. What they show was computed elsewhere."""

# Matplotlib's types are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100


def study_history(trials: Sequence[tuple[int, float, str]]) -> bytes:
    """Value per trial by algorithm, and the best so far is the upper hull.

    Args:
        trials: Trial number, value and algorithm of each finished trial.
    """
    figure = figure_of(6, 2.9)
    axes = figure.subplots()
    for name in sorted({algorithm for _, _, algorithm in trials}):
        points = [(number, value) for number, value, algorithm in trials if algorithm == name]
        axes.scatter(*zip(*points, strict=True), s=10, label=name)
    axes.set(title="Study", xlabel="trial", ylabel="value on validation")
    axes.legend(fontsize=8)
    return png_of(figure)


def figure_of(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches, apart from pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def png_of(figure: "Figure") -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
