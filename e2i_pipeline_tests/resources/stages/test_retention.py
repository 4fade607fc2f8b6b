"""The clean-up on a state folder as the product fills it: what goes, what stays and why, and that no reader is hurt."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from e2i_pipeline.contracts.base import Reference
from e2i_pipeline.contracts.references import DatasetRef, DeploymentRef, TableRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.retention import KINDS, RetentionResource
from e2i_pipeline.storage.leases import Leases
from e2i_pipeline.storage.references import ReferenceIOManager, write_json
from e2i_pipeline.storage.results import ResultStore
from e2i_pipeline_tests.resources.mlflow_stores import store_in, unopened_store_in
from e2i_pipeline_tests.resources.stages.published_tables import publication, publish, tables
from e2i_pipeline_tests.resources.stages.test_modelling import modelling

NOW = datetime.now(UTC)
TRAINING = "0123456789abcdef" * 2
OLD = 400 * 86_400.0


class State:
    """A state folder that datasets are published in, with everything looking as old as the test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "state"
        self.metadata = MetadataResource(url=f"sqlite:///{self.root}/metadata.db", lock_dir=str(self.root / "locks"))

    def retention(self, **settings: Any) -> RetentionResource:
        fields = {"published_datasets": 1, "minimum_age_days": 30, "mlflow": unopened_store_in(self.folder)}
        return RetentionResource(state_dir=str(self.root), metadata=self.metadata, **{**fields, **settings})

    def stage(self, journeys: int) -> dict[str, TableRef]:
        """Source tables with so many journeys, as they are landed."""
        given = tables(self.folder / "landing", range(journeys))
        return {name: self.write(table, f"staging/{name}") for name, table in given.items()}

    def write(self, table: TableRef, folder: str) -> Any:
        """A copy of a table, at its place in the state folder."""
        engine = EngineResource(temp_dir=str(self.folder / "spill"))
        with engine.connect() as connection:
            written = engine.write(connection, f"SELECT * FROM '{table.location}'", self.root / folder)
        return table.model_copy(update={"location": written.location, "version": written.version})

    def publish(self, journeys: int) -> DatasetRef:
        return publish(publication(self.folder), self.stage(journeys))

    def train_on(self, dataset: DatasetRef, brand: str = "Kisqali") -> TrainingDatasetRef:
        """A training dataset of a published one."""
        written = self.write(dataset.assignments, f"training/{brand}")
        fields = written.model_dump(exclude={"name"})
        fields |= {"brand": brand, "dataset_key": dataset.key, "features": (), "split_counts": {}, "positives": {}}
        return TrainingDatasetRef(name="training_dataset", **fields)

    def register(self, stage: str, is_champion: bool = False, training: str = TRAINING) -> ModelVersion:
        """A registered version of a training."""
        version = ModelVersion(
            key=training, brand="Kisqali", name="e2i-Kisqali-conversion", version="1", mlflow_run_id="r",
            model_uri="models:/e2i-Kisqali-conversion/1", stage="development",
        )  # fmt: skip
        self.metadata.record_model(version, metrics={}, fairness={}, run_id="run")
        self.metadata.set_stage(version.name, version.version, stage, is_champion)
        return version

    def show(self, asset: str, reference: Reference, partition: str = "_all_", run: str = "") -> None:
        """Makes a reference current, or that of a run."""
        place = f"runs/{run}" if run else "current"
        stored = {"type": type(reference).__name__, "reference": reference.model_dump(mode="json")}
        write_json(self.root / "references" / place / asset / f"{partition}.json", stored)

    def age(self, datasets: Sequence[DatasetRef]) -> None:
        """Makes everything look as if nobody had used it for more than a year; datasets one after the other."""
        then = time.time() - OLD
        for pattern in (*KINDS.values(), "references/runs"):
            for path in self.root.glob(f"{pattern}/*"):
                os.utime(path, (then, then))
        for position, dataset in enumerate(datasets):
            os.utime(dataset.manifest, (then + position * 3600, then + position * 3600))

    def reads(self, dataset: DatasetRef) -> bool:
        locations = [table.location for table in (*dataset.tables.values(), dataset.assignments)]
        return Path(dataset.manifest).is_file() and all(Path(location).is_file() for location in locations)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


@pytest.fixture
def three(state: State) -> list[DatasetRef]:
    """Three datasets, the last one current, all old."""
    datasets = [state.publish(journeys) for journeys in (600, 700, 800)]
    state.age(datasets)
    return datasets


def places(state: State) -> set[str]:
    """What lies where versions lie."""
    found = {path for pattern in KINDS.values() for path in state.root.glob(f"{pattern}/*")}
    return {str(path.relative_to(state.root)) for path in found}


