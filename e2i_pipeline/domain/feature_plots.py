"""How a dataset's features are spread, as one small picture. What it shows was computed elsewhere."""

# Matplotlib's types are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.statistics import DatasetStatistics, FeatureStatistic
from e2i_pipeline.domain.feature_statistics import nulls_shown
from e2i_pipeline.domain.plots import figure_of, png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 5

MOST_SHOWN = 40
"""Features in one picture; more cannot be read."""

_LONGEST = 16  # characters of a category that fit beside its bar
_BARS = 6


def distributions(statistics: DatasetStatistics) -> bytes:
    """One panel per feature: a histogram, or bars of the most frequent values, with the share of nulls.

    Args:
        statistics: The statistics; of more than `MOST_SHOWN` features the first ones are shown.

    Returns:
        A PNG.
    """
    shown = statistics.features[:MOST_SHOWN]
    lines = max(1, math.ceil(len(shown) / COLUMNS))
    figure = figure_of(2.2 * COLUMNS, 1.55 * lines + 0.35)
    panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axes, statistic in zip(panels, shown, strict=False):
        _panel(axes, statistic, statistics.rows)
    for axes in panels[len(shown) :]:
        axes.axis("off")
    left_out = len(statistics.features) - len(shown)
    more = f"; {left_out} more features are not shown" if left_out else ""
    figure.suptitle(f"{statistics.rows:,} journeys of the {statistics.split} split{more}", fontsize=9)
    return png_of(figure)


def _panel(axes: "Axes", statistic: FeatureStatistic, rows: int) -> None:
    axes.set_title(statistic.feature, fontsize=8)
    axes.tick_params(labelsize=6, length=2)
    axes.set_xlabel(f"null: {nulls_shown(statistic.null_rate, rows)}", fontsize=6, labelpad=1)
    histogram = statistic.histogram
    if histogram is None:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no value" if statistic.unique_count == 0 else "too few values", ha="center", fontsize=7)
    elif histogram.edges:
        widths = [high - low for low, high in zip(histogram.edges, histogram.edges[1:], strict=False)]
        # Bins that were joined are wider: what stands for rows is the area.
        span = histogram.edges[-1] - histogram.edges[0] or 1.0
        heights = [n / (width / span or 1.0) for n, width in zip(histogram.counts, widths, strict=True)]
        widths = [width or 1.0 for width in widths]
        axes.bar(histogram.edges[:-1], heights, width=widths, align="edge", linewidth=0)
        axes.set_yticks([])
    else:
        bars = list(histogram.values.items())[:_BARS]
        rest = histogram.other + sum(list(histogram.values.values())[_BARS:])
        bars += [("other", rest)] if rest else []
        names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name, _ in bars]
        axes.barh(range(len(bars)), [n for _, n in bars], height=0.75)
        axes.set_yticks(range(len(bars)), names)
        axes.invert_yaxis()
