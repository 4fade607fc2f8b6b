"""Regressions on the generated world, with standard errors: what somebody would do who checks a method on it."""

from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd

from e2i_pipeline.domain.synthetic import World

_PRIOR = """
SELECT patient_journey_id, count(*) AS prior_treatments
FROM treatment_events JOIN patient_journeys USING (patient_journey_id)
WHERE event_type = 'prescription' AND event_date < journey_start_date GROUP BY 1
"""
COVARIATES = ("disease_severity", "academic_hcp", "risk_score", "prior_treatments", "age_at_diagnosis")


class Estimate(NamedTuple):
    """A coefficient and its standard error."""

    value: float
    error: float

    def is_near(self, truth: float, errors: float = 3.0) -> bool:
        """Whether the truth lies within so many standard errors."""
        return abs(self.value - truth) < errors * self.error


def closed_journeys(world: World) -> pd.DataFrame:
    """Journeys with an outcome and all that drives it, one row each."""
    with duckdb.connect() as connection:
        for name, table in world.tables.items():
            connection.register(name, table)
        found = connection.execute(
            f"FROM patient_journeys LEFT JOIN ({_PRIOR}) USING (patient_journey_id) WHERE treatment_initiated IS NOT "
            "NULL AND risk_score IS NOT NULL AND insurance_type IS NOT NULL AND geographic_region IS NOT NULL"
        ).df()
    return found.fillna({"prior_treatments": 0})


def adjusted(rows: pd.DataFrame, *further: str) -> pd.DataFrame:
    """Engagement, everything that drives the outcome and that a column shows, and further columns."""
    levels = pd.get_dummies(rows[["insurance_type", "geographic_region"]], drop_first=True).astype(float)
    return pd.concat([rows[["engagement_score", *further, *COVARIATES]], levels], axis=1)


def logistic(design: pd.DataFrame, outcome: "pd.Series[float]") -> Estimate:
    """The coefficient of the first column in a logistic regression, by Newton's method, with its standard error."""
    centred = (design - design.mean()).to_numpy(float)
    x, y = np.column_stack([centred, np.ones(len(centred))]), outcome.to_numpy(float)
    beta, information = np.zeros(x.shape[1]), np.eye(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-x @ beta))
        information = x.T @ (x * (p * (1 - p))[:, None])
        beta += np.linalg.solve(information, x.T @ (y - p))
    return Estimate(float(beta[0]), float(np.sqrt(np.linalg.inv(information)[0, 0])))


def average_derivative(design: pd.DataFrame, outcome: "pd.Series[float]") -> Estimate:
    """That of the logistic model; its error counts what comes from the coefficient alone."""
    slope = logistic(design, outcome)
    x = np.column_stack([(design - design.mean()).to_numpy(float), np.ones(len(design))])
    y, beta = outcome.to_numpy(float), np.zeros(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-x @ beta))
        beta += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (y - p))
    spread = float(np.mean(p * (1 - p)))
    return Estimate(slope.value * spread, slope.error * spread)


def partially_linear(rows: pd.DataFrame) -> Estimate:
    """Residual on residual, by regressions that hold the generator's form: in severity and academic, with products."""
    severity, academic = rows.disease_severity - 5, rows.academic_hcp
    parts = [severity**power * kind for power in range(5) for kind in (1, academic)]
    x = np.column_stack([np.asarray(part, float) + np.zeros(len(rows)) for part in parts])
    treatment, outcome = rows.engagement_score.to_numpy(float), rows.treatment_initiated.to_numpy(float)
    t, y = (values - x @ np.linalg.lstsq(x, values, rcond=None)[0] for values in (treatment, outcome))
    value = float((t * y).sum() / (t * t).sum())
    return Estimate(value, float(np.sqrt(((t * (y - value * t)) ** 2).sum()) / (t * t).sum()))
