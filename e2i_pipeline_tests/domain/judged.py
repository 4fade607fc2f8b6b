"""Made-up test rows to judge: scores that are as good as they say, with groups beside them."""

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain.judgement import Judgement, Terms, TestRows, judge_classification

SCOPE = ExperimentScope(
    key="scope",
    brand="Kisqali",
    target="treatment_initiated",
    problem_type="classification",
    population="journeys",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.2,
    maximum_fpr=0.2,
    capacity=0.1,
)


def rows(n: int = 2000, seed: int = 1) -> TestRows:
    """Rows whose outcome follows `x` alone; regions and ages are by chance."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-1, 1, n)
    beside = pd.DataFrame(
        {"geographic_region": rng.choice(["south", "west"], n), "age_at_diagnosis": rng.uniform(20, 90, n)}
    )
    outcome = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(float)
    return TestRows(pd.DataFrame({"x": x, "noise": rng.normal(size=n)}), outcome, beside)


def predict(frame: pd.DataFrame) -> np.ndarray:
    """The true probability of `rows`."""
    return 1 / (1 + np.exp(-frame["x"].to_numpy()))


def judged(given: TestRows, scores: np.ndarray | None = None, rules: EvaluationRules | None = None) -> Judgement:
    """Judges these rows; by default with their true probabilities."""
    given_scores = predict(given.features) if scores is None else scores
    threshold = float(np.quantile(given_scores, 0.9))
    terms = Terms(SCOPE, rules or EvaluationRules(), slice_floor=0.05, seed=1)
    return judge_classification(predict, given, given_scores, given_scores, threshold, terms)
