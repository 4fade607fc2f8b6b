"""The settings: what overrides what, and what a wrong key says."""

from pathlib import Path
from typing import get_args

import pytest

from e2i_pipeline.config.loader import PROJECT, load_settings
from e2i_pipeline.config.schema import SyntheticSettings
from e2i_pipeline.domain.synthetic_process import PROCESSES
from e2i_pipeline.errors import ConfigurationError


def test_defaults_need_no_environment() -> None:
    chosen = load_settings({})

    assert chosen.profile == "local"
    assert chosen.source.kind == "synthetic"
    assert chosen.brands == ["Remibrutinib", "Fabhalta", "Kisqali"]
    assert chosen.state_dir.is_absolute()
    assert chosen.stores.gx_root == PROJECT / "gx"


def test_state_folder_decides_where_each_tool_keeps_its_things(tmp_path: Path) -> None:
    chosen = load_settings({"E2I_STATE_DIR": str(tmp_path)})

    assert chosen.stores.metadata_url.get_secret_value() == f"sqlite:///{tmp_path}/metadata.db"
    assert chosen.stores.bentoml_home == tmp_path / "bentoml"


def test_a_tools_own_variable_wins_over_the_profile() -> None:
    chosen = load_settings({"MLFLOW_TRACKING_URI": "http://127.0.0.1:5999"})

    assert chosen.stores.mlflow_tracking_uri.get_secret_value() == "http://127.0.0.1:5999"


@pytest.mark.parametrize("given", ["e2i-ge-docs/site", "s3://e2i-ge-docs/site/"])
def test_a_bucket_for_the_data_docs_wins_over_the_folder(given: str) -> None:
    folder = {"E2I__GREAT_EXPECTATIONS__DATA_DOCS_SITE": "/srv/docs"}
    assert load_settings(folder).great_expectations.data_docs_site == "/srv/docs"

    chosen = load_settings({**folder, "GE_DATA_DOCS_S3_BUCKET": given}).great_expectations

    assert (chosen.data_docs_site, chosen.checkpoint_store) == ("s3://e2i-ge-docs/site", "")


def test_the_environment_wins_over_the_overlay_and_the_overlay_over_the_default(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("splits: {gap_days: 3, version: 2}\nbrands: [Only]\n", encoding="utf-8")

    chosen = load_settings({"E2I_CONFIG": str(overlay), "E2I__SPLITS__GAP_DAYS": "14"})

    assert (chosen.splits.gap_days, chosen.splits.version, chosen.splits.train) == (14, 2, 0.6)
    assert chosen.brands == ["Only"]


def test_a_misspelt_key_is_named_with_its_nearest_neighbour() -> None:
    with pytest.raises(ConfigurationError, match=r"splits\.gap_day: unknown key\. Did you mean splits\.gap_days\?"):
        load_settings({"E2I__SPLITS__GAP_DAY": "3"})


def test_every_problem_is_listed_at_once() -> None:
    environ = {"E2I__SPLITS__TRAIN": "0.9", "E2I__OPTUNA__SEARCH__N_TRIALS": "none"}

    with pytest.raises(ConfigurationError, match="2 problems") as caught:
        load_settings(environ)

    assert "must sum to 1" in str(caught.value)
    assert "optuna.search.n_trials" in str(caught.value)


def test_a_value_is_never_repeated_in_the_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"E2I__SPLITS__VERSION": "hunter2"})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"E2I_PROFILE": "cloud"}, "no such profile. Profiles: local"),
        ({"E2I_CONFIG": "nowhere.yaml"}, "cannot be read"),
        ({"E2I__SOURCE__KIND": "files"}, "E2I_DATA"),
        ({"E2I__BRANDS": "[A, A]"}, "named twice"),
        ({"E2I__MODEL_TYPE": "effect"}, "model_type: effect is the name of what the causal stage registers"),
        ({"E2I__OPTUNA__ALGORITHMS": "[xgboost, magic]"}, "no entry for magic"),
        ({"E2I_ENGINE": "spark"}, "engine"),
        ({"E2I__GREAT_EXPECTATIONS__DATA_DOCS_SITE": "gs://bucket"}, "in a folder or in s3://bucket/prefix"),
        ({"GE_DATA_DOCS_S3_BUCKET": "s3://"}, "in a folder or in s3://bucket/prefix"),
        (
            {"E2I__RETENTION__PUBLISHED_DATASETS": "0"},
            r"published_datasets: .* greater than or equal to 1\.",
        ),
        (
            {"E2I__RETENTION__PUBLISHED_DATASETS": "5000"},
            r"published_datasets: .* less than or equal to 1000",
        ),
        ({"E2I__RETENTION__MINIMUM_AGE_DAYS": "0"}, r"retention\.minimum_age_days: .* greater than or equal to 1\."),
        ({"E2I__RETENTION__MINIMUM_AGE_DAYS": "99999"}, r"retention\.minimum_age_days: .* less than or equal to 36500"),
        ({"E2I__RETENTION__MINIMUM_AGE": "30"}, r"Did you mean retention\.minimum_age_days\?"),
    ],
)
def test_what_cannot_hold_is_refused(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(environ)


REGRESSION = {
    "E2I__PROBLEM_TYPE": "regression",
    "E2I__OPTUNA__STUDY_DEFAULTS": "{metric: rmse, direction: minimize}",
}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("treatment_initiated", "target is treatment_initiated, which is yes or no: name a numeric column"),
        ("disease_severity", r"features\.covariates: disease_severity reads disease_severity, which is the target"),
    ],
)
def test_a_regression_on_what_is_no_number_or_a_feature_is_refused(target: str, message: str) -> None:
    assert load_settings({**REGRESSION, "E2I__TARGET": "days_to_treatment"}).problem_type == "regression"
    with pytest.raises(ConfigurationError, match=message):
        load_settings({**REGRESSION, "E2I__TARGET": target})


