"""The whole graph as a user runs it: command lines in processes of their own, real tools, a state folder that is new.

What one stage does in each case is tested beside that stage; here stands what must hold over all of them.
"""

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import FileInfo, Run

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.base import Reference
from e2i_pipeline.contracts.references import BentoRef, ModelCardRef, PredictionsRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import TuningResult
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.resources.engine import parquet
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline_tests import state_contents
from e2i_pipeline_tests.processes import PROJECT, Done, Product
from e2i_pipeline_tests.resources.connectors.omop_drop import shared_omop

MODEL = "e2i-Kisqali-conversion"
SOURCES = ("patient_journeys", "treatment_events", "hcp_profiles", "engagement_events")
ASSETS = (
    *(*SOURCES, "validated_dataset"),
    *("patient_features", "hcp_features", "engagement_features", "feature_registry", "online_features"),
    *("training_dataset", "experiment_scope", "hyperparameter_study", "trained_model", "model_evaluation"),
    *("registered_model", "promoted_model", "shap_analysis", "model_card", "bento", "deployment", "batch_predictions"),
)
"""What recognizes unchanged input: everything but the report of the run itself."""

RECORDED = (
    *("ml_experiments", "ml_data_quality_reports", "ml_training_runs", "ml_model_registry", "ml_shap_analyses"),
    *("ml_deployments", "ml_observability_spans", "ml_gate_verdicts", "ml_feature_store"),
)


WINDOWED = {
    "name": "recent_bills",
    "table": "treatment_events",
    "column": "cost",
    "dtype": "numeric",
    "aggregation": "sum",
    "window": 120,
    "low": 0,
}
"""A covariate that is configured and nothing else."""


