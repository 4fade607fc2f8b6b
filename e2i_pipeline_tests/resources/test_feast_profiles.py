"""The other configurations: PostgreSQL for everything, AWS as far as it can be tried here, and what is not set."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
import psycopg2
import pytest
import redis
import yaml
from feast import FileSource, RedshiftSource, RepoConfig
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

from e2i_pipeline.domain.features import ENTITIES, PATIENT_FEATURES
from e2i_pipeline.errors import ConfigurationError, ToolUnavailable
from e2i_pipeline.resources.feast_config import offline_kind, read_config
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.feature_oracle import random_history
from e2i_pipeline_tests.feature_store import (
    FEATURE_REPO,
    UNTIL,
    Store,
    applied_store,
    entity_rows,
    feast_in,
    write_views,
)
from e2i_pipeline_tests.staged import stage

postgres = servers.postgres
s3 = servers.s3
BASE = {
    "E2I_FEAST_PROJECT": "e2i_features",
    "E2I_FEAST_REGISTRY": "sqlite:///r.db",
    "E2I_FEAST_ONLINE_STORE": "o.db",
    "E2I_STATE_DIR": ".",
}
REDSHIFT = {
    "E2I_FEAST_REDSHIFT_DATABASE": "e2i",
    "E2I_FEAST_REDSHIFT_USER": "reader",
    "E2I_FEAST_REDSHIFT_STAGING": "s3://staging/feast",
    "E2I_FEAST_REDSHIFT_ROLE": "arn:aws:iam::000000000000:role/feast",
}


@pytest.fixture
def on_postgres(postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An empty database, which the environment names."""
    url = postgres.database()
    parts = urlsplit(url)
    values = {
        "HOST": str(parts.hostname),
        "PORT": str(parts.port),
        "DATABASE": parts.path.lstrip("/"),
        "USER": str(parts.username),
        "PASSWORD": unquote(str(parts.password)),
        "SSLMODE": "disable",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"E2I_FEAST_POSTGRES_{name}", value)
    config = "feature_store.postgres.yaml"
    return {"config": config, "registry": url.replace("postgresql:", "postgresql+psycopg:"), "dsn": url}


def _tables(dsn: str) -> set[str]:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^e2i_[a-z]+_features_[0-9a-f]{16}$'"
        )
        return {row[0] for row in cursor.fetchall()}


def test_postgres_answers_as_the_local_profile_does(tmp_path: Path, on_postgres: dict[str, str]) -> None:
    """Registry, offline and online store in one PostgreSQL; the same rows from files are what is right."""
    dsn = on_postgres.pop("dsn")
    (tmp_path / "local").mkdir()
    (tmp_path / "server").mkdir()
    local = applied_store(tmp_path / "local")
    server = applied_store(tmp_path / "server", **on_postgres)
    rows = entity_rows(300)
    pd.testing.assert_frame_equal(
        server.feast.training_frame(server.registry, rows), local.feast.training_frame(local.registry, rows)
    )
    ready = ["days_since_diagnosis", "call_frequency", "recent_touches"]
    references = [f"{name}_on_demand:{name}" for name in ready]
    pd.testing.assert_frame_equal(
        server.feast.get_historical_features(rows, references)[ready],
        local.feast.get_historical_features(rows, references)[ready],
    )
    for store in (local, server):
        assert sum(store.feast.materialize(store.registry, UNTIL).rows.values()) > 0
    now = rows.assign(event_timestamp=UNTIL)
    pd.testing.assert_frame_equal(
        server.feast.online_frame(server.registry, now), local.feast.online_frame(local.registry, now)
    )
    assert server.feast.is_applied(server.registry)
    assert len(_tables(dsn)) == len(ENTITIES)
    _other_tables_take_the_place_of_the_old_ones(server, tmp_path / "server", dsn)


