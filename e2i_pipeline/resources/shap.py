"""SHAP: attributions of a model's scores, and their plots.

Auxiliary where it draws, essential where it computes. The values come from closed forms in `domain.attribution`; the
`shap` package (2.5 s to import) is loaded for its plots alone. A sample's rows belong to patients: plots show many of
them at once, and `explain_instance` is for whoever may see the row.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.domain.attribution import (
    METHODS,
    Attribution,
    InstanceExplanation,
    Interaction,
    attribute,
    explanation_of,
    importance,
    interactions,
    largest_gap,
    margins,
    reference_point,
    stacked,
)
from e2i_pipeline.domain.learners import TREE
from e2i_pipeline.errors import ToolRejected

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from e2i_pipeline.domain.algorithms import ScoringModel

ADDITIVITY_TOLERANCE = 1e-3
"""Largest gap between a row's margin and the sum of its values: XGBoost adds in single precision (about 1e-6 per
tree); 1e-3 of log-odds is at most 0.00025 in probability. Of a regression, per 1 of the largest margin above 1."""

INTERACTION_ROWS = 100
"""Rows of the sample for interactions, which cost about 50 times an attribution."""

AUTO = "auto"
DPI = 100


class ShapResource(dg.ConfigurableResource):
    """Attributions and plots.

    Attributes:
        explainer_type: `auto` (after the model's algorithm), `tree` or `linear`.
        max_samples: Rows of a sample, and rows that are computed at a time.
        check_additivity: Whether each row's values are checked to sum to its margin.
        max_display: Features in a plot; the smaller ones are drawn as one.
    """

    explainer_type: str = AUTO
    max_samples: int = 1000
    check_additivity: bool = True
    max_display: int = 20

    def sample(self, frame: "pd.DataFrame", seed: int) -> "pd.DataFrame":
        """At most `max_samples` rows, chosen at random by `seed`, in the frame's order and with its index."""
        if len(frame) <= self.max_samples:
            return frame
        return frame.sample(n=self.max_samples, random_state=seed).sort_index()

    def compute_shap_values(
        self, model: "ScoringModel", frame: "pd.DataFrame", algorithm: str = AUTO, reference: tuple[float, ...] = ()
    ) -> Attribution:
        """SHAP values of every row of `frame` on the model's margin, computed `max_samples` rows at a time.

        Args:
            model: The model.
            frame: Raw features, at least one row.
            algorithm: `auto`, `tree` or `linear`; `auto` takes `explainer_type`.
            reference: For a linear model, where its values start; empty takes the mean of `frame`.

        Returns:
            Values per raw feature.

        Raises:
            ToolRejected: The algorithm does not fit the model, there are no rows, or a row's values do not sum to its
                margin.
        """
        self._check_kind(model, self.explainer_type if algorithm == AUTO else algorithm)
        if not len(frame):
            raise ToolRejected("There are no rows to explain: give at least one, e.g. of the test split.")
        if model.algorithm.explainer != TREE and not reference:
            reference = reference_point(model, frame)
        parts = [frame.iloc[start : start + self.max_samples] for start in range(0, len(frame), self.max_samples)]
        attributions = [attribute(model, part, reference) for part in parts]
        if self.check_additivity:
            self._check_gaps(model, attributions, [margins(model, part) for part in parts])
        return stacked(attributions)

    def compute_feature_importance(self, attribution: Attribution) -> dict[str, float]:
        """Mean absolute value per feature, normalized to a sum of 1, largest first."""
        return importance(attribution)

    def compute_interactions(self, model: "ScoringModel", frame: "pd.DataFrame", seed: int = 0) -> list[Interaction]:
        """Mean absolute interaction of each pair of features over at most `INTERACTION_ROWS` rows, strongest first.

        Raises:
            ToolRejected: The model is linear or its library does not know interactions, or there are no rows.
        """
        self._check_kind(model, TREE)
        if not model.algorithm.has_interactions:
            raise ToolRejected(
                f"{model.manifest.algorithm} does not tell how features interact. Its values per feature are there; "
                "for interactions take another algorithm."
            )
        if not len(frame):
            raise ToolRejected("There are no rows to compute interactions from: give at least one.")
        small = frame if len(frame) <= INTERACTION_ROWS else frame.sample(n=INTERACTION_ROWS, random_state=seed)
        return interactions(model, small)

    def explain_instance(self, model: "ScoringModel", frame: "pd.DataFrame", row: int = 0) -> InstanceExplanation:
        """Takes one row's score apart.

        Args:
            model: The model.
            frame: Raw features. A linear model's explanation starts from the mean of all its rows: give the rows that
                the one is to be compared with.
            row: Position of the row in `frame`.
        """
        reference = () if model.algorithm.explainer == TREE else reference_point(model, frame)
        one = frame.iloc[[row]]
        attribution = self.compute_shap_values(model, one, reference=reference)
        return explanation_of(attribution, 0, float(model.predict(one)[0]))

    def summary_plot(self, attribution: Attribution, frame: "pd.DataFrame") -> bytes:
        """A PNG with one dot per row and feature: right of the line it raised the score, red is a high value.

        Args:
            attribution: Values of the rows of `frame`.
            frame: Raw features. Categories have no order and are drawn grey.
        """
        return self._draw(lambda shap: shap.plots.beeswarm, attribution, frame)

    def bar_plot(self, attribution: Attribution, frame: "pd.DataFrame") -> bytes:
        """A PNG with the mean absolute value per feature, in the attribution's unit."""
        return self._draw(lambda shap: shap.plots.bar, attribution, frame)

    def _check_kind(self, model: "ScoringModel", wanted: str) -> None:
        kind = model.algorithm.explainer
        if wanted not in (AUTO, kind):
            raise ToolRejected(
                f"A {wanted} explainer was asked for, but the model is {model.manifest.algorithm}, which takes "
                f"{METHODS[kind]}. Set shap.explainer_type to auto or {kind}."
            )

    def _check_gaps(
        self, model: "ScoringModel", attributions: Sequence[Attribution], found: "Sequence[np.ndarray]"
    ) -> None:
        pairs = list(zip(attributions, found, strict=True))
        gap = max(largest_gap(attribution, margin) for attribution, margin in pairs)
        unit = attributions[0].unit
        largest = max(float(abs(margin).max()) for margin in found) if unit == "outcome" else 1.0
        allowed = ADDITIVITY_TOLERANCE * max(1.0, largest)
        if not gap <= allowed:
            raise ToolRejected(
                f"SHAP values of the {model.manifest.algorithm} model of {model.manifest.brand} are not additive: over "
                f"{sum(map(len, found))} rows, base value plus values misses the margin ({unit}) by up "
                f"to {gap:.3g}, where at most {allowed:.3g} is allowed. The explanation does not belong to this model; "
                "train it again."
            )

    def _draw(self, choose: Callable[[Any], Any], attribution: Attribution, frame: "pd.DataFrame") -> bytes:
        import matplotlib as mpl

        mpl.use("Agg")  # before shap imports pyplot: a pipeline has no screen
        import numpy as np
        import shap
        from matplotlib import pyplot

        explanation = shap.Explanation(
            values=attribution.values,
            base_values=np.full(len(attribution.values), attribution.base_value),
            data=_shown_values(attribution, frame),
            feature_names=list(attribution.feature_names),
        )
        picture = io.BytesIO()
        with _quiet_and_repeatable():
            pyplot.figure()
            try:
                choose(shap)(explanation, max_display=self.max_display, show=False)
                pyplot.savefig(picture, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
            finally:
                pyplot.close("all")
        return picture.getvalue()


@contextmanager
def _quiet_and_repeatable() -> Iterator[None]:
    """Lets shap draw: it jitters dots by NumPy's global generator, and warns of a column without a number."""
    import numpy as np

    state = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        np.random.set_state(state)


def _shown_values(attribution: Attribution, frame: "pd.DataFrame") -> "np.ndarray":
    """The values that colour the dots; NaN, which is drawn grey, for what is no number."""
    import numpy as np
    import pandas as pd

    columns = [pd.to_numeric(frame[name], errors="coerce") for name in attribution.feature_names]
    return np.column_stack([column.to_numpy(np.float64) for column in columns])
