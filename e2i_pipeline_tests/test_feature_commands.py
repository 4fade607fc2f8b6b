"""`e2i features`: a feature is registered by a command that checks it first, and statistics are shown."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from e2i_pipeline.cli import main
from e2i_pipeline.config.loader import load_settings, settings
from e2i_pipeline.contracts.references import DefectCount, TableRef
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.resources.feature_registration import NEW_FILE, staged_tables
from e2i_pipeline.storage.references import ReferenceIOManager, write_json
from e2i_pipeline_tests.feature_oracle import random_history
from e2i_pipeline_tests.staged import stage

Say = Callable[..., tuple[int, str, str]]

COST = ("cost_90d", "--table", "treatment_events", "--column", "cost", "--dtype", "numeric")
SUM = ("--aggregation", "sum", "--window", "90")


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """The command in a folder of its own, over staged tables that have left a column out."""
    state = tmp_path / "state"
    state.mkdir()
    store = ReferenceIOManager(root=str(state / "references"))
    for name, ref in stage(tmp_path, random_history(1)._asdict()).items():
        left_out = DefectCount(
            table=name, defect="grade: not a column of the data dictionary", rows=1, of_rows=1, treatment="left out"
        )
        told = ref.model_copy(update={"defects": (left_out,)}).model_dump(mode="json")
        write_json(store.path_of(name), {"type": "TableRef", "reference": told})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("E2I_STATE_DIR", str(state))
    monkeypatch.delenv("E2I_CONFIG", raising=False)

    def command(*arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        status = main(["features", *arguments])
        return status, *capsys.readouterr()

    yield command  # type: ignore[misc]
    settings.cache_clear()


def _covariates(file: Path) -> list[dict[str, object]]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))["features"]["covariates"]


def test_a_new_file_holds_what_was_in_effect_and_the_new_feature(say: Say, tmp_path: Path) -> None:
    before = [c.name for c in load_settings({}).features.covariates]
    status, out, _ = say("register", *COST, *SUM, "--low", "0")
    assert status == 0
    assert "stored as cost_90d_times, cost_90d_values" in out
    assert f"E2I_CONFIG={NEW_FILE}" in out
    written = _covariates(tmp_path / NEW_FILE)
    assert [c["name"] for c in written] == [*before, "cost_90d"]
    chosen = load_settings({"E2I_CONFIG": str(tmp_path / NEW_FILE)})
    assert chosen.features.covariates[-1].model_dump() == {
        "name": "cost_90d",
        "table": "treatment_events",
        "column": "cost",
        "dtype": "numeric",
        "aggregation": "sum",
        "window": 90,
        "low": 0,
        "high": None,
    }


def test_the_users_own_file_keeps_its_comments_and_the_same_again_changes_nothing(say: Say, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    score = "{name: score, table: patient_journeys, column: risk_score, dtype: numeric}"
    text = f"# mine\nfeatures:\n  covariates:  # few\n    - {score}\nseed: 3   # why\n"
    mine.write_text(text, encoding="utf-8")
    mine.chmod(0o600)
    environ = {"E2I_CONFIG": str(mine)}
    status, out, _ = say("register", *COST, *SUM, "--dry-run", environ=environ)
    assert (status, mine.read_text(encoding="utf-8")) == (0, text)
    assert "It would be written to" in out
    assert say("register", *COST, *SUM)[0] == 0
    added = (
        "    - {name: cost_90d, table: treatment_events, column: cost, dtype: numeric, aggregation: sum, window: 90}\n"
    )
    assert mine.read_text(encoding="utf-8") == text.replace("seed:", f"{added}seed:")
    assert mine.stat().st_mode & 0o777 == 0o600
    after = mine.read_bytes()
    status, out, _ = say("register", *COST, *SUM)
    assert (status, mine.read_bytes()) == (0, after)
    assert "nothing was changed" in out


def test_a_column_that_was_left_out_so_far_is_said_to_be_landed(say: Say, tmp_path: Path) -> None:
    status, out, _ = say("register", "grade", "--table", "patient_journeys", "--column", "grade", "--dtype", "numeric")
    assert status == 0
    assert "it is landed, and its type checked, by the next run" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("risk_score", *COST[1:]), "already the name of a feature"),
        (("target", *COST[1:]), "already the name of a feature"),
        (("gender", *COST[1:]), "registered already, with another table, column, dtype"),
        (("9lives", *COST[1:]), "name: String should match"),
        (("x", "--table", "treatment_events", "--column", "drug_class", "--dtype", "numeric"), "staged as VARCHAR"),
        (("x", "--table", "treatment_events", "--column", "nowhere", "--dtype", "numeric"), "delivers no"),
        (("x", "--table", "treatment_events", "--column", "dosage", "--dtype", "categorical"), "The source has no"),
        (("x", "--table", "treatment_events", "--column", "patient_id", "--dtype", "categorical"), "names a person"),
        (("x", "--table", "patient_journeys", "--column", "email", "--dtype", "categorical"), "direct identifier"),
        (
            ("x", "--table", "patient_journeys", "--column", "days_to_treatment", "--dtype", "numeric"),
            "holds an outcome",
        ),
        (("x", "--table", "patient_journeys", "--column", "risk_score", "--dtype", "numeric", *SUM), "every version"),
        ((*COST, "--window", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_a_feature_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, say: Say, tmp_path: Path
) -> None:
    status, _, err = say("register", *arguments)
    assert status == 1
    assert re.search(message, err), err
    assert not (tmp_path / NEW_FILE).exists()


def test_a_file_that_would_not_count_is_not_written(say: Say, tmp_path: Path) -> None:
    (tmp_path / NEW_FILE).write_text("seed: 3\n", encoding="utf-8")
    status, _, err = say("register", *COST)
    assert status == 1
    assert f"Set E2I_CONFIG={NEW_FILE}" in err
    status, _, err = say("register", *COST, "--file", "other.yaml", environ={"E2I__FEATURES__COVARIATES": "[]"})
    assert (status, (tmp_path / "other.yaml").exists()) == (1, False)
    assert "unset it first" in err


def test_a_table_that_was_never_staged_is_to_be_staged_first(say: Say, tmp_path: Path) -> None:
    store = ReferenceIOManager(root=str(tmp_path / "state" / "references"))
    store.path_of("treatment_events").unlink()
    assert "treatment_events" not in staged_tables(tmp_path / "state")
    status, _, err = say("register", *COST)
    assert status == 1
    assert "never staged" in err


def test_statistics_are_a_table_of_what_is_recorded(say: Say, tmp_path: Path) -> None:
    status, out, _ = say("statistics")
    assert status == 1
    assert "materialize training_dataset" in out
    metadata = build_resources(load_settings({"E2I_STATE_DIR": str(tmp_path / "state")}))["metadata"]
    histogram = {"edges": [0, 1, 2], "counts": [50, 45], "values": {}, "other": 0}
    row = {"feature": "risk_score", "feature_group": "patient_features", "mean": 0.51234, "unique_count": 2}
    row |= {"null_rate": 0.05, "histogram": histogram, "quantiles": {"0.01": 0, "0.5": 0.5, "0.99": 2}}
    metadata.record_features("Kisqali", "v1", [row], "run-1")  # type: ignore[attr-defined]
    status, out, _ = say("statistics", "--view", "patient_features", "--brand", "Kisqali")
    assert status == 0
    assert out.splitlines()[1].split("  ")[0] == "Kisqali"
    assert all(figure in out for figure in ("0.5123", "0 to 2", "under 11 rows"))
    assert say("statistics", "--view", "hcp_features")[0] == 1


def test_the_staged_tables_are_those_of_the_state_folder(say: Say, tmp_path: Path) -> None:
    found = staged_tables(tmp_path / "state")
    assert set(found) == {"patient_journeys", "treatment_events", "hcp_profiles", "engagement_events"}
    assert all(isinstance(ref, TableRef) for ref in found.values())