def test_criteria_of_a_regression_bind_no_classification() -> None:
    criteria = load_settings({}).success_criteria
    assert criteria.of("classification")["minimum_r2"] is None
    assert criteria.of("regression")["minimum_r2"] == 0.0


def test_an_overlay_that_is_not_yaml_names_its_line(tmp_path: Path) -> None:
    overlay = tmp_path / "broken.yaml"
    overlay.write_text("splits:\n  gap_days: [1\nbrands: x: y\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"broken\.yaml, line \d"):
        load_settings({"E2I_CONFIG": str(overlay)})


def test_an_address_with_a_password_does_not_show_it() -> None:
    chosen = load_settings({"E2I_METADATA_URL": "postgresql://e2i:hunter2@127.0.0.1/e2i"})

    assert "hunter2" not in repr(chosen)


def test_env_example_lists_every_variable_that_the_profiles_read() -> None:
    profile = (PROJECT / "e2i_pipeline" / "config" / "profiles" / "local.yaml").read_text(encoding="utf-8")
    listed = (PROJECT / ".env.example").read_text(encoding="utf-8")

    names = {part.split(":")[0].split("}")[0] for part in profile.split("${")[1:]} - {"VAR"}

    assert names
    assert not {name for name in names if name not in listed}


def test_an_override_finds_a_key_whatever_its_case() -> None:
    chosen = load_settings({"E2I__OPTUNA__SEARCH_SPACE__LOGISTIC_REGRESSION__C": "[0.1, 1.0]"})

    assert chosen.optuna.search_space["logistic_regression"] == {"C": [0.1, 1.0]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PROCESS": "magic"}, "source.synthetic.process: Input should be 'simple_linear', 'confounded'"),
        ({"REVEAL_CONFOUNDER": "true"}, "the process confounded has no hidden confounder to reveal"),
        ({"LATE_SHARE": "1.5"}, "source.synthetic.late_share: Input should be less than or equal to 1"),
        ({"RESTATED_SHARE": "0.1"}, "source.known_at.baseline_lag_days must be null"),
        ({"RESTATED_EVENT_SHARE": "0.1"}, "source.history.restated must name treatment_events"),
    ],
)
def test_a_switch_of_the_generated_source_says_what_it_needs(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({f"E2I__SOURCE__SYNTHETIC__{name}": value for name, value in given.items()})
    assert said in str(caught.value)


def test_switches_of_the_generated_source_go_with_what_they_need() -> None:
    source = load_settings(
        {
            "E2I__SOURCE__SYNTHETIC__RESTATED_SHARE": "0.1",
            "E2I__SOURCE__SYNTHETIC__RESTATED_EVENT_SHARE": "0.1",
            "E2I__SOURCE__KNOWN_AT__BASELINE_LAG_DAYS": "null",
            "E2I__SOURCE__HISTORY__RESTATED": "[treatment_events]",
        }
    ).source
    assert source.synthetic.restated_share == source.synthetic.restated_event_share == 0.1
    assert source.history.covers("treatment_events")


def test_the_configuration_names_the_processes_that_there_are() -> None:
    assert get_args(SyntheticSettings.model_fields["process"].annotation) == tuple(PROCESSES)
