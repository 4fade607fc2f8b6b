"""From the generated source to landed tables, splits and feature tables, with DuckDB."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from e2i_pipeline.contracts.cohort import KnownAt
from e2i_pipeline.contracts.references import ColumnInfo, FeatureSpec, SplitCuts, TableRef
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain import cohorts, landing, privacy, versions
from e2i_pipeline.domain import splits as split_rules
from e2i_pipeline.domain.feature_tables import view_query
from e2i_pipeline.domain.features import ENTITIES, ViewPlan, model_features, plan_view
from e2i_pipeline.domain.synthetic import generate

PROJECT = Path(__file__).resolve().parents[2]


class Splits(NamedTuple):
    """Each journey's split: up to when anything is known, the cut dates, the file of assignments."""

    as_of: datetime
    cuts: SplitCuts
    assignments: Path


class Views(NamedTuple):
    """The feature tables by view, what each holds, and the features that a model sees."""

    tables: Mapping[str, TableRef]
    plans: Mapping[str, ViewPlan]
    features: tuple[FeatureSpec, ...]


def configuration() -> dict[str, Any]:
    """The product's own configuration, as it stands in its file."""
    import yaml

    return yaml.safe_load((PROJECT / "e2i_pipeline" / "config" / "e2i.yaml").read_text(encoding="utf-8"))


