"""Behavioural tests: a model that looks at what it must not, or turns the wrong way, is caught."""

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.evaluation_rules import BehaviourRules
from e2i_pipeline.domain.behaviour import behave

FRAME = pd.DataFrame({"x": [0.1, 0.5, np.nan, 0.9, 0.3], "kind": ["a", None, "b", "a", "b"]})


def by_x(frame: pd.DataFrame) -> np.ndarray:
    return frame["x"].fillna(0.5).to_numpy()


def by_place(frame: pd.DataFrame) -> np.ndarray:
    return np.arange(len(frame)) / 10


def by_identifier(frame: pd.DataFrame) -> np.ndarray:
    return by_x(frame) + 0.1 * ("patient_id" in frame.columns)


def test_an_honest_model_passes() -> None:
    found = behave(by_x, FRAME, BehaviourRules(monotone={"x": "increasing"}), seed=1)
    assert [(b.name, b.is_passed) for b in found] == [("row_order", True), ("identifiers", True), ("monotone", True)]
    # the null and the highest stay where they are
    assert found[2].sentence == "x, declared increasing: 0.0% of 3 moved rows went the other way; at most 5.0% may."


def test_one_that_looks_at_row_order_or_identifiers_is_caught() -> None:
    order, _ = behave(by_place, FRAME, BehaviourRules(), seed=1)
    assert not order.is_passed
    assert "got another prediction in another order" in order.sentence
    _, identifiers = behave(by_identifier, FRAME, BehaviourRules(), seed=1)
    assert not identifiers.is_passed
    assert identifiers.share == 1.0


def test_a_few_rows_may_go_the_other_way_where_that_is_tolerated() -> None:
    def bumpy(frame: pd.DataFrame) -> np.ndarray:
        x = frame["x"].to_numpy()
        return np.where((x > 0.5) & (x < 0.55), 0.0, x)

    many = pd.DataFrame({"x": np.linspace(0, 1, 500)})
    rules = BehaviourRules(monotone={"x": "increasing"}, step=0.5, tolerated_share=0.10)
    assert behave(bumpy, many, rules, seed=1)[2].is_passed
    assert not behave(bumpy, many, rules.model_copy(update={"tolerated_share": 0.01}), seed=1)[2].is_passed


def test_a_direction_of_what_is_no_number_or_has_no_value_is_said() -> None:
    rules = BehaviourRules(monotone={"kind": "increasing", "x": "increasing"})
    nothing = FRAME.assign(x=np.nan)
    *_, kind, x = behave(lambda frame: np.zeros(len(frame)), nothing, rules, seed=1)
    assert not kind.is_passed
    assert x.is_passed
    assert "has no value to move" in x.sentence
