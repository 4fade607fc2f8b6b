"""The generating processes: each has the effect that it says, and the mistakes that it invites can be seen."""

from typing import Any

import numpy as np
import pytest

from e2i_pipeline.domain.synthetic import World, generate, truth
from e2i_pipeline.domain.synthetic_process import HALF_LIFE_DAYS, PROCESSES, Design
from e2i_pipeline_tests.domain.synthetic_fits import (
    adjusted,
    average_derivative,
    closed_journeys,
    logistic,
    partially_linear,
)

JOURNEYS = 40_000
SEGMENTS = {"disease_severity below 4": 0.15, "disease_severity 4 to 7": 0.30, "disease_severity above 7": 0.50}


def world_of(process: str, **switches: Any) -> World:
    return generate(["Fabhalta"], seed=11, journeys_per_brand=JOURNEYS, process=process, **switches)


def truth_of(process: str, brand: str = "Fabhalta", **switches: Any) -> dict[str, Any]:
    return truth([brand], Design(seed=0, journeys_per_brand=10, process=process, **switches))["brands"][brand]


@pytest.mark.parametrize(
    ("process", "effect", "is_biased"),
    [("simple_linear", 0.40, False), ("confounded", 0.25, True), ("null_effect", 0.0, True)],
)
def test_a_regression_on_all_that_drives_the_outcome_finds_the_effect(
    process: str, effect: float, is_biased: bool
) -> None:
    rows = closed_journeys(world_of(process))
    full = logistic(adjusted(rows), rows.treatment_initiated)
    assert full.is_near(effect)
    assert full.error < 0.02
    alone = logistic(rows[["engagement_score"]], rows.treatment_initiated)
    assert (alone.value > effect + 0.10) is is_biased


@pytest.mark.parametrize("process", ["simple_linear", "confounded", "null_effect"])
def test_the_average_effects_of_the_truth_are_what_is_found_in_the_rows(process: str) -> None:
    rows, told = closed_journeys(world_of(process)), truth_of(process)
    assert average_derivative(adjusted(rows), rows.treatment_initiated).is_near(told["average_derivative"])
    assert partially_linear(rows).is_near(told["partially_linear"])
    assert told["standard_error"]["average_derivative"] < 1e-4


def test_heterogeneous_effects_follow_severity() -> None:
    rows, told = closed_journeys(world_of("heterogeneous")), truth_of("heterogeneous")
    masks = (rows.disease_severity < 4, rows.disease_severity.between(4, 7), rows.disease_severity > 7)
    for (segment, effect), mask in zip(SEGMENTS.items(), masks, strict=True):
        part = rows[mask]
        assert logistic(adjusted(part), part.treatment_initiated).is_near(effect)
        figures = told["segments"][segment]
        assert figures["effect_log_odds"] == effect
        assert figures["standard_error"]["effect_log_odds"] == 0
        assert average_derivative(adjusted(part), part.treatment_initiated).is_near(figures["average_derivative"])
        assert figures["share"] == pytest.approx(mask.mean(), abs=0.01)
    mean = sum(told["segments"][name]["share"] * effect for name, effect in SEGMENTS.items())
    assert told["effect_log_odds"] == pytest.approx(mean, abs=1e-9)


def test_the_effect_decays_with_the_index_date() -> None:
    rows, told = closed_journeys(world_of("time_series")), truth_of("time_series")
    days = (rows.journey_start_date - np.datetime64("2023-01-01")).dt.days
    rows["decayed"] = rows.engagement_score * np.exp2(-days / HALF_LIFE_DAYS)
    design = adjusted(rows, "decayed")[["decayed", "engagement_score", *adjusted(rows).columns[1:]]]
    assert logistic(design, rows.treatment_initiated).is_near(0.30)
    by_year = [told["segments"][f"index date in {year}"]["effect_log_odds"] for year in (2023, 2024, 2025)]
    assert by_year == pytest.approx([0.30 * f for f in (0.7213, 0.3603, 0.1953)], abs=0.003)
    for year, effect in zip((2023, 2024, 2025), by_year, strict=True):
        part = rows[rows.journey_start_date.dt.year == year]
        assert logistic(adjusted(part), part.treatment_initiated).is_near(effect)


def test_hidden_confounding_biases_the_effect_and_shows_on_the_negative_control() -> None:
    rows, told = closed_journeys(world_of("selection_bias", reveal_confounder=True)), truth_of("selection_bias")
    naive = logistic(adjusted(rows), rows.treatment_initiated)
    assert naive.value > 0.35 + 5 * naive.error
    control = logistic(adjusted(rows), rows.negative_control_outcome)
    assert control.value > 5 * control.error
    revealed = adjusted(rows, "hidden_confounder")
    assert logistic(revealed, rows.treatment_initiated).is_near(0.35)
    assert logistic(revealed, rows.negative_control_outcome).is_near(0.0)
    assert partially_linear(rows).is_near(told["partially_linear_observed"])
    assert told["partially_linear_observed"] > 1.2 * told["partially_linear"]
    assert told["effect_log_odds"] == 0.35


def test_without_a_hidden_cause_there_is_no_negative_control() -> None:
    assert "negative_control_outcome" not in world_of("confounded").tables["patient_journeys"].column_names
    hidden = generate(["Kisqali"], 7, 100, process="selection_bias").tables["patient_journeys"]
    assert hidden.column_names[-1] == "negative_control_outcome"
    is_open = hidden["treatment_initiated"].is_null()
    assert hidden["negative_control_outcome"].is_null().equals(is_open)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_truth_belongs_to_the_process_and_not_to_the_rows_drawn(process: str) -> None:
    small, large = (truth(["Kisqali"], Design(seed, size, process=process)) for seed, size in ((1, 10), (2, 90_000)))
    assert small["brands"] == large["brands"]
    assert set(small["brands"]["Kisqali"]) - {"effect_levels", "segments", "standard_error", "treatment_rate"} <= set(
        small["definitions"]
    )
    levels = small["brands"]["Kisqali"]["effect_levels"]
    expected = {"heterogeneous": [0.15, 0.30, 0.50], "time_series": None}
    by_name = {"simple_linear": 0.40, "confounded": 0.25, "selection_bias": 0.35, "null_effect": 0.0}
    assert levels == (expected[process] if process in expected else [by_name[process]])