def test_the_current_dataset_and_the_last_ones_stay_readable(state: State, three: list[DatasetRef]) -> None:
    cleaned = state.retention().clean(NOW)

    assert [state.reads(dataset) for dataset in three] == [False, True, True]
    kinds = [thing.kind for thing in cleaned.decision.removed]
    assert kinds == ["manifest", "staged snapshot", "split assignment"]  # what refers to others goes first
    assert cleaned.metadata["cleaned_up"] == 3
    assert cleaned.metadata["cleaned_up_mib"] == pytest.approx(cleaned.decision.size / 2**20, abs=1e-3)
    assert publication(state.folder).current() == three[2]


def test_what_two_datasets_share_stays_with_one_of_them(state: State, three: list[DatasetRef]) -> None:
    shared = {dataset.tables["treatment_events"].location for dataset in three}
    state.retention().clean(NOW)

    assert len(shared) == 1
    assert Path(shared.pop()).is_file()


def test_more_datasets_stay_where_more_are_asked_for(state: State, three: list[DatasetRef]) -> None:
    assert state.retention(published_datasets=2).clean(NOW).decision.removed == ()
    assert all(map(state.reads, three))


def test_what_was_used_lately_stays_however_many_there_are(state: State, three: list[DatasetRef]) -> None:
    for dataset in three[:2]:
        os.utime(dataset.manifest)

    assert state.retention().clean(NOW).decision.removed == ()
    assert all(map(state.reads, three))


def test_a_look_changes_nothing(state: State, three: list[DatasetRef]) -> None:
    before = places(state)

    decision = state.retention().look(NOW)

    assert len(decision.removed) == 3
    assert places(state) == before


def test_an_empty_state_folder_has_nothing_to_clean(state: State) -> None:
    assert state.retention().clean(NOW).decision == state.retention().look(NOW) == ((), ())
    assert not state.root.exists()


def test_current_references_keep_what_they_name(state: State, three: list[DatasetRef]) -> None:
    refused = state.stage(900)["patient_journeys"]
    training = state.train_on(three[0])
    state.show("patient_journeys", refused)
    state.show("training_dataset", training, "Kisqali")
    state.age(three)

    decision = state.retention(published_datasets=1).clean(NOW).decision

    assert decision.removed == ()
    assert Path(refused.location).is_file()
    assert Path(training.location).is_file()
    assert state.reads(three[0]), "a training dataset keeps the published one behind it"


@pytest.mark.parametrize("stage", ["staging", "shadow", "production"])
def test_the_data_behind_a_model_that_may_serve_stays(state: State, three: list[DatasetRef], stage: str) -> None:
    training = state.train_on(three[0])
    modelling(state.folder).note_use(TRAINING, training)
    state.register(stage)
    state.age(three)

    decision = state.retention().clean(NOW).decision

    assert decision.removed == ()
    assert state.reads(three[0])
    assert {by for thing, by in decision.kept if thing.kind == "training dataset"} == {
        "the data behind e2i-Kisqali-conversion version 1"
    }


def test_the_data_behind_a_champion_in_whatever_stage_stays(state: State, three: list[DatasetRef]) -> None:
    modelling(state.folder).note_use(TRAINING, state.train_on(three[0]))
    state.register("development", is_champion=True)
    state.age(three)

    assert state.retention().clean(NOW).decision.removed == ()


def test_the_data_behind_what_is_deployed_stays(state: State, three: list[DatasetRef]) -> None:
    modelling(state.folder).note_use(TRAINING, state.train_on(three[0]))
    version = state.register("archived")
    deployed = DeploymentRef(key="k", brand="Kisqali", bento_tag="b:1", location="", endpoint="", status="active")
    state.metadata.record_deployment(deployed, "development", "run", model=version)
    state.age(three)

    assert state.retention().clean(NOW).decision.removed == ()


def test_the_data_behind_a_model_that_somebody_promoted_in_mlflow_stays(state: State, three: list[DatasetRef]) -> None:
    store = store_in(state.folder)
    run = store.open_run(TRAINING, "Kisqali", "Kisqali", "run").run_id
    uri = store.log_model(run, {"model.json": b"{}"}, pd.DataFrame({"risk_score": [0.5]}))
    version = store.register_model("Kisqali", "conversion", run, uri, TRAINING)
    modelling(state.folder).note_use(TRAINING, state.train_on(three[0]))
    state.age(three)
    assert store.serving_trainings(["staging"]) == {}
    store.transition_model_stage(version.name, version.version, "staging")

    assert store.serving_trainings(["staging"]) == {TRAINING: "e2i-Kisqali-conversion version 1"}
    assert state.retention(mlflow=store).clean(NOW).decision.removed == ()