class Looked:
    """What lies in a state folder, seen through the product's own resources.

    Args:
        product: Whose state folder.
    """

    def __init__(self, product: Product) -> None:
        self.state = product.state
        chosen = load_settings(product.environment)
        self._resources = build_resources(chosen)
        self._tracking = chosen.stores.mlflow_tracking_uri.get_secret_value()
        self.home = product.dagster_home

    @property
    def feast(self) -> FeastResource:
        return self._resources["feast"]  # type: ignore[return-value]

    @property
    def mlflow(self) -> MlflowResource:
        return self._resources["mlflow"]  # type: ignore[return-value]

    @property
    def metadata(self) -> MetadataResource:
        return self._resources["metadata"]  # type: ignore[return-value]

    @property
    def gate(self) -> GateResource:
        return self._resources["gate"]  # type: ignore[return-value]

    def reference(self, asset: str, partition: str = "Kisqali") -> Reference:
        return self._resources["io_manager"].current(asset, partition)  # type: ignore[attr-defined]

    def mlflow_runs(self) -> list[Run]:
        """The trainings' runs, without those of trials."""
        return [run for run in self._runs() if "e2i.trial" not in run.data.tags]

    def mlflow_trials(self, run_id: str) -> dict[str, Run]:
        """The runs of a training's trials, by the trial's number."""
        found = [run for run in self._runs() if run.data.tags.get("mlflow.parentRunId") == run_id]
        trials = {run.data.tags["e2i.trial"]: run for run in found}
        assert len(trials) == len(found)
        return trials

    def artifacts(self, run_id: str) -> list[FileInfo]:
        """The files that lie one folder deep among a run's artifacts."""
        client = MlflowClient(self._tracking)
        folders = [one for one in client.list_artifacts(run_id) if one.is_dir]
        return [file for folder in folders for file in client.list_artifacts(run_id, folder.path)]

    def _runs(self) -> list[Run]:
        client = MlflowClient(self._tracking)
        return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))

    def versions(self) -> list[ModelVersion]:
        return self.mlflow.search_models()

    def bentos(self) -> list[str]:
        store = self.state / "bentoml" / "bentos"
        return sorted(f"{path.parent.parent.name}:{path.parent.name}" for path in store.rglob("bento.yaml"))

    def dagster_runs(self) -> list[str]:
        """Ids of Dagster's runs, newest first."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(self.home))
            with dg.DagsterInstance.get() as instance:
                return [run.run_id for run in instance.get_runs()]

    def counts(self) -> dict[str, int]:
        return {table: len(self.metadata.rows(table)) for table in RECORDED}


class Ran(NamedTuple):
    """A finished `e2i run`, with what it left behind by then."""

    done: Done
    counts: dict[str, int]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return Product(
        tmp_path_factory.mktemp("pipeline") / "state",
        E2I__BRANDS="[Kisqali, Fabhalta]",
        E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND="1500",
        E2I__OPTUNA__SEARCH__N_TRIALS="6",
        E2I__FEATURES__COVARIATES=json.dumps(
            [*(c.model_dump(exclude_defaults=True) for c in load_settings({}).features.covariates), WINDOWED]
        ),
    )


@pytest.fixture(scope="module")
def first(product: Product) -> Ran:
    """The first run, on an empty state folder."""
    done = product.e2i("run", "--brand", "Kisqali")
    assert done.status == 0, done.text
    return Ran(done, Looked(product).counts())


@pytest.fixture(scope="module")
def looked(product: Product, first: Ran) -> Looked:
    return Looked(product)


@pytest.fixture(scope="module")
def second(product: Product, first: Ran) -> Ran:
    """The same again."""
    done = product.e2i("run", "--brand", "Kisqali")
    assert done.status == 0, done.text
    return Ran(done, Looked(product).counts())


def unchanged(done: Done) -> set[str]:
    """The assets of which a run said that it found them."""
    return set(re.findall(r"^ +\d+\.\d s  (\w+) +unchanged", done.err, re.MULTILINE))


def summary_of(done: Done) -> dict[str, str]:
    """The lines under which the run says where to look, by their first word or two."""
    return {name.strip(): text for name, text in re.findall(r"^  (\S.{0,13}) (\S.*)$", done.out, re.MULTILINE)}


def test_the_summary_says_what_was_made_and_where_it_lies(product: Product, first: Ran, looked: Looked) -> None:
    said = summary_of(first.done)

    assert re.fullmatch(rf"{MODEL} version 1, (xgboost|logistic_regression)", said["Model"])
    assert re.match(r"AUC 0\.[67]\d\d ", said["Test split"])
    assert [said["Bento"]] == looked.bentos()
    assert (product.started_in / said["Report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "make serve" in said["Serve it"]
    [request] = re.findall(r"-d @(\S+)", first.done.out)
    assert json.loads((product.started_in / request).read_text(encoding="utf-8"))["rows"]


def test_progress_is_one_line_a_step_and_no_noise(first: Ran) -> None:
    lines = [line for line in first.done.err.splitlines() if line.strip()]

    for asset in (*ASSETS, "run_report"):
        assert sum(re.match(rf" +\d+\.\d s  {asset}\b", line) is not None for line in lines) == 1, asset
    odd = [line for line in lines if not re.match(r" +(\d+\.\d s|ok|WARN)  \w+|           trial \d+ of 6, best", line)]
    assert odd == []


def test_there_is_one_mlflow_run_under_the_training_key(looked: Looked, first: Ran) -> None:
    study = looked.reference("hyperparameter_study")
    assert isinstance(study, TuningResult)

    [run] = looked.mlflow_runs()

    assert run.info.run_id == study.mlflow_run_id == looked.mlflow.find_run(study.key)
    assert run.info.status == "FINISHED"
    assert run.data.tags["e2i.training_key"] == study.key
    assert run.data.tags["dagster_run_id"] == looked.dagster_runs()[-1]
    assert run.data.tags["brand"] == "Kisqali"
    assert run.data.metrics["validation_auc"] == pytest.approx(study.best_value)
    assert {"test_auc", "test_brier", "train_auc"} <= set(run.data.metrics)
    assert run.data.params["algorithm"] == study.algorithm
    [rows] = run.inputs.dataset_inputs
    assert (rows.dataset.name, rows.dataset.digest) == (
        "training_dataset/Kisqali",
        run.data.params["training_dataset"][:32],
    )
    assert {column["name"] for column in json.loads(rows.dataset.schema)["mlflow_colspec"]} >= {"age_at_diagnosis"}
    assert {path.path for path in looked.artifacts(run.info.run_id)} >= {
        "environment/requirements.lock", "study/trials.json", "study/history.png", "evaluation/evaluation.json",
    }  # fmt: skip
    trials = looked.mlflow_trials(run.info.run_id)
    assert len(trials) == sum(study.trials.values()) == run.data.metrics["trials"]
    assert not any({"e2i.training_key", "dagster_run_id"} & set(trial.data.tags) for trial in trials.values())


def test_one_version_is_in_production(looked: Looked) -> None:
    [version] = looked.versions()

    assert (version.name, version.version, version.stage) == (MODEL, "1", "production")
    assert version.key == looked.reference("hyperparameter_study").key
    assert looked.mlflow.get_latest_model_version(MODEL) == version
    assert {"model.json", "preprocessing.skops"} <= set(looked.mlflow.model_files(version))


def test_the_bento_answered_its_golden_request(looked: Looked) -> None:
    bento = looked.reference("bento")
    assert isinstance(bento, BentoRef)

    verdict = looked.gate.infrastructure_verdict(bento)

    assert verdict is not None
    assert verdict.is_passed
    assert verdict.run_id == looked.dagster_runs()[-1]
    golden = json.loads(Path(bento.golden_request).read_text(encoding="utf-8"))
    assert len(golden["rows"]) == len(golden["scores"]) >= 7


def test_a_covariate_of_one_entry_is_in_every_stage(looked: Looked) -> None:
    """In Feast, the training dataset, its statistics, the Bento's request and the card; with the right values."""
    name, training = "recent_bills", looked.reference("training_dataset")
    assert isinstance(training, TrainingDatasetRef)
    stored = looked.feast.get_online_features(
        [{"patient_id": "nobody"}], [f"patient_features:{name}_times", f"patient_features:{name}_values"]
    )
    assert stored == {"patient_id": ["nobody"], f"{name}_times": [None], f"{name}_values": [None]}

    [events] = looked.state.glob("staging/treatment_events/*/data.parquet")
    rows, wrong, given = duckdb.execute(f"""
        WITH expected AS (
            SELECT t.patient_journey_id, any_value(t.{name}) AS found, sum(e.cost) AS expected
            FROM {parquet(training.location)} AS t LEFT JOIN {parquet(str(events))} AS e
            ON e.patient_id = t.patient_id AND e.event_date < t.observation_date AND e.known_at <= t.observation_date
                AND e.event_date >= t.observation_date - INTERVAL 120 DAYS GROUP BY ALL)
        SELECT count(*), count(*) FILTER (found IS NULL <> (expected IS NULL) OR abs(found - expected) > 1e-6),
            count(found) FROM expected""").fetchall()[0]
    assert (rows, wrong) == (training.rows, 0)
    assert 0.2 * rows < given <= rows

    recorded = {row["feature"]: row for row in looked.metadata.get_feature_statistics("patient_features", "Kisqali")}
    assert recorded[name]["quantiles"]["0.5"] > 0
    assert recorded[name]["global_importance"] is not None
    for place in ("training/Kisqali/*", "bentoml/models/*/*/files", "mlflow/artifacts/*/*/artifacts"):
        [file] = looked.state.glob(f"{place}/feature_statistics.json")
        assert name in {each["feature"] for each in json.loads(file.read_text(encoding="utf-8"))["features"]}

    bento, card = looked.reference("bento"), looked.reference("model_card")
    assert isinstance(bento, BentoRef)
    assert isinstance(card, ModelCardRef)
    request = json.loads(Path(bento.golden_request).with_name("request.json").read_text(encoding="utf-8"))
    assert all(name in row for row in request["rows"])
    assert name in Path(card.location).read_text(encoding="utf-8")


