"""Recalibration: taken where it helps, not where it does not, ranking kept, and the same numbers in every place."""

import numpy as np
import pytest

from e2i_pipeline.contracts.evaluation_rules import RecalibrationRules
from e2i_pipeline.contracts.model_files import ModelManifest, Recalibrator
from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.algorithms import dump_model, fit_model, load_model
from e2i_pipeline.domain.calibration import recalibrate
from e2i_pipeline.domain.recalibration import apply, choose, fit
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

RULES = RecalibrationRules()


def expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def rows(n: int, seed: int, slope: float = 1.0, level: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes, and probabilities whose log-odds are `slope` times as far apart as they should be."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1, n)
    return (rng.random(n) < expit(z)).astype(float), expit(slope * z + level)


def test_calibrated_probabilities_are_left_alone() -> None:
    chosen = [choose(*rows(1000, seed), RULES, seed=1) for seed in range(20)]
    assert sum(c.recalibrator is not None for c in chosen) <= 1
    assert chosen[0].found.method == "none"
    assert "None helps enough on validation: log loss" in chosen[0].found.reason


def test_a_wrong_spread_is_corrected_by_a_line() -> None:
    chosen = choose(*rows(3000, 1, slope=2.0), RULES, seed=1)
    assert chosen.recalibrator is not None
    assert chosen.found.method == chosen.recalibrator.method == "platt"
    y, p = rows(20_000, 2, slope=2.0)
    assert recalibrate(y, p).slope == pytest.approx(0.5, abs=0.03)
    assert recalibrate(y, apply(chosen.recalibrator, p)).slope == pytest.approx(1, abs=0.1)


def test_rows_of_one_patient_are_not_held_out_from_themselves() -> None:
    """Steps learn patients' own scores by heart: with each row alone in its fold that seems to help."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(150), 20)
    score = rng.uniform(0.05, 0.95, 150)[patient]
    outcome = (rng.random(150) < 0.5).astype(float)[patient]
    rules = RecalibrationRules(method="isotonic")
    by_row, by_patient = choose(outcome, score, rules, seed=1), choose(outcome, score, rules, seed=1, patients=patient)
    assert by_row.found.log_loss["isotonic"] < by_patient.found.log_loss["isotonic"]
    assert by_row.found.log_loss["none"] == by_patient.found.log_loss["none"]
    assert "Too few validation patients" in choose(outcome, score, rules, seed=1, patients=patient * 0).found.reason


def test_a_bent_shape_is_corrected_by_steps_and_the_ranking_stays() -> None:
    def bent(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        p = np.random.default_rng(seed).uniform(0.01, 0.99, n)
        truth = np.where(p < 0.5, 0.1, 0.6) + 0.2 * p
        return (np.random.default_rng(seed + 1).random(n) < truth).astype(float), p

    chosen = choose(*bent(4000, 3), RULES, seed=1)
    assert chosen.recalibrator is not None
    assert chosen.found.method == "isotonic"
    y, p = bent(20_000, 5)
    after = apply(chosen.recalibrator, p)
    before, now = metrics.evaluate(y, p, 0.1), metrics.evaluate(y, after, 0.1)
    assert now["ece"] < 0.03 < before["ece"]
    assert len(np.unique(after)) == len(np.unique(p))  # strictly rising: nothing is tied that was not
    assert now["auc"] == pytest.approx(before["auc"], abs=1e-12)


def test_probabilities_of_0_and_1_and_ties_stay_probabilities() -> None:
    y = np.array([0, 0, 0, 1] * 50 + [0, 1, 1, 1] * 50, dtype=float)
    p = np.repeat([0.0, 1.0], 200)
    for method in ("platt", "isotonic"):
        found = fit(y, p, method)
        assert found is None or np.all(np.diff(apply(found, np.linspace(0, 1, 101))) > 0), method
    y, p = rows(500, 7)
    found = fit(y, p.round(1), "isotonic")
    assert found is not None
    assert np.all(np.diff(found.inputs) > 0)
    assert np.all(np.diff(found.outputs) > 0)
    assert (found.outputs[0], found.outputs[-1]) == (0.0, 1.0)


def test_what_is_not_allowed_or_has_too_few_rows_is_not_done() -> None:
    bad = rows(3000, 1, slope=2.0)
    assert choose(*bad, RecalibrationRules(method="none"), seed=1).recalibrator is None
    assert choose(*bad, RecalibrationRules(method="isotonic"), seed=1).found.method == "isotonic"
    assert "with fewer than 50" in choose(*rows(100, 1, slope=3.0), RULES, seed=1).found.reason
    y, p = rows(2000, 1)
    assert fit(y, 1 - p, "platt") is None  # it would turn the ranking round


def test_the_choice_is_the_same_for_the_same_rows() -> None:
    assert choose(*rows(1500, 4, slope=1.6), RULES, seed=2) == choose(*rows(1500, 4, slope=1.6), RULES, seed=2)


@pytest.mark.parametrize("algorithm", ["xgboost", "logistic_regression"])
def test_a_model_gives_out_recalibrated_probabilities_wherever_it_is_read_back(algorithm: str) -> None:
    frame, outcome = modelling_rows(400, seed=1)
    parameters: dict[str, bool | int | float | str | None] = {"n_estimators": 20} if algorithm == "xgboost" else {}
    names = {"training_key": "k", "brand": "b"}
    raw = fit_model(algorithm, parameters, frame, outcome, FEATURES, **names, horizon_days=180, seed=1, threads=1)
    line = Recalibrator(method="platt", slope=0.7, intercept=-0.2)
    model = load_model(dump_model(raw.with_threshold(0.5).with_recalibration(line).with_threshold(0.4)))
    np.testing.assert_array_equal(model.predict(frame), apply(line, raw.predict(frame)))
    assert model.manifest.recalibration == line
    assert raw.with_threshold(0.5).with_recalibration(line).manifest.threshold is None


def test_knots_survive_json_to_the_last_bit() -> None:
    found = fit(*rows(1000, 9), "isotonic")
    assert found is not None
    assert Recalibrator.model_validate_json(found.model_dump_json()) == found
    assert "recalibration" in ModelManifest.model_fields
