"""The search-space language: what each form means, and what is refused."""

from typing import Any

import optuna
import pytest
import yaml

from e2i_pipeline.config.loader import PROJECT
from e2i_pipeline.domain.algorithms import ALGORITHMS, check_parameters
from e2i_pipeline.domain.search_space import Choice, Range, parse_space, suggest
from e2i_pipeline.errors import ConfigurationError


@pytest.mark.parametrize(
    ("form", "meaning"),
    [
        ([1, 2, 3], Choice((1, 2, 3))),
        (["gbtree"], Choice(("gbtree",))),
        ([7], Choice((7,))),
        ([True, False], Choice((True, False))),
        ((3, 10), Range(3, 10)),
        ([3, 10], Range(3, 10)),
        ((0.5, 1.0), Range(0.5, 1.0)),
        ({"low": 3, "high": 10}, Range(3, 10)),
        ({"low": 0.01, "high": 0.3, "log": True}, Range(0.01, 0.3, is_log=True)),
        ({"low": 1, "high": 1000, "log": True}, Range(1, 1000, is_log=True)),
        ({"low": 100, "high": 1000, "step": 50}, Range(100, 1000, step=50)),
        ({"low": 0.0, "high": 1.0, "step": 0.25}, Range(0.0, 1.0, step=0.25)),
        ({"values": ["a", "b"]}, Choice(("a", "b"))),
    ],
)
def test_each_form_has_its_meaning(form: Any, meaning: Choice | Range) -> None:
    assert parse_space({"x": form}) == {"x": meaning}


@pytest.mark.parametrize(
    ("low", "high", "is_whole"), [(1, 5, True), (1.0, 5, False), (1, 5.0, False), (1.0, 5.0, False)]
)
def test_a_range_is_of_whole_numbers_when_both_ends_are_written_so(low: float, high: float, is_whole: bool) -> None:
    (found,) = parse_space({"x": {"low": low, "high": high}}).values()
    assert isinstance(found, Range)
    assert found.is_whole is is_whole


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (5, r"a\.b\.x: 5 is no search space"),
        ("auto", r"a\.b\.x: 'auto' is no search space"),
        ([], "an empty list"),
        ([None, 1], "None is no choice"),
        ([1, 2, 2], "named twice"),
        ([10, 3], "low 10 is above high 3"),
        ({"low": 1}, "low and high must be finite numbers; got low 1, high None"),
        ({"low": 1, "high": float("inf")}, "finite"),
        ({"low": True, "high": 2}, "finite numbers"),
        ({"low": 1, "high": 2, "logg": True}, r"a\.b\.x\.logg is unknown\. Did you mean log\?"),
        ({"low": 0.0, "high": 2.0, "log": True}, "needs low > 0"),
        ({"low": 1, "high": 2, "log": "yes"}, r"a\.b\.x\.log must be true or false"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "no step"),
        ({"low": 1, "high": 9, "step": 0}, r"a\.b\.x\.step must be a number above 0"),
        ({"low": 1, "high": 9, "step": 0.5}, "no whole number"),
        ({"values": [1], "low": 1}, r"a\.b\.x: a choice is \{values"),
        ({"low": 1, "high": 9, "when": ["y"]}, r"a\.b\.x\.when: \['y'\] is no condition"),
        ({"low": 1, "high": 9, "when": {"y": 3}}, r"a\.b\.x\.when\.y: 3 is no list of values\. Write \[3\]"),
        ({"low": 1, "high": 9, "when": {"y": [3]}}, r"a\.b\.x\.when\.y: the search space has no parameter"),
    ],
)
def test_what_is_not_of_the_language_is_refused_with_its_path(form: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_space({"x": form}, "a.b")


def test_a_trial_is_asked_in_its_own_words() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space = parse_space(
        {
            "depth": [3, 10],
            "rate": {"low": 0.01, "high": 0.3, "log": True},
            "policy": ["depthwise", "lossguide"],
            "rounds": {"low": 100, "high": 1000, "step": 50},
            "share": [0.5, 1.0],
        }
    )
    for _ in range(30):
        trial = study.ask()
        found = suggest(trial, space, "xgboost.")
        assert list(found) == list(space)
        assert trial.params == {f"xgboost.{name}": value for name, value in found.items()}
        assert isinstance(found["depth"], int)
        assert 3 <= found["depth"] <= 10
        assert 0.01 <= float(found["rate"]) <= 0.3
        assert found["policy"] in ("depthwise", "lossguide")
        assert int(found["rounds"]) % 50 == 0
        assert 0.5 <= float(found["share"]) <= 1.0


def test_the_default_space_is_valid_and_of_known_parameters() -> None:
    default = yaml.safe_load((PROJECT / "e2i_pipeline" / "config" / "e2i.yaml").read_text())["optuna"]["search_space"]
    for name, raw in default.items():
        check_parameters(ALGORITHMS[name], raw)
        assert parse_space(raw)
    xgboost = parse_space(default["xgboost"])
    assert xgboost["n_estimators"] == Range(100, 1000)
    assert xgboost["learning_rate"] == Range(0.01, 0.3, is_log=True)


CONDITIONAL: dict[str, Any] = {
    "max_leaves": {"low": 8, "high": 64, "when": {"grow_policy": ["lossguide"], "depth": [0]}},
    "grow_policy": {"values": ["depthwise", "lossguide"], "when": {"depth": [0, 1]}},
    "depth": [0, 3],
}


def test_a_conditional_parameter_is_tried_only_where_its_condition_holds_in_any_order_of_writing() -> None:
    space = parse_space(CONDITIONAL)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen: set[tuple[str, ...]] = set()
    for _ in range(60):
        trial = study.ask()
        found = suggest(trial, space)
        assert trial.params == found
        assert ("grow_policy" in found) == (found["depth"] in (0, 1))
        assert ("max_leaves" in found) == (found.get("grow_policy") == "lossguide" and found["depth"] == 0)
        seen.add(tuple(found))
    assert seen == {("depth",), ("grow_policy", "depth"), ("max_leaves", "grow_policy", "depth")}


def depth(when: dict[str, Any]) -> dict[str, Any]:
    return {"low": 0, "high": 3, "when": when}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": depth({"grow_policy": ["lossguide"]})}, r"s\.max_leaves\.when, s\.grow.*rest on each other"),
        ({"depth": depth({"depth": [0]})}, r"s\.depth\.when.*rest on each other"),
        ({"depth": depth({"grow_polic": [1]})}, r"s\.depth\.when\.grow_polic.*Did you mean grow_policy"),
        ({"depth": [2, 3]}, r"s\.max_leaves\.when\.depth: 0 is never tried for depth"),
        ({"grow_policy": [True, False]}, r"s\.max_leaves\.when\.grow_policy: 'lossguide' is never tried"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_with_its_path(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_space({**CONDITIONAL, **changed}, "s")
