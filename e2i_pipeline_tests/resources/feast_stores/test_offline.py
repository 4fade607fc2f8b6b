"""The offline store behind Feast's interface: what it takes, writes, says of itself, and refuses."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Float64, Int64, String

from e2i_pipeline.errors import ConfigurationError, ToolRejected
from e2i_pipeline.resources.feast_stores.offline import KnownTimeOfflineStore
from e2i_pipeline_tests.resources.feast_stores.join_oracle import Fact, seen
from e2i_pipeline_tests.resources.feast_stores.stores import CREATED, EVENT, entity, open_store, view
from e2i_pipeline_tests.servers import S3

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]
PATIENT = Field(name="patient_id", dtype=String)


def _stays(folder: Path) -> Path:
    """Stays of three patients; p1's second is known late, and the first is corrected later still."""
    path = folder / "stays.parquet"
    rows = [
        ("p1", DAY[0], DAY[0], 1, 1.0),
        ("p1", DAY[2], DAY[9], 2, 2.0),
        ("p1", DAY[0], DAY[12], 3, 3.0),
        ("p2", DAY[1], DAY[1], 4, None),
        (None, DAY[1], DAY[1], 5, 5.0),
    ]
    pd.DataFrame(rows, columns=["patient_id", EVENT, CREATED, "stays", "cost"]).to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store with one view of stays."""
    folder = tmp_path_factory.mktemp("stays")
    fields: dict[str, Any] = {"stays": Int64, "cost": Float64}
    return open_store(folder, [view("stays", _stays(folder), [PATIENT], fields)], memory_limit="300MB", threads=1)


ROWS = pd.DataFrame(
    {
        "label": [10, 11, 12, 13, 14],
        "patient_id": ["p1", "p1", "p1", "stranger", None],
        EVENT: [DAY[5], DAY[10], DAY[20], DAY[20], DAY[20]],
    }
)
FEATURES = ["stays:stays", "stays:cost"]


def test_a_late_correction_of_an_old_event_does_not_displace_a_newer_one(store: FeatureStore) -> None:
    found = store.get_historical_features(ROWS, FEATURES).to_df()
    assert found["label"].tolist() == ROWS["label"].tolist()
    assert found["stays"].fillna(-1).tolist() == [1, 2, 2, -1, -1]


def test_a_statement_gives_what_a_frame_gives_and_runs_within_the_configured_limits(
    store: FeatureStore, tmp_path: Path
) -> None:
    ROWS.to_parquet(tmp_path / "rows.parquet", index=False)
    query = f"SELECT label, patient_id, {EVENT} FROM read_parquet('{tmp_path}/rows.parquet') ORDER BY label -- all"
    by_query = store.get_historical_features(query, FEATURES).to_df()
    by_frame = store.get_historical_features(ROWS, FEATURES).to_df()
    pd.testing.assert_frame_equal(by_query, by_frame)
    asked = f"SELECT current_setting('threads') AS label, 'p1' AS patient_id, DATE '2024-01-20' AS {EVENT}"
    found = store.get_historical_features(asked, FEATURES).to_df()
    assert found[["label", "stays"]].to_numpy().tolist() == [[1, 2]]


def test_a_view_is_joined_twice_under_other_names_and_keys(store: FeatureStore) -> None:
    stays = store.get_feature_view("stays")
    service_views = [
        stays.with_name("mother").with_join_key_map({"patient_id": "mother_id"})[["stays"]],
        stays.with_name("child").with_join_key_map({"patient_id": "child_id"})[["stays", "cost"]],
    ]
    from feast import FeatureService

    rows = pd.DataFrame({"mother_id": ["p1", "p2"], "child_id": ["p2", "p1"], EVENT: [DAY[20], DAY[20]]})
    service = FeatureService(name="family", features=service_views)
    store.apply(service)
    found = store.get_historical_features(rows, service, full_feature_names=True).to_df()
    assert found["mother__stays"].tolist() == [2, 4]
    assert found["child__stays"].tolist() == [4, 2]
    assert found["child__cost"].fillna(-1).tolist() == [-1, 2.0]


def test_columns_may_be_called_as_those_of_the_statement_are(tmp_path: Path) -> None:
    """Without a known-at time, a feature `event` must not be taken for the time of the event."""
    names = ["entity", "event", "created", "visible", "row", "k0", "c0"]
    path = tmp_path / "named.parquet"
    late = 2**60  # as microseconds, further off than any time here
    newer, older = [*range(late, late + 7)], [*range(late + 7, late + 14)]
    rows = [("p1", DAY[2], *newer), ("p1", DAY[0], *older)]
    pd.DataFrame(rows, columns=["patient_id", EVENT, *names]).to_parquet(path, index=False)
    store = open_store(tmp_path, [view("named", path, [PATIENT], dict.fromkeys(names, Int64), created="")])
    asked = pd.DataFrame({"patient_id": ["p1", "p1"], EVENT: [DAY[1], DAY[3]], "rowid": [8, 8], "e0": [9, 9]})
    found = store.get_historical_features(asked, [f"named:{name}" for name in names]).to_df()
    assert found[["rowid", "e0", *names]].to_numpy().tolist() == [[8, 9, *older], [8, 9, *newer]]


def test_columns_of_a_file_may_have_other_names(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    pd.DataFrame({"who": ["p1"], "happened": [DAY[0]], "Raw Value": [7]}).to_parquet(path, index=False)
    source = FileSource(
        name="raw",
        path=str(path),
        timestamp_field="happened",
        field_mapping={"who": "patient_id", "Raw Value": "value"},
    )
    named = FeatureView(
        name="named",
        entities=[entity("patient_id")],
        source=source,
        schema=[PATIENT, Field(name="value", dtype=Int64)],
    )
    found = open_store(tmp_path, [named]).get_historical_features(ROWS, ["named:value"]).to_df()
    assert found["value"].fillna(-1).tolist() == [7, 7, 7, -1, -1]


def test_what_is_persisted_is_what_is_read_and_nothing_is_replaced_unasked(store: FeatureStore, tmp_path: Path) -> None:
    job = store.get_historical_features(ROWS, FEATURES)
    for path in (tmp_path / "made" / "rows.parquet", tmp_path / "folder"):
        storage = SavedDatasetFileStorage(path=str(path))
        job.persist(storage)
        with pytest.raises(SavedDatasetLocationAlreadyExists):
            job.persist(storage)
        job.persist(storage, allow_overwrite=True)
        assert pq.read_table(path).to_pylist() == job.to_arrow().to_pylist()
    assert not [p for p in tmp_path.rglob("*") if p.suffix == ".part"]
    ROWS.to_parquet(tmp_path / "folder" / "other.parquet")
    with pytest.raises(ToolRejected, match="1 other Parquet file"):
        job.persist(SavedDatasetFileStorage(path=str(tmp_path / "folder")), allow_overwrite=True)


def test_a_saved_dataset_is_read_back(store: FeatureStore, tmp_path: Path) -> None:
    job = store.get_historical_features(ROWS, FEATURES)
    said = job.metadata
    assert said is not None
    assert said.features == FEATURES
    assert said.keys == ["label", "patient_id"]
    assert (said.min_event_timestamp, said.max_event_timestamp) == (DAY[5], DAY[20])
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved.parquet"))
    saved = store.create_saved_dataset(job, "saved", storage)
    assert saved.to_df()["stays"].fillna(-1).tolist() == [1, 2, 2, -1, -1]


def test_rows_keep_their_order_where_there_are_many(store: FeatureStore, tmp_path: Path) -> None:
    query = f"""
        SELECT i AS label, 'p' || (hash(i) % 3) AS patient_id,
            TIMESTAMPTZ '2024-01-01' + to_hours((hash(i + 1) % 600)::INT) AS {EVENT}
        FROM range(300_000) t(i)"""
    store.get_historical_features(query, FEATURES).persist(SavedDatasetFileStorage(path=str(tmp_path / "many.parquet")))
    labels = pq.read_table(tmp_path / "many.parquet", columns=["label"])["label"].to_numpy()
    assert (labels == range(300_000)).all()


def test_reads_run_side_by_side(store: FeatureStore) -> None:
    def read(number: int) -> list[Any]:
        rows = ROWS.assign(label=ROWS["label"] + 100 * number)
        return store.get_historical_features(rows, FEATURES).to_df()[["label", "stays"]].fillna(-1).to_numpy().tolist()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, range(8)))
    expected = [1, 2, 2, -1, -1]
    assert found == [[[10 + i + 100 * n, expected[i]] for i in range(5)] for n in range(8)]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (None, "span of time"),
        (ROWS.drop(columns="patient_id"), "patient_id"),
        (ROWS.rename(columns={"label": "stays"}), "stays"),
        (ROWS.rename(columns={EVENT: "moment"}).assign(other=DAY[0]), "event_timestamp"),
        (ROWS.assign(patient_id=[10001, 2, 3, 4, 5]), "BIGINT"),
        (ROWS.assign(patient_id=["p10001", 2, 3, 4, 5]), "one type"),
        (ROWS.assign(event_timestamp=["p10001", *["2024-01-01"] * 4]), "not times"),
        (ROWS.assign(event_timestamp=1.5), "DOUBLE"),
        (f"SELECT 'p10001' AS patient_id, CAST('p10001' AS DATE) AS {EVENT}", "ConversionException"),
        ("SELECT nonsense FROM nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_joined_is_refused_without_repeating_a_value(store: FeatureStore, rows: Any, named: str) -> None:
    with pytest.raises(ToolRejected, match=named) as refused:
        store.get_historical_features(rows, FEATURES, start_date=None if rows is not None else DAY[0]).to_arrow()
    assert "10001" not in str(refused.value)


def test_a_key_column_without_any_key_matches_nothing(store: FeatureStore) -> None:
    found = store.get_historical_features(ROWS.assign(patient_id=None), FEATURES).to_df()
    assert found["stays"].isna().all()


@pytest.mark.parametrize(
    ("changed", "error", "named"),
    [
        ({"tags": {"bound": "=<"}}, ConfigurationError, "=<"),
        ({"created": "nowhere"}, ToolRejected, "nowhere"),
        ({"created": "stays"}, ToolRejected, "BIGINT"),
        ({"path": Path("gone.parquet")}, ToolRejected, "gone.parquet"),
        ({"path": "gs://bucket/stays.parquet"}, ToolRejected, "gs://"),
    ],
)
def test_a_view_that_cannot_be_read_is_refused(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], named: str
) -> None:
    given = {"path": _stays(tmp_path), **changed}
    refused = view("wrong", given.pop("path"), [PATIENT], {"stays": Int64}, **given)
    opened = open_store(tmp_path, [refused])
    with pytest.raises(error, match=named):
        opened.get_historical_features(ROWS, ["wrong:stays"]).to_arrow()


def _random_facts(chance: random.Random) -> list[tuple[Any, ...]]:
    def day() -> datetime | None:
        return None if chance.random() < 0.1 else chance.choice(DAY[:8])

    return [(chance.choice(["p1", "p2", None]), day(), day(), n) for n in range(30)]


@pytest.mark.parametrize("has_created", [True, False])
def test_the_latest_rows_of_a_span_are_those_that_became_visible_in_it(tmp_path: Path, has_created: bool) -> None:
    chance = random.Random(7)  # noqa: S311 - test data
    for number in range(8):
        facts = _random_facts(chance)
        path = tmp_path / f"{number}.parquet"
        frame = pd.DataFrame(facts, columns=["patient_id", EVENT, CREATED, "value"])
        frame.astype({EVENT: "datetime64[us, UTC]", CREATED: "datetime64[us, UTC]"}).to_parquet(path, index=False)
        source = FileSource(name="facts", path=str(path), timestamp_field=EVENT)
        first, last = sorted((chance.choice(DAY[:8]), chance.choice(DAY[:8])))
        created = CREATED if has_created else None
        job = KnownTimeOfflineStore.pull_latest_from_table_or_query(
            _config(tmp_path), source, ["patient_id"], ["value"], EVENT, created, first, last
        )
        found = {row["patient_id"]: row["value"] for row in job.to_arrow().to_pylist()}
        table = [Fact((k,), _ns(e), _ns(c), (v, e, c)) for k, e, c, v in facts]
        expected = {}
        for key in ("p1", "p2"):
            best = seen(table, (key,), _ns(last), None, False, has_created)
            if best is not None:
                value, event, known = best.value
                if max(event, known if has_created else event) >= first:
                    expected[key] = value
        assert found == expected


def test_all_rows_of_a_span_are_read_whenever_they_were_known(tmp_path: Path) -> None:
    source = FileSource(name="stays", path=str(_stays(tmp_path)), timestamp_field=EVENT)

    def stays(first: datetime | None, last: datetime | None) -> list[int]:
        job = KnownTimeOfflineStore.pull_all_from_table_or_query(
            _config(tmp_path), source, ["patient_id"], ["stays"], EVENT, CREATED, first, last
        )
        return sorted(job.to_df()["stays"].tolist())

    assert stays(DAY[1], DAY[2]) == [2, 4, 5]
    assert stays(None, DAY[0] + timedelta(hours=1)) == [1, 3]
    assert stays(None, None) == [1, 2, 3, 4, 5]


def test_rows_are_written_back_through_feast(tmp_path: Path) -> None:
    path = _stays(tmp_path)
    opened = open_store(tmp_path, [view("stays", path, [PATIENT], {"stays": Int64, "cost": Float64})])
    more = pd.DataFrame([("p2", DAY[3], DAY[3], 9, 9.0)], columns=["patient_id", EVENT, CREATED, "stays", "cost"])
    opened.write_to_offline_store("stays", more)
    found = opened.get_historical_features(ROWS.assign(patient_id="p2"), ["stays:stays"]).to_df()
    assert found["stays"].tolist() == [9] * 5
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT count(*) FROM '{path}'").fetchall() == [(6,)]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of a server of its own."""
    server = S3()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()  # it knows servers of other tests
    yield f"s3://{server.bucket()}"
    server.stop()


def test_files_in_s3_are_read_and_written(place: str, tmp_path: Path) -> None:
    with fsspec.open(f"{place}/stays/part-1.parquet", "wb") as file:
        file.write(_stays(tmp_path).read_bytes())
    fields: dict[str, Any] = {"stays": Int64}
    views = [
        view("file", f"{place}/stays/part-1.parquet", [PATIENT], fields),
        view("folder", f"{place}/stays", [PATIENT], fields),
    ]
    job = open_store(tmp_path, views).get_historical_features(
        ROWS, ["file:stays", "folder:stays"], full_feature_names=True
    )
    found = job.to_arrow().to_pylist()
    assert [row["file__stays"] for row in found] == [row["folder__stays"] for row in found] == [1, 2, 2, None, None]
    storage = SavedDatasetFileStorage(path=f"{place}/made.parquet")
    job.persist(storage)
    with fsspec.open(f"{place}/made.parquet", "rb") as file:
        assert pq.read_table(file).to_pylist() == found
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)


def _config(folder: Path) -> Any:
    return open_store(folder, []).config


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp()) * 10**9
