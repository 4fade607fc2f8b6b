"""The decision curve: by hand, and better than acting on everybody where the scores say something."""

import numpy as np
import pytest

from e2i_pipeline.domain.decision_curve import decision_curve


def test_net_benefit_by_hand() -> None:
    y, p = np.array([1, 1, 0, 0, 0]), np.array([0.8, 0.4, 0.4, 0.2, 0.1])
    found = decision_curve(y, p, points=4)  # up to 0.8
    assert found["threshold"] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    # at 0.2: 2 hits and 2 false of 5, weighted by 1/4; at 0.4: 2 and 1, by 2/3; then 1 and 0
    assert found["model"] == pytest.approx([(2 - 2 / 4) / 5, (2 - 2 / 3) / 5, 1 / 5, 1 / 5])
    assert found["all"] == pytest.approx([0.4 - 0.6 * t / (1 - t) for t in (0.2, 0.4, 0.6, 0.8)])


def test_calibrated_scores_are_worth_at_least_as_much_as_acting_on_everybody_or_nobody() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(2, 5, 20_000)
    found = decision_curve((rng.random(20_000) < p).astype(float), p)
    best_without = np.maximum(found["all"], 0)
    assert (np.array(found["model"]) >= best_without - 0.003).all()
    assert max(np.array(found["model"]) - best_without) > 0.03