def test_every_stage_left_its_rows(first: Ran, looked: Looked) -> None:
    assert {table for table, rows in first.counts.items() if not rows} == set()
    [deployed] = looked.metadata.rows("ml_deployments")
    [registered] = looked.metadata.rows("ml_model_registry")
    [trained] = looked.metadata.rows("ml_training_runs")
    assert (deployed["status"], deployed["bento_tag"]) == ("active", looked.bentos()[0])
    assert (registered["stage"], registered["is_champion"]) == ("production", True)
    assert trained["status"] == "completed"
    agents = {row["agent_name"] for row in looked.metadata.rows("ml_observability_spans")}
    assert {"scope_definer", "data_preparer", "model_selector", "model_trainer"} <= agents
    assert {"feature_analyzer", "model_deployer", "prediction_synthesizer"} <= agents


def test_predictions_are_probabilities_of_open_journeys(looked: Looked) -> None:
    scored = looked.reference("batch_predictions")
    assert isinstance(scored, PredictionsRef)

    table = pq.read_table(scored.location)

    assert table.num_rows == scored.rows > 50
    assert pc.min_max(table["probability"]).as_py()["min"] >= 0
    assert pc.min_max(table["probability"]).as_py()["max"] <= 1
    assert len(set(table["patient_journey_id"].to_pylist())) == table.num_rows
    assert set(table["model_version"].to_pylist()) == {"1"}
    training = looked.reference("training_dataset")
    known = f"SELECT count(*) FROM {parquet(scored.location)} JOIN {parquet(training.location)} USING "  # type: ignore[attr-defined]
    assert duckdb.sql(known + "(patient_journey_id) WHERE target IS NOT NULL").fetchall() == [(0,)]