def test_the_data_behind_a_model_that_was_archived_may_go(state: State, three: list[DatasetRef]) -> None:
    training = state.train_on(three[0])
    modelling(state.folder).note_use(TRAINING, training)
    state.register("archived")
    state.age(three)

    state.retention().clean(NOW)

    assert not Path(training.location).exists()
    assert [state.reads(dataset) for dataset in three] == [False, True, True]


def test_where_nobody_wrote_down_the_data_behind_a_model_all_of_it_stays(state: State, three: list[DatasetRef]) -> None:
    state.register("production", is_champion=True)

    decision = state.retention().clean(NOW).decision

    assert decision.removed == ()
    assert any("whose data is not written down" in by for _, by in decision.kept)


def test_a_run_at_work_keeps_what_its_references_name(state: State, three: list[DatasetRef]) -> None:
    leases = Leases(state.root / "dagster" / "history" / "leases")
    state.show("validated_dataset", three[0], run="a run")
    state.age(three)
    leases.take("a run")

    assert state.retention().clean(NOW).decision.removed == ()
    leases.release("a run")
    assert len(state.retention().clean(NOW).decision.removed) == 3


def test_a_run_without_a_lease_keeps_them_for_a_day(state: State, three: list[DatasetRef]) -> None:
    state.show("validated_dataset", three[0], run="a run")

    assert state.retention().clean(NOW).decision.removed == ()
    state.age(three)
    assert len(state.retention().clean(NOW).decision.removed) == 3


@pytest.mark.parametrize("name", ["definitions.json", "materialized.json"])
def test_the_feature_store_keeps_its_tables(state: State, three: list[DatasetRef], name: str) -> None:
    served, other = (
        state.write(table, "features/patient_features")
        for table in (three[1].tables["patient_journeys"], three[2].assignments)
    )
    write_json(state.root / "feast" / name, {"tables": {"patient_features": served.location}})
    state.age(three)

    state.retention().clean(NOW)

    assert Path(served.location).is_file()
    assert not Path(other.location).exists()


def test_the_feature_definitions_of_a_registered_model_stay_whatever_became_of_it(
    state: State, three: list[DatasetRef]
) -> None:
    used, other = "a" * 32, "b" * 32
    for key in (used, other):
        table = {"table_version": Path(three[0].assignments.location).parent.name}
        write_json(state.root / "feast" / "contracts" / f"{key}.json", {"key": key, "views": {"v": table}})
    trained = state.train_on(three[0]).model_copy(update={"contract": used})
    modelling(state.folder).note_use(TRAINING, trained)
    state.register("archived")
    state.age(three)

    removed = {thing.place for thing in state.retention().clean(NOW).decision.removed}

    assert f"feast/contracts/{other}.json" in removed
    assert (state.root / "feast" / "contracts" / f"{used}.json").is_file()
    assert not Path(trained.location).exists(), "the definitions keep no data"


def remember(state: State, dataset: DatasetRef) -> None:
    """What `validated_dataset` and landing remember of a dataset."""
    results = ResultStore(root=str(state.root / "references"))

    @dg.asset(name="validated_dataset", io_manager_key="kept")
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return results.keep(context, dataset.key, dataset, {})

    dg.materialize([made], resources={"kept": dg.InMemoryIOManager()})
    for table in dataset.tables.values():
        write_json(
            state.root / "staging" / table.name / "keys" / f"{dataset.key}.json",
            {"table": table.model_dump(mode="json")},
        )


def recall(state: State, dataset: DatasetRef) -> Any:
    """What the memory says of a dataset."""
    results, found = ResultStore(root=str(state.root / "references")), []

    @dg.asset(name="validated_dataset", io_manager_key="kept")
    def made(context: dg.AssetExecutionContext) -> str:
        found.append(results.recall(context, dataset.key))
        return ""

    dg.materialize([made], resources={"kept": dg.InMemoryIOManager()})
    return found[0]


def test_what_is_removed_is_forgotten_and_what_stays_is_remembered(state: State, three: list[DatasetRef]) -> None:
    for dataset in three:
        remember(state, dataset)

    state.retention().clean(NOW)

    memory = state.root / "references" / "results" / "validated_dataset" / "_all_"
    assert {path.stem for path in memory.iterdir()} == {three[1].key, three[2].key}
    keys = state.root / "staging" / "patient_journeys" / "keys"
    assert {path.stem for path in keys.iterdir()} == {three[1].key, three[2].key}
    assert recall(state, three[0]) is None
    assert recall(state, three[1]).value == three[1]


def test_what_was_recalled_is_in_use_again(state: State, three: list[DatasetRef]) -> None:
    remember(state, three[0])
    assert recall(state, three[0]).value == three[0]

    assert state.retention(published_datasets=2).clean(NOW).decision.removed == ()
    assert state.reads(three[0])


