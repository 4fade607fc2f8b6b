"""Small pictures of a study for the UI, as PNG bytes."""

# Matplotlib's types are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from typing import Any

from e2i_pipeline.domain.plots import figure_of, png_of, study_history

Trial = tuple[int, float, str, Mapping[str, Any]]
"""Slot, value, algorithm and parameters of a finished trial."""

_FEWEST_LINES = 2
_MOST_LINES = 40
"""Trials of an algorithm that are drawn over its parameters, the best ones: of more, no line can be followed."""


def study_plots(
    trials: Sequence[Trial], importances: Mapping[str, Mapping[str, float]], *, is_maximized: bool
) -> dict[str, bytes]:
    """History, importances and parallel coordinates.

    Args:
        trials: The finished trials.
        importances: Per algorithm: parameter to its share.
        is_maximized: Whether larger values are better.

    Returns:
        PNG by name; importances and parallel coordinates only where there is something to see.
    """
    pictures = {"history": study_history([(slot, value, name) for slot, value, name, _ in trials])}
    if importances:
        pictures["importances"] = _importances(importances)
    by_algorithm = {name: [t for t in trials if t[2] == name] for name in sorted({t[2] for t in trials})}
    shown = {name: found for name, found in by_algorithm.items() if len(_varied(found)) >= _FEWEST_LINES}
    if shown:
        pictures["parallel coordinates"] = _parallel(shown, is_maximized)
    return pictures


def _importances(importances: Mapping[str, Mapping[str, float]]) -> bytes:
    longest = max(len(shares) for shares in importances.values())
    figure = figure_of(4.5 * len(importances), 1.0 + 0.25 * longest)
    panels = figure.subplots(1, len(importances), squeeze=False)[0]
    for axes, (name, shares) in zip(panels, importances.items(), strict=True):
        ordered = sorted(shares.items(), key=lambda share: share[1])
        axes.barh([parameter for parameter, _ in ordered], [share for _, share in ordered])
        axes.set(title=name, xlabel="share of importance", xlim=(0, 1))
    return png_of(figure)


def _parallel(trials: Mapping[str, Sequence[Trial]], is_maximized: bool) -> bytes:
    """One line per trial over its parameters, each by the rank of its value; the best is drawn last."""
    figure = figure_of(9, 2.6 * len(trials))
    panels = figure.subplots(len(trials), 1, squeeze=False)
    for (axes,), (name, found) in zip(panels, trials.items(), strict=True):
        varied = _varied(found)
        places = {p: _places([t[3].get(p) for t in found]) for p in varied}
        ranked = sorted(range(len(found)), key=lambda i: found[i][1], reverse=not is_maximized)[-_MOST_LINES:]
        for rank, i in enumerate(ranked):
            share = rank / max(len(ranked) - 1, 1)
            axes.plot(varied, [places[p][i] for p in varied], color=(1 - share, 0.4, share), alpha=0.2 + 0.6 * share)
        axes.set(title=f"{name}: blue is better", yticks=(0, 1), yticklabels=("low", "high"))
        axes.tick_params(axis="x", labelsize=7)
    return png_of(figure)


def _varied(trials: Sequence[Trial]) -> list[str]:
    names = sorted({name for t in trials for name in t[3]})
    return [name for name in names if len({repr(t[3].get(name)) for t in trials}) > 1]


def _places(values: Sequence[Any]) -> list[float]:
    """Each value's place between the smallest and the largest one, 0..1: by rank, which suits any scale."""
    ordered = sorted({value for value in values if value is not None}, key=lambda v: (isinstance(v, str), v))
    return [ordered.index(v) / max(len(ordered) - 1, 1) if v is not None else float("nan") for v in values]