def test_nothing_is_pickled(looked: Looked) -> None:
    assert len(state_contents.files(looked.state)) > 100
    assert state_contents.pickles(looked.state) == []


def test_nobody_is_named_and_no_raw_id_is_kept(looked: Looked) -> None:
    found = state_contents.columns(looked.state)

    assert {path.split("/")[0] for path in found} >= {"staging", "features", "training", "published", "predictions"}
    assert {path for path, names in found.items() if names & {"npi", "first_name", "last_name"}} == set()
    assert list(state_contents.holding(looked.state, r"Kisqali-[PJHTE][0-9]{5}")) == []


def test_a_second_run_finds_everything_unchanged(second: Ran, first: Ran, looked: Looked) -> None:
    assert unchanged(second.done) == set(ASSETS)
    assert len(looked.mlflow_runs()) == 1
    assert len(looked.versions()) == 1
    assert len(looked.bentos()) == 1
    assert summary_of(second.done) == summary_of(first.done)


LOST: dict[str, tuple[str, str]] = {
    "a staged table": ("staging/hcp_profiles/*/data.parquet", "hcp_profiles"),
    "a manifest": ("published/by-key/*.json", "validated_dataset"),
    "the assignment to splits": ("published/assignments/*/data.parquet", "validated_dataset"),
    "a feature table": ("features/patient_features/*/data.parquet", "patient_features"),
    "the Feast registry": ("feast/registry.db", "feature_registry"),
    "the online store": ("feast/online.db", "online_features"),
    "the training dataset": ("training/Kisqali/*/data.parquet", "training_dataset"),
    "a file of the model": ("models/Kisqali/*/preprocessing.skops", "trained_model"),
    "the evaluation": ("evaluations/Kisqali/*/evaluation.json", "model_evaluation"),
    "the narrative": ("attributions/Kisqali/*/narrative.json", "shap_analysis"),
    "the card": ("cards/Kisqali/*/model_card.html", "model_card"),
    "the Bento": ("bentoml/bentos/*/*/bento.yaml", "bento"),
    "a golden request": ("bentos/*/*/golden_request.json", "bento"),
    "the deployment": ("deployment/Kisqali.json", "deployment"),
    "the predictions": ("predictions/Kisqali/*/data.parquet", "batch_predictions"),
}
"""What may be lost, by where it lies, and whose it is. Made again it is the same, so nothing that follows is."""


def lose(state: Path, *names: str) -> set[str]:
    """Deletes files; gives the assets whose they were."""
    for name in names:
        found = list(state.glob(LOST[name][0]))
        assert found, name
        for path in found:
            path.unlink()
    return {LOST[name][1] for name in names}


