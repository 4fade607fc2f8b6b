"""Pictures of an evaluation: all its parts, small enough to be inlined, and different where the model is."""

import numpy as np

from e2i_pipeline.contracts.evaluation_rules import FairnessRules, SliceRules
from e2i_pipeline.domain import fairness, metrics, slices
from e2i_pipeline.domain.decision_curve import decision_curve
from e2i_pipeline.domain.evaluation_plots import evaluation_plots
from e2i_pipeline_tests.domain.test_plots import size_of


def rows(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    scores = rng.random(n)
    return (rng.random(n) < scores).astype(float), scores


def curves(n: int = 400) -> dict[str, dict[str, list[float]]]:
    return {**metrics.curves(*rows(n)), "decision": decision_curve(*rows(n))}


def test_an_evaluation_has_its_curves_slices_and_groups_as_pictures() -> None:
    outcome, scores = rows()
    of = {"region": np.array(["south", "west"] * 200)}
    floors = slices.auc_floors(outcome, scores, of, SliceRules(), 0.6, 0.95)
    apart = fairness.differences(outcome, scores, of, 0.8, FairnessRules(), 11, 0.95)
    before = {**curves(), "calibration_before": {"predicted": [0.1, 0.9], "observed": [0.2, 0.8]}}
    drawn = evaluation_plots(before, floors, apart)

    assert list(drawn) == ["curves", "slices", "fairness"]
    assert size_of(drawn["curves"]) == (1375, 290)
    assert all(len(png) < 150_000 for png in drawn.values())  # they go into the event log, inline
    assert drawn["curves"] != evaluation_plots(curves())["curves"]


def test_another_model_looks_different() -> None:
    assert evaluation_plots(curves(400)) != evaluation_plots(curves(300))


def test_a_regression_shows_its_residuals() -> None:
    residuals = {"predicted": [1.0, 2.0], "observed": [1.1, 1.9], "low": [-1.0, -2.0], "high": [1.0, 2.0]}
    assert size_of(evaluation_plots({"residuals": residuals})["curves"]) == (600, 290)