@contextmanager
def connected(folder: Path) -> Iterator[Any]:
    """An in-memory DuckDB in UTC."""
    import duckdb

    config: Any = {"temp_directory": str(folder / "spill"), "autoinstall_known_extensions": False}
    with duckdb.connect(config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def land(connection: Any, chosen: Mapping[str, Any], journeys: int, folder: Path) -> dict[str, TableRef]:
    """Generates the source and lands each table: cast, pseudonymized, with its known-at time."""
    window = chosen["cohort"]["outcome_window_days"]
    world = generate(tuple(chosen["brands"]), chosen["source"]["synthetic"]["seed"], journeys, window)
    key = os.environ["E2I_PSEUDONYM_KEY"].encode()
    connection.execute(f"CREATE TEMP TABLE {privacy.PADS} (ipad BLOB, opad BLOB)")
    connection.execute(f"INSERT INTO {privacy.PADS} VALUES (?, ?)", privacy.pads(key))
    known_at = KnownAt.model_validate(chosen["source"]["known_at"])
    landed: dict[str, TableRef] = {}
    for name, schema in TABLES.items():
        connection.register("raw", world.tables[name])
        found = {column: dtype for column, dtype, *_ in connection.execute("DESCRIBE SELECT * FROM raw").fetchall()}
        plan = landing.plan(schema, found, ())
        connection.execute(f"CREATE OR REPLACE TEMP TABLE rows_read AS {landing.read_sql(plan, 'SELECT * FROM raw')}")
        for pseudonyms, statement in landing.pseudonym_maps(plan, "rows_read").items():
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {pseudonyms} AS {statement}")
        query = versions.known_sql(plan, known_at, f"({landing.landed_sql(plan, 'rows_read')})")
        landed[name] = write(connection, name, query, folder / f"{name}.parquet")
    return landed


def write(connection: Any, name: str, query: str, path: Path, order: str = "") -> TableRef:
    """Writes a query's result as Parquet."""
    by = f" ORDER BY {order}" if order else ""
    connection.execute(f"COPY ({query}{by}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    columns = connection.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
    known = None
    if any(column == "known_at" for column, *_ in columns):
        ((latest,),) = connection.execute(f"SELECT max(known_at) FROM '{path}'").fetchall()
        known = latest.replace(tzinfo=UTC)
    return TableRef(
        key="",
        name=name,
        version="",
        location=str(path),
        columns=tuple(ColumnInfo(name=column, dtype=dtype) for column, dtype, *_ in columns),
        known_until=known,
        landed_at=datetime.now(UTC),
    )


def split(connection: Any, chosen: Mapping[str, Any], tables: Mapping[str, TableRef], folder: Path) -> Splits:
    """Assigns each journey to a split by the dates of the mature ones."""
    import numpy as np
    import pyarrow as pa

    as_of = max(table.known_until for table in tables.values() if table.known_until)
    settings = chosen["splits"]
    mature_sql = cohorts.mature_sql(chosen["cohort"]["outcome_window_days"], moment(as_of), chosen["target"])
    view = cohorts.as_of_view_sql(f"'{tables['patient_journeys'].location}'", moment(as_of))
    rows = connection.sql(
        f"SELECT patient_journey_id, patient_id, journey_start_date, {mature_sql} AS is_mature FROM ({view}) "
        "ORDER BY patient_journey_id"
    ).to_arrow_table()
    dates = rows["journey_start_date"].to_numpy().astype("datetime64[D]")
    mature = rows["is_mature"].to_numpy(zero_copy_only=False).astype(bool)
    train, validation, test, holdout = (float(settings[name]) for name in split_rules.SPLITS)
    cuts = split_rules.compute_cuts(
        dates[mature], (train, validation, test, holdout), settings["gap_days"], settings["version"]
    )
    assigned = split_rules.assign(dates, rows["patient_id"].to_numpy(zero_copy_only=False), mature, cuts)
    columns = {"patient_journey_id": rows["patient_journey_id"], "data_split": pa.array(np.asarray(assigned))}
    connection.register("assigned", pa.table({**columns, "is_mature": pa.array(mature)}))
    path = folder / "assignments.parquet"
    connection.execute(f"COPY (SELECT * FROM assigned) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    return Splits(as_of, cuts, path)


def features(connection: Any, chosen: Mapping[str, Any], tables: Mapping[str, TableRef], folder: Path) -> Views:
    """Computes the feature table of each view."""
    settings = chosen["features"]
    plans = {view: plan_view(view, tables, settings["covariates"]) for view in ENTITIES}
    locations = {name: f"'{table.location}'" for name, table in tables.items()}
    written = {
        view: write(
            connection,
            view,
            view_query(plan, tables, locations, settings["touch_window_days"]),
            folder / f"{view}.parquet",
            f"{plan.entity}, event_timestamp, created_timestamp",
        )
        for view, plan in plans.items()
    }
    return Views(written, plans, model_features(list(plans.values())))


def brand_rows(
    connection: Any, chosen: Mapping[str, Any], tables: Mapping[str, TableRef], splits: Splits, brand: str
) -> Any:
    """The brand's journeys at their prediction times, with their outcome where it is settled."""
    view = cohorts.as_of_view_sql(f"'{tables['patient_journeys'].location}'", moment(splits.as_of))
    return connection.execute(
        f"""
        SELECT j.patient_journey_id, j.patient_id, j.hcp_id, j.brand,
            CAST(j.journey_start_date AS TIMESTAMP) + to_days({chosen["features"]["prediction_lag_days"]})
                AS event_timestamp,
            CASE WHEN a.is_mature THEN j.{chosen["target"]} END AS target, a.data_split
        FROM ({view}) j JOIN '{splits.assignments}' a USING (patient_journey_id)
        WHERE j.brand = ? ORDER BY patient_journey_id
        """,
        [brand],
    ).df()


def keep_training(connection: Any, frame: Any, splits: Splits, folder: Path) -> TableRef:
    """Writes the modelling rows."""
    connection.register("modelling", frame)
    table = write(
        connection,
        "training_dataset",
        "SELECT * RENAME (event_timestamp AS observation_date) FROM modelling",
        folder / "training_dataset.parquet",
        "patient_journey_id",
    )
    return table.model_copy(update={"known_until": splits.as_of})


def moment(value: datetime) -> str:
    """A moment as an SQL timestamp in UTC."""
    return f"TIMESTAMP '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"
