"""Small pictures of overlap and effects, as PNG bytes. What they show was computed elsewhere."""

# Matplotlib's types are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.causal import EffectFigure
from e2i_pipeline.domain.causal.evaluation import Evaluation
from e2i_pipeline.domain.causal.overlap import BALANCED, Balance
from e2i_pipeline.domain.plots import figure_of, png_of

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

BINS = 40
MOST_COVARIATES = 15


def overlap_plot(
    treatment: "np.ndarray", expected: "np.ndarray", is_kept: "np.ndarray", balance: Sequence[Balance], is_binary: bool
) -> bytes:
    """Who has a chance of which treatment, and how covariates differ with it before and after weighting.

    Args:
        treatment: (rows,).
        expected: E[T|X], (rows,): the propensity of a binary treatment.
        is_kept: Whether each row is within the bounds (rows,).
        balance: The worst first.
        is_binary: Whether the treatment is 0 or 1.
    """
    figure = figure_of(11, 3.4)
    left, right = figure.subplots(1, 2)
    if is_binary:
        for arm, name in ((1, "treated"), (0, "not treated")):
            left.hist(expected[treatment == arm], bins=BINS, range=(0, 1), alpha=0.5, density=True, label=name)
        left.set(title="Propensity", xlabel="probability of treatment", ylabel="density")
    else:
        left.hist(treatment[is_kept] - expected[is_kept], bins=BINS, alpha=0.6, density=True, label="within bounds")
        if (~is_kept).any():
            left.hist(treatment[~is_kept] - expected[~is_kept], bins=BINS, alpha=0.6, density=True, label="trimmed")
        left.set(title="Treatment beyond what the confounders say", xlabel="points", ylabel="density")
    left.legend(fontsize=8)
    _love(right, balance[:MOST_COVARIATES], is_binary)
    return png_of(figure)


def _love(axes: "Axes", balance: Sequence[Balance], is_binary: bool) -> None:
    names = [one.covariate for one in balance][::-1]
    axes.scatter([abs(one.before) for one in balance][::-1], names, marker="o", facecolors="none", edgecolors="grey")
    axes.scatter([abs(one.after) for one in balance][::-1], names, marker="o", s=14)
    axes.axvline(BALANCED, linestyle=":", color="grey")
    what = "standardized mean difference" if is_binary else "correlation with the treatment"
    axes.set(title="Balance: before (open) and after weighting", xlabel=what)
    axes.tick_params(axis="y", labelsize=7)


def effect_plot(evaluation: Evaluation) -> bytes:
    """Effects by segment, the gain of targeting, and predicted against found effects."""
    figure = figure_of(12, 3.2)
    segments, curve, calibration = figure.subplots(1, 3)
    _intervals(segments, (evaluation.average, *evaluation.segments))
    segments.set(title="Effect by segment", xlabel="effect, with its interval of 95 %")
    drawn = evaluation.curve
    curve.plot(drawn.share, drawn.gain)
    curve.fill_between(drawn.share, drawn.low, drawn.high, alpha=0.2)
    curve.axhline(0, linestyle=":", color="grey")
    curve.set(title="Gain of choosing by predicted effect", xlabel="share chosen", ylabel="effect beyond the average")
    groups = evaluation.calibration.groups
    predicted, found = [g.predicted for g in groups], [g.found.value for g in groups]
    error = [[g.found.value - g.found.low for g in groups], [g.found.high - g.found.value for g in groups]]
    calibration.errorbar(predicted, found, yerr=error, fmt="o", markersize=4)
    calibration.axline((predicted[0], predicted[0]), slope=1, linestyle=":", color="grey")
    calibration.set(title="Calibration of effects", xlabel="predicted", ylabel="found")
    return png_of(figure)


def _intervals(axes: "Axes", figures: Sequence[EffectFigure]) -> None:
    ordered = list(figures)[::-1]
    values = [one.value for one in ordered]
    error = [[one.value - one.low for one in ordered], [one.high - one.value for one in ordered]]
    axes.errorbar(values, [one.name for one in ordered], xerr=error, fmt="o", markersize=4)
    axes.axvline(0, linestyle=":", color="grey")
    axes.tick_params(axis="y", labelsize=7)