def test_what_is_lost_is_made_again_and_nothing_else(product: Product, second: Ran, looked: Looked) -> None:
    lost = lose(product.state, "a manifest", "the narrative", "the deployment", "the predictions")

    done = product.e2i("run", "--brand", "Kisqali")

    assert done.status == 0, done.text
    assert unchanged(done) == set(ASSETS) - lost
    assert summary_of(done) == summary_of(second.done)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOST)
def test_exactly_what_is_lost_is_made_again(product: Product, second: Ran, looked: Looked, name: str) -> None:
    lost = lose(product.state, name)

    done = product.e2i("run", "--brand", "Kisqali")

    assert done.status == 0, done.text
    assert unchanged(done) == set(ASSETS) - lost
    assert (len(looked.mlflow_runs()), len(looked.versions()), len(looked.bentos())) == (1, 1, 1)


@pytest.mark.slow
def test_a_changed_range_of_a_covariate_reaches_the_model(tmp_path: Path) -> None:
    def run(high: int) -> set[str]:
        covariate = "{name: bills, table: treatment_events, column: cost, dtype: numeric, aggregation: count"
        settings = {
            "E2I__BRANDS": "[Kisqali]",
            "E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND": "1500",
            "E2I__OPTUNA__SEARCH__N_TRIALS": "4",
            "E2I__FEATURES__COVARIATES": f"[{covariate}, low: 0, high: {high}}}]",
        }
        done = Product(tmp_path / "state", **settings).e2i("run")
        assert done.status == 0, done.text
        return unchanged(done)

    run(high=100)
    found = run(high=200)

    assert found.isdisjoint({"feature_registry", "training_dataset", "hyperparameter_study", "trained_model", "bento"})
    assert found >= set(SOURCES)


def test_a_second_run_records_nothing_twice(second: Ran, first: Ran) -> None:
    grown = {table for table in RECORDED if second.counts[table] != first.counts[table]}

    assert grown == {"ml_observability_spans"}


@pytest.mark.parametrize("with_home", [True, False])
def test_a_good_state_is_built_on_in_a_new_process(product: Product, second: Ran, with_home: bool) -> None:
    done = product.materialize("validated_dataset", with_home=with_home)

    assert done.status == 0, done.text


def test_what_is_deployed_can_be_summarized_again(product: Product, second: Ran) -> None:
    done = product.e2i("summary", "--brand", "Kisqali")

    assert summary_of(done) == summary_of(second.done)


def test_a_brand_that_was_not_run_has_no_summary(product: Product, second: Ran) -> None:
    done = product.e2i("summary", "--brand", "Fabhalta")

    assert done.status == 1
    assert "training_dataset for Fabhalta has not been materialized" in done.err


@pytest.mark.slow
def test_a_lost_memory_finds_the_study_the_run_and_the_version(product: Product, second: Ran, looked: Looked) -> None:
    """As after a step that was killed when its tool had done the work and Dagster did not know yet."""
    shutil.rmtree(looked.state / "references" / "results")

    done = product.e2i("run", "--brand", "Kisqali")

    assert done.status == 0, done.text
    assert unchanged(done) == set(SOURCES)
    assert (len(looked.mlflow_runs()), len(looked.versions()), len(looked.bentos())) == (1, 1, 1)
    assert summary_of(done)["Bento"] == summary_of(second.done)["Bento"]


@pytest.mark.slow
def test_steps_in_parallel_processes_make_one_run_and_one_version(tmp_path: Path, product: Product) -> None:
    settings = {name: value for name, value in product.environment.items() if name.startswith("E2I__")}
    isolated = Product(tmp_path / "state", **settings, E2I__STORES__STEP_ISOLATION="multiprocess")

    done = isolated.e2i("run", "--brand", "Kisqali")

    assert done.status == 0, done.text
    left = Looked(isolated)
    assert (len(left.mlflow_runs()), len(left.versions()), len(left.bentos())) == (1, 1, 1)


