"""A covariate is written into a person's file, and nothing else in it changes."""

import pytest
import yaml

from e2i_pipeline.config.covariate_text import with_covariate
from e2i_pipeline.errors import ConfigurationError

ENTRY = {"name": "x", "table": "treatment_events", "column": "cost", "dtype": "numeric", "window": 30}
OLD = {"name": "old", "table": "patient_journeys", "column": "gender", "dtype": "categorical"}
FLOW_OLD = "{name: old, table: patient_journeys, column: gender, dtype: categorical}"

FILES = {
    "empty": "",
    "comments only": "# mine\n",
    "no features": "brands: [A]  # ours\n\n# end",
    "features without a value": "features:   # later\nbrands: [A]\n",
    "features without covariates": "features:\n  # days\n  prediction_lag_days: 3  # why\n\nbrands: [A]\n",
    "covariates without a value": "features:\n    covariates:   # none yet\nbrands: [A]\n",
    "an empty list": "features: {prediction_lag_days: 3, covariates: []}\n",
    "a block of flows": f"features:\n  covariates:\n    - {FLOW_OLD}  # kept\n    # behind\nbrands: [A]\n",
    "a block not indented": f"features:\n  covariates:\n  - {FLOW_OLD}\n  prediction_lag_days: 3\n",
    "a block of blocks": "features:\n  covariates:\n    - name: old\n      table: patient_journeys\n"
    "      column: gender\n"
    "      dtype: 'categorical'   # text\n\n# behind\nbrands: [A]\n",
    "a flow of several lines": f"features:\n  covariates: [\n    {FLOW_OLD},\n  ]\nbrands: [A]\n",
    "a flow on one line": f"features: {{covariates: [{FLOW_OLD}]}}",
    "flow features without covariates": "features: {prediction_lag_days: 3}\n",
    "lines of Windows": "features:\r\n  covariates:\r\n    - " + FLOW_OLD + "\r\nbrands: [A]\r\n",
    "text that is not ASCII": "# Größe\nfeatures:\n  covariates:\n    - " + FLOW_OLD + "  # weiß\n",
}


@pytest.mark.parametrize("name", FILES)
def test_the_entry_comes_last_and_every_other_line_stays(name: str) -> None:
    text = FILES[name]
    changed = with_covariate(text, ENTRY, [OLD], "mine.yaml")
    covariates = yaml.safe_load(changed)["features"]["covariates"]
    assert covariates == [OLD, ENTRY]
    rest, before = yaml.safe_load(changed), yaml.safe_load(text) or {}
    assert {k: v for k, v in rest.items() if k != "features"} == {k: v for k, v in before.items() if k != "features"}
    kept = iter(changed)
    assert all(character in kept for character in text), "only insertions"
    assert changed.count("\r\n") == (changed.count("\n") if "\r\n" in text else 0)


def test_another_one_follows_it() -> None:
    once = with_covariate("", ENTRY, [], "mine.yaml")
    twice = with_covariate(once, {**ENTRY, "name": "no"}, [ENTRY], "mine.yaml")
    assert [c["name"] for c in yaml.safe_load(twice)["features"]["covariates"]] == ["x", "no"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("features: [", "not YAML"),
        ("- a\n", "mapping"),
        (f"base: &base\n  covariates: [{FLOW_OLD}]\nfeatures: *base\n", "by hand"),
        ("features: 3\n", "mapping"),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        with_covariate(text, ENTRY, [OLD], "mine.yaml")
