"""What runs without being asked, by ticking it: the schedule at night, the sensor on real files."""

import functools
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from e2i_pipeline.config.loader import settings
from e2i_pipeline.definitions import defs
from e2i_pipeline.defs.automation import brand_refresh, nightly, source_changed
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline_tests.processes import Product

BRANDS = settings().brands


@functools.cache
def repository() -> dg.RepositoryDefinition:
    return defs().get_repository_def()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """A folder of the user's own files."""
    folder = tmp_path / "drop"
    folder.mkdir()
    for name, table in generate(["Kisqali"], seed=7, journeys_per_brand=60).tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def source_over(state: Path, kind: str, location: str = "", **options: object) -> SourceResource:
    return SourceResource(
        kind=kind,
        location=location,
        state_dir=str(state),
        brands=BRANDS,
        cohort={"unit": "patient", "outcome_window_days": 180},
        known_at={"kind": "observed"},
        absent={},
        options=options,
        engine=EngineResource(temp_dir=str(state / "spill")),
    )


class Sensor:
    """The sensor and its cursor over one source."""

    def __init__(self, instance: dg.DagsterInstance, source: SourceResource) -> None:
        self._instance, self._source, self._cursor = instance, source, None

    def tick(self) -> list[dg.RunRequest]:
        """What it asks for; what it says instead is in `said`."""
        resources = {"source": self._source}
        with dg.build_sensor_context(
            self._instance, self._cursor, repository_def=repository(), resources=resources
        ) as context:
            told = source_changed.evaluate_tick(context)
        self._cursor = told.cursor or self._cursor
        self.said = told.skip_message or ""
        return list(told.run_requests or [])


@pytest.fixture
def sensor(instance: dg.DagsterInstance, tmp_path: Path, drop: Path) -> Sensor:
    """The sensor, after every brand was refreshed from the files as they are."""
    made = Sensor(instance, source_over(tmp_path / "state", "files", str(drop)))
    assert made.tick() == []
    assert len(made.tick()) == len(BRANDS)
    return made


def test_both_are_off_until_somebody_switches_them_on() -> None:
    assert nightly.default_status == dg.DefaultScheduleStatus.STOPPED
    assert source_changed.default_status == dg.DefaultSensorStatus.STOPPED


def test_the_configuration_says_when() -> None:
    chosen = settings().automation
    assert (nightly.cron_schedule, nightly.execution_timezone) == (chosen.nightly_cron, chosen.timezone)
    assert source_changed.minimum_interval_seconds == chosen.sensor_interval_seconds


def test_each_night_asks_for_each_brand_once(instance: dg.DagsterInstance) -> None:
    def asked(night: datetime) -> list[dg.RunRequest]:
        with dg.build_schedule_context(
            instance, scheduled_execution_time=night, repository_def=repository()
        ) as context:
            return list(nightly.evaluate_tick(context).run_requests or [])

    first, again = asked(datetime(2026, 3, 1, 2, tzinfo=UTC)), asked(datetime(2026, 3, 1, 2, tzinfo=UTC))
    next_night = asked(datetime(2026, 3, 2, 2, tzinfo=UTC))

    assert [request.partition_key for request in first] == BRANDS
    assert [request.run_key for request in first] == [request.run_key for request in again]
    assert len({request.run_key for request in [*first, *next_night]}) == 2 * len(BRANDS)


def test_an_unchanged_source_asks_for_nothing(sensor: Sensor) -> None:
    assert [sensor.tick(), sensor.tick()] == [[], []]
    assert sensor.said == "The source is what it was."


def test_a_replaced_file_asks_for_every_brand_once(sensor: Sensor, drop: Path) -> None:
    journeys = drop / "patient_journeys.parquet"
    pq.write_table(pq.read_table(journeys).slice(1), journeys)

    assert sensor.tick() == []
    assert sensor.said.startswith("Changed: patient_journeys. ")
    requests = sensor.tick()

    assert [request.partition_key for request in requests] == BRANDS
    assert len({request.run_key for request in requests}) == len(BRANDS)
    assert {request.tags["e2i/changed"] for request in requests} == {"patient_journeys"}
    assert sensor.tick() == []


def test_a_new_file_of_an_optional_table_is_a_change(sensor: Sensor, drop: Path, tmp_path: Path) -> None:
    shutil.move(drop / "engagement_events.parquet", tmp_path)
    assert (sensor.tick(), len(sensor.tick())) == ([], len(BRANDS))
    shutil.move(tmp_path / "engagement_events.parquet", drop)
    assert (sensor.tick(), len(sensor.tick())) == ([], len(BRANDS))


def test_a_file_that_is_gone_is_said_and_asks_for_nothing(sensor: Sensor, drop: Path, tmp_path: Path) -> None:
    shutil.move(drop / "patient_journeys.parquet", tmp_path)

    assert sensor.tick() == []

    assert sensor.said.startswith(f"{drop} holds no input for patient_journeys: looked for patient_journeys.csv")
    shutil.move(tmp_path / "patient_journeys.parquet", drop)
    assert [sensor.tick(), sensor.tick()] == [[], []]
    assert sensor.said == "The source is what it was."


def test_a_folder_that_is_gone_is_said_too(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    sensor = Sensor(instance, source_over(tmp_path / "state", "files", str(tmp_path / "nowhere")))
    assert sensor.tick() == []
    assert sensor.said == (f"The source's folder {tmp_path}/nowhere does not exist. Set source.location or E2I_DATA.")


def test_a_generated_source_is_refreshed_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    sensor = Sensor(instance, source_over(tmp_path / "state", "synthetic", seed=7, journeys_per_brand=50))
    assert [len(sensor.tick()) for _ in range(4)] == [0, len(BRANDS), 0, 0]
    assert not (tmp_path / "state").exists(), "a look reads nothing and writes nothing"


def test_the_job_goes_as_far_as_the_gates_let_it(tmp_path: Path, drop: Path) -> None:
    """A brand with too few journeys to train on: everything before that is done, and nothing after it."""
    product = Product(
        tmp_path / "state", E2I__SOURCE__KIND="files", E2I__SOURCE__LOCATION=str(drop), E2I__BRANDS="[Kisqali]"
    )

    done = product.module(
        *("dagster", "job", "execute", "-m", "e2i_pipeline.definitions", "-j", brand_refresh.name),
        *("--tags", '{"dagster/partition": "Kisqali"}'),
        DAGSTER_HOME=str(product.dagster_home),
    )

    assert done.status == 1, done.text
    assert re.search(r"The cohort is too small to train on: \d+ journeys in all splits, 300 needed", done.text)
    made = {path.name for path in (product.state / "references" / "current").iterdir()}
    assert {"validated_dataset", "patient_features", "feature_registry", "online_features"} <= made
    assert made & {"training_dataset", "hyperparameter_study", "bento", "deployment"} == set()