def test_a_users_own_asset_meets_the_run_of_the_study_through_dagster_mlflow(
    product: Product, first: Ran, looked: Looked
) -> None:
    """In one process dagster-mlflow makes its run before the study begins: it is taken over, and no other is made."""
    before = {run.info.run_id for run in looked.mlflow_runs()}

    done = product.module("e2i_pipeline_tests.users_own_asset", "Kisqali", "2")

    assert done.status == 0, done.text
    met, study = json.loads(done.out), looked.reference("hyperparameter_study")
    assert isinstance(study, TuningResult)
    assert sum(study.trials.values()) == 2, "a study of this Dagster run, not the one before"
    [run] = [run for run in looked.mlflow_runs() if run.info.run_id not in before]
    assert met["mlflow_run_id"] == study.mlflow_run_id == run.info.run_id
    assert run.data.tags["dagster_run_id"] == met["dagster_run_id"]
    assert run.data.tags["e2i.training_key"] == study.key
    assert run.info.run_name == f"Kisqali-{study.key[:8]}"
    assert run.data.params["their"] == "parameter"
    assert run.data.params["algorithm"] == study.algorithm


def test_a_cohort_that_is_too_small_is_refused_before_any_training(tmp_path: Path) -> None:
    small = Product(tmp_path / "state", E2I__BRANDS="[Kisqali]", E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND="60")

    done = small.e2i("run")

    assert done.status == 1
    assert "training_dataset FAILED" in done.err
    assert re.search(r"The cohort is too small to train on: \d+ journeys in all splits, 300 needed; ", done.err)
    assert re.search(r"Journeys per split: train \d+ \(\d+ positive\), validation", done.err)
    assert "defect of the pipeline" not in done.err
    assert "run again to go on from there" in done.text
    assert not (small.state / "mlflow").exists() or Looked(small).mlflow_runs() == []
    assert not (small.state / "references" / "current" / "hyperparameter_study").exists()


class Story(NamedTuple):
    """A drop that is good, corrupted, and mended: what each process said, and the published manifest after it."""

    said: dict[str, Done]
    manifests: dict[str, bytes]


Rows = list[dict[str, Any]]


def corrupt(journeys: Rows) -> Rows:
    """The same patient twice, and a brand that nobody configured."""
    journeys[1]["patient_id"] = journeys[0]["patient_id"]
    journeys[2]["brand"] = "Unheard-Of"
    return journeys


def shorten(journeys: Rows) -> Rows:
    """A good drop, one journey shorter."""
    return journeys[:-1]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("gate")
    world = generate(["Kisqali"], seed=7, journeys_per_brand=400).tables
    drop = folder / "drop"
    drop.mkdir()
    for name, table in world.items():
        pq.write_table(table, drop / f"{name}.parquet")
    product = Product(
        folder / "state",
        E2I_CONFIG=str(PROJECT / "examples" / "files.yaml"),
        E2I_DATA=str(drop),
        E2I__BRANDS="[Kisqali]",
    )
    published = product.state / "published" / "manifest.json"
    story = Story({}, {})

    def tell(name: str, done: Done) -> None:
        story.said[name], story.manifests[name] = done, published.read_bytes() if published.is_file() else b""

    def deliver(change: Callable[[Rows], Rows]) -> None:
        journeys = world["patient_journeys"]
        changed = pa.Table.from_pylist(change(journeys.to_pylist()), schema=journeys.schema)
        pq.write_table(changed, drop / "patient_journeys.parquet")

    everything = "+validated_dataset"
    tell("good", product.materialize(everything))
    deliver(corrupt)
    tell("corrupted", product.materialize(everything))
    tell("next process", product.materialize("validated_dataset"))
    tell("next process without a home", product.materialize("validated_dataset", with_home=False))
    deliver(shorten)
    tell("mended", product.materialize(everything))
    deliver(lambda journeys: journeys)
    tell("as at first", product.materialize(everything))
    return story


def test_a_good_drop_is_published(story: Story) -> None:
    assert story.said["good"].status == 0, story.said["good"].text
    assert json.loads(story.manifests["good"])["tables"]["patient_journeys"]["rows"] == 400