def test_what_a_step_has_read_from_the_io_manager_is_in_use_again(state: State, three: list[DatasetRef]) -> None:
    """A run that has resolved a reference finds its files, whatever another one publishes and cleans up meanwhile."""
    store = ReferenceIOManager(root=str(state.root / "references"))
    state.show("dataset", three[0])
    read: list[DatasetRef] = []

    @dg.asset(ins={"dataset": dg.AssetIn(dg.AssetKey("dataset"))})
    def reader(dataset: DatasetRef) -> dg.MaterializeResult:
        state.show("dataset", three[2])
        state.retention().clean(NOW)
        read.append(dataset)
        return dg.MaterializeResult(value=dataset)

    source = dg.AssetSpec("dataset")
    dg.materialize([source, reader], resources={"io_manager": store})

    assert read == [three[0]]
    assert state.reads(three[0])


def test_who_has_just_read_the_manifest_is_given_time(state: State, three: list[DatasetRef]) -> None:
    """A dataset that was current a moment ago is not old, whenever it was made."""
    publication(state.folder).make_current(three[0])
    state.retention(published_datasets=1).clean(NOW)

    assert state.reads(three[2])


def test_writing_what_was_removed_makes_it_again(state: State, three: list[DatasetRef]) -> None:
    state.retention().clean(NOW)

    assert state.publish(600).tables == three[0].tables
    assert state.reads(three[0].model_copy(update={"manifest": str(state.root / "published" / "manifest.json")}))


def test_without_the_metadata_database_nothing_is_removed(state: State, three: list[DatasetRef]) -> None:
    before = places(state)
    (state.root / "metadata.db").write_bytes(b"no database, and longer than the header of one would have to be" * 20)
    said: list[str] = []

    with pytest.raises(E2IError, match="metadata database"):
        state.retention().clean(NOW)
    cleaned = state.retention().clean_after_publication(NOW, said.append)

    assert places(state) == before
    assert cleaned.metadata["cleaned_up"] == 0
    assert cleaned.metadata["clean_up_problem"]
    assert said == [f"Old data was not cleaned up; the next publication tries again. {cleaned.problem}"]


def test_what_is_removed_is_said(state: State, three: list[DatasetRef]) -> None:
    said: list[str] = []

    state.retention().clean_after_publication(NOW, said.append)
    state.retention().clean_after_publication(NOW, said.append)

    assert len(said) == 1
    assert said[0].startswith("Cleaned up 3 things, ")
    assert f"published/by-key/{three[0].key}.json" in said[0]


_CLEANS = """
import sys
from datetime import UTC, datetime
from e2i_pipeline.resources.stages.retention import RetentionResource
retention = RetentionResource.model_validate_json(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(len(retention.clean(datetime.now(UTC)).decision.removed))
tools = {"mlflow", "feast", "great_expectations", "optuna", "shap", "bentoml", "opik"}
assert tools & set(sys.modules) == set(), sys.modules
"""


def cleaner(state: State, text: str = _CLEANS) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", text, state.retention().model_dump_json()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_clean_ups_at_once_do_no_harm_and_import_no_tool(state: State, three: list[DatasetRef]) -> None:
    processes = [cleaner(state), cleaner(state)]

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda process: process.communicate("go\n")[0], processes))

    assert [process.returncode for process in processes] == [0, 0]
    assert sum(map(int, said)) == 3
    assert [state.reads(dataset) for dataset in three] == [False, True, True]


_DIES = """
import os, signal, sys
from datetime import UTC, datetime
from e2i_pipeline.resources.stages.retention import RetentionResource
retention = RetentionResource.model_validate_json(sys.argv[1])
print("ready", flush=True)
at, seen = int(sys.stdin.readline()), []
def hook(event, arguments):
    if event in ("os.rename", "os.remove", "os.rmdir"):
        seen.append(event)
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
retention.clean(datetime.now(UTC))
"""


@pytest.mark.parametrize("change", [1, 3, 6, 9])
def test_a_killed_clean_up_is_completed_by_the_next(state: State, three: list[DatasetRef], change: int) -> None:
    """Whenever it is killed: each manifest that is there can be read whole, and nothing is left over in the end."""
    for dataset in three:
        remember(state, dataset)
    killed = cleaner(state, _DIES)
    killed.communicate(f"{change}\n")
    assert killed.returncode == -9

    for dataset in three:
        assert state.reads(dataset) or not Path(dataset.manifest).exists()
    assert [state.reads(dataset) for dataset in three[1:]] == [True, True]

    state.retention().clean(NOW)

    assert [state.reads(dataset) for dataset in three] == [False, True, True]
    assert not Path(three[0].assignments.location).exists()
    assert not Path(three[0].tables["patient_journeys"].location).exists()
    assert list(state.root.rglob(".writing-*")) == []