def _other_tables_take_the_place_of_the_old_ones(server: Store, state: Path, dsn: str) -> None:
    before = _tables(dsn)
    journeys = [{**j, "risk_score": 0.75} for j in server.history.patient_journeys]
    staged = stage(_folder(state, "second"), {**server.history._asdict(), "patient_journeys": journeys})
    registry = server.feast.apply(write_views(server.feast, staged))
    after = _tables(dsn)
    # the first one stays: the pinned service of its definitions reads it
    assert after - before == {t for t in after if "patient" in t} - before
    assert before <= after
    found = server.feast.training_frame(registry, entity_rows(50))["risk_score"]
    assert set(found.dropna()) == {0.75}

    journeys = [{**j, "risk_score": 0.25} for j in server.history.patient_journeys]
    staged = stage(_folder(state, "third"), {**server.history._asdict(), "patient_journeys": journeys})
    server.feast.apply(write_views(server.feast, staged))
    assert not (after - before) & _tables(dsn), "nothing refers to it any more"
    assert before <= _tables(dsn)


def _folder(state: Path, name: str) -> Path:
    (state / name).mkdir()
    return state / name


def test_a_server_that_does_not_answer_is_unavailable(
    tmp_path: Path, on_postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_postgres.pop("dsn")
    feast = feast_in(tmp_path, config=on_postgres["config"])  # the registry in a file answers
    tables = write_views(feast, stage(tmp_path, _little()))
    monkeypatch.setenv("E2I_FEAST_POSTGRES_PORT", str(servers.free_port()))
    with pytest.raises(ToolUnavailable, match=r"was not reached as e2i.*E2I_FEAST_POSTGRES_") as failed:
        feast.apply(tables)
    assert servers._PASSWORD not in str(failed.value)


def _little() -> dict[str, list[dict[str, Any]]]:
    return random_history(seed=5)._asdict()


def test_a_strict_bound_is_refused_where_the_store_cannot_honour_it(
    tmp_path: Path, on_postgres: dict[str, str]
) -> None:
    on_postgres.pop("dsn")
    repository = tmp_path / "feature_repo"
    repository.mkdir()
    for path in FEATURE_REPO.iterdir():
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            (repository / path.name).write_text(text.replace('bound(name, "<=")', 'bound(name, "<")'), encoding="utf-8")
    feast = feast_in(tmp_path, repo=str(repository), **on_postgres)
    with pytest.raises(
        ConfigurationError, match=r"patient_features are declared with the bound <.*offline store postgres"
    ):
        feast.apply(write_views(feast, stage(tmp_path, _little())))


@pytest.mark.parametrize(
    ("config", "given", "missing"),
    [
        ("feature_store.yaml", {}, list(BASE)),
        (
            "feature_store.postgres.yaml",
            BASE,
            [f"E2I_FEAST_POSTGRES_{n}" for n in ("DATABASE", "HOST", "PASSWORD", "USER")],
        ),
        ("feature_store.redis.yaml", BASE, ["E2I_FEAST_REDIS"]),
        ("feature_store.aws.yaml", BASE, list(REDSHIFT)),
    ],
)
def test_what_is_not_set_is_named(
    config: str, given: dict[str, str], missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in missing:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as refused:
        read_config(FEATURE_REPO / config, given)
    assert all(name in str(refused.value) for name in missing)
    assert f"needs {len(missing)} variable" in str(refused.value)


def test_a_secret_is_taken_as_it_is(tmp_path: Path) -> None:
    odd = 'qu"ote: {brace} #hash \\ ${E2I_FEAST_REDIS}'
    config = read_config(FEATURE_REPO / "feature_store.redis.yaml", {**BASE, "E2I_FEAST_REDIS": odd})
    assert config["online_store"]["connection_string"] == odd
    assert RepoConfig(**config).online_store.connection_string == odd
    (tmp_path / "feature_store.yaml").write_text("- a list")
    with pytest.raises(ConfigurationError, match="must be a mapping"):
        read_config(tmp_path / "feature_store.yaml", {})
    with pytest.raises(ConfigurationError, match="E2I_FEAST_CONFIG"):
        read_config(tmp_path / "none.yaml", {})


def test_the_aws_profile_is_a_valid_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as Redshift can be tried here: Feast takes the configuration, and the sources are Redshift's."""
    settings = read_config(FEATURE_REPO / "feature_store.aws.yaml", {**BASE, **REDSHIFT})
    config = RepoConfig(**settings)
    assert (config.project, config.provider) == ("e2i_features", "aws")
    assert (config.online_store.type, config.online_store.region) == ("dynamodb", "us-east-1")
    assert (config.offline_store.type, config.offline_store.cluster_id) == ("redshift", "e2i-analytics")
    assert config.registry.path == "s3://e2i-feast-registry/registry.pb"
    assert offline_kind(settings) == "redshift"
    monkeypatch.setenv("E2I_FEAST_OFFLINE", "redshift")
    repository = feast_in(tmp_path)._repository()
    with repository._globals():
        sources = {n: o for m in repository._load() if m.__name__ == "sources" for n, o in vars(m).items()}
    found = {name: type(sources[name]) for name in ("patient_table", "hcp_table", "engagement_table")}
    assert set(found.values()) == {RedshiftSource}
    assert sources["patient_table"].table == PATIENT_FEATURES
    assert not {FileSource, PostgreSQLSource} & set(found.values())


def test_dynamodb_and_the_registry_on_s3_work(tmp_path: Path, s3: servers.S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a local server of their interfaces; DuckDB stands in for Redshift."""
    monkeypatch.setenv("FEAST_S3_ENDPOINT_URL", s3.url)
    s3._client().create_bucket(Bucket="e2i-feast-registry")
    repository = tmp_path / "feature_repo"
    repository.mkdir()
    for path in FEATURE_REPO.glob("*.py"):
        (repository / path.name).write_bytes(path.read_bytes())
    config = yaml.safe_load((FEATURE_REPO / "feature_store.aws.yaml").read_text(encoding="utf-8"))
    config["offline_store"] = {"type": "duckdb"}
    (repository / "feature_store.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    store = applied_store(tmp_path, repo=str(repository))
    assert "registry.pb" in s3.objects("e2i-feast-registry")
    assert b"\x80\x04\x95" not in s3.objects("e2i-feast-registry")["registry.pb"], "no pickle"
    store.feast.materialize(store.registry, UNTIL)
    rows = entity_rows(40).assign(event_timestamp=UNTIL)
    pd.testing.assert_frame_equal(
        store.feast.online_frame(store.registry, rows), store.feast.training_frame(store.registry, rows)
    )
    assert store.feast.pinned_service(store.feast.contract(store.registry.contract)).startswith("pinned_")
    assert store.feast.apply(store.tables) == store.registry


@pytest.fixture
def redis_address(tmp_path: Path) -> Iterator[str]:
    """A Redis server on loopback, in memory only."""
    if not (binary := shutil.which("redis-server")):
        pytest.skip("Redis' server (redis-server) is not installed")
    port = servers.free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        for _ in range(400):
            with contextlib.suppress(redis.ConnectionError), redis.Redis(port=port) as client:
                client.ping()
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_redis_answers_as_the_local_profile_does(
    tmp_path: Path, redis_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filled, read, and given live touches, two within one second among them."""
    monkeypatch.setenv("E2I_FEAST_REDIS", redis_address)
    store = applied_store(tmp_path, config="feature_store.redis.yaml")
    store.feast.materialize(store.registry, UNTIL)
    rows = entity_rows(60).assign(event_timestamp=UNTIL)
    pd.testing.assert_frame_equal(
        store.feast.online_frame(store.registry, rows), store.feast.training_frame(store.registry, rows)
    )
    for second in (0.0, 0.5, 1.0):
        at = UNTIL + timedelta(seconds=second)
        touch = {"patient_id": "new", "hcp_id": None, "channel": "email", "event_timestamp": at, "known_at": at}
        store.feast.push_touches(store.registry, pd.DataFrame([touch]), store.staged)
    counts = store.feast.get_online_features([{"patient_id": "new"}], ["engagement_features:channel_counts"])
    assert counts["channel_counts"][0][2] == 3