def test_a_corrupted_drop_fails_the_run_and_says_what_where_and_how_often(story: Story) -> None:
    said = story.said["corrupted"]

    assert said.status == 1
    assert "patient_journeys.patient_id: patient_id_is_unique_as_of (critical) failed: 2 of 400 rows" in said.text
    assert "patient_journeys.brand: brand_is_configured (critical) failed: 1 of 400 rows" in said.text
    assert "gx/expectations/e2i_patient_journeys.json" in said.text
    assert "Correct the source and materialize patient_journeys again" in said.text
    assert "Unheard-Of" not in said.text


@pytest.mark.parametrize("process", ["next process", "next process without a home"])
def test_the_gate_stays_closed_in_a_new_process(story: Story, process: str) -> None:
    said = story.said[process]

    assert said.status == 1
    assert "The quality gate is closed; nothing was changed." in said.text
    assert "patient_journeys.patient_id: patient_id_is_unique_as_of (critical) failed: 2 of 400 rows" in said.text
    assert "patient_journeys.brand: brand_is_configured (critical) failed: 1 of 400 rows" in said.text
    assert "gx/expectations/e2i_patient_journeys.json" in said.text
    assert "Correct the source and materialize patient_journeys again" in said.text
    assert "requested a retry" not in said.text


def test_a_refused_drop_never_replaces_the_last_good_one(story: Story) -> None:
    for process in ("corrupted", "next process", "next process without a home"):
        assert story.manifests[process] == story.manifests["good"], process


def test_a_mended_drop_passes_and_keeps_the_cuts(story: Story) -> None:
    assert story.said["mended"].status == 0, story.said["mended"].text
    good, mended = (json.loads(story.manifests[name]) for name in ("good", "mended"))
    assert mended["tables"]["patient_journeys"]["rows"] == 399
    assert mended["cuts"] == good["cuts"]


def test_a_drop_that_is_again_as_at_first_is_what_is_published(story: Story) -> None:
    assert story.said["as at first"].status == 0, story.said["as at first"].text
    assert story.manifests["as at first"] == story.manifests["good"]


@pytest.fixture(scope="module")
def omop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Product, Done]:
    product = Product(
        tmp_path_factory.mktemp("omop") / "state",
        E2I_CONFIG=str(PROJECT / "examples" / "omop.yaml"),
        E2I_DATA=str(shared_omop()),
        E2I__OPTUNA__SEARCH__N_TRIALS="8",
    )
    return product, product.e2i("run")


def test_the_third_party_drop_ends_with_a_model_and_a_bento(omop: tuple[Product, Done]) -> None:
    product, done = omop
    assert done.status == 0, done.text

    left, said = Looked(product), summary_of(done)

    [version] = left.versions()
    assert version.name == "e2i-RespiratoryRelief-conversion"
    assert said["Model"].startswith(f"{version.name} version 1, ")
    assert left.bentos() == [said["Bento"]]
    bento = left.reference("bento", "RespiratoryRelief")
    assert isinstance(bento, BentoRef)
    verdict = left.gate.infrastructure_verdict(bento)
    assert verdict is not None
    assert verdict.is_passed


def test_the_third_party_drops_defects_stand_in_the_model_card(omop: tuple[Product, Done]) -> None:
    product, _ = omop
    card = Looked(product).reference("model_card", "RespiratoryRelief")
    assert isinstance(card, ModelCardRef)
    found = re.findall(r"<td[^>]*>(.*?)</td>", Path(card.location).read_text(encoding="utf-8"), re.DOTALL)
    cells = [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in found]

    for expected in (
        ("drug_exposure", "no standard concept (drug_concept_id 0)", "7,911", "29,518", "26.8%"),
        ("drug_exposure", "no drug concept, and the source code is a condition's", "6,758", "29,518", "22.9%"),
        ("drug_exposure", "without a visit", "464", "29,518"),
        ("condition_occurrence", "without a visit", "11", "7,900"),
        ("drug_exposure", "equal to another row in all but the primary key", "2", "29,518"),
        ("person", "without an observation period", "4", "1,130"),
        ("visit_occurrence", "dated before 1930, from 1909 on", "54", "32,153"),
    ):
        assert any(tuple(cells[i : i + len(expected)]) == expected for i in range(len(cells))), expected
