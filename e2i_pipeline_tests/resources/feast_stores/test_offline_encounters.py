"""Clinical history at each encounter through Feast against plain pandas: a Synthea export, and a small one of our own.

At its own moment an encounter sees itself with `<=`, and only what came before with `<`.
"""

import random
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd
from feast import FeatureView, Field
from feast.types import Int64, String, UnixTimestamp

from e2i_pipeline_tests.resources.connectors.synthea_drop import shared_synthea
from e2i_pipeline_tests.resources.feast_stores.stores import open_store, view

PATIENT = Field(name="patient_id", dtype=String)
BOUNDS = {"until": "<=", "before": "<"}
FIELDS = {
    "encounters": {"encounter_count": Int64, "last_encounter": UnixTimestamp},
    "conditions": {"condition_count": Int64},
    "medications": {"active_medications": Int64},
}

# Each gives patient, moment of a change, and what holds from then on. Conditions have days only: midnight of the day.
TABLES = {
    "encounters": """
        SELECT patient, moment, sum(n) OVER (PARTITION BY patient ORDER BY moment)::BIGINT AS encounter_count,
            moment AS last_encounter
        FROM (SELECT PATIENT AS patient, START AS moment, count(*) AS n FROM {encounters} GROUP BY ALL)""",
    "conditions": """
        SELECT patient, moment, sum(n) OVER (PARTITION BY patient ORDER BY moment)::BIGINT AS condition_count
        FROM (
            SELECT patient, moment, count(*) AS n
            FROM (
                SELECT PATIENT AS patient, CODE, CAST(min(START) AS TIMESTAMP) AS moment FROM {conditions} GROUP BY ALL)
            GROUP BY ALL)""",
    "medications": """
        SELECT patient, moment, sum(n) OVER (PARTITION BY patient ORDER BY moment)::BIGINT AS active_medications
        FROM (
            SELECT patient, moment, sum(n) AS n
            FROM (
                SELECT PATIENT AS patient, START AS moment, 1 AS n FROM {medications} WHERE STOP IS NULL OR STOP > START
                UNION ALL SELECT PATIENT, STOP, -1 FROM {medications} WHERE STOP > START)
            GROUP BY ALL)""",
}


class Found(NamedTuple):
    """Rows per encounter, in order, and in how many the bound matters beside the encounter itself."""

    rows: pd.DataFrame
    differing_conditions: int
    differing_medications: int


def _csv(path: Path) -> str:
    return f"read_csv('{path}', types = {{'CODE': 'VARCHAR'}})"


def _views(drop: Path, folder: Path) -> list[FeatureView]:
    files = {name: _csv(drop / f"{name}.csv") for name in FIELDS}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in TABLES.items():
            select = f"""
                SELECT patient AS patient_id, CAST(moment AS TIMESTAMPTZ) AS event_timestamp,
                    event_timestamp AS created_timestamp, * EXCLUDE (patient, moment)
                FROM ({table.format(**files)})"""
            connection.execute(f"COPY ({select}) TO '{folder / name}.parquet'")
    return [
        view(f"{name}_{when}", folder / f"{name}.parquet", [PATIENT], fields, tags={"bound": bound})
        for when, bound in BOUNDS.items()
        for name, fields in FIELDS.items()
    ]


def _joined(drop: Path, folder: Path) -> pd.DataFrame:
    store = open_store(folder, _views(drop, folder))
    encounters = _csv(drop / "encounters.csv")
    rows = f"SELECT Id AS encounter_id, PATIENT AS patient_id, START AS event_timestamp FROM {encounters}"
    references = [f"{name}_{when}:{field}" for when in BOUNDS for name, fields in FIELDS.items() for field in fields]
    return store.get_historical_features(rows, references, full_feature_names=True).to_df()


def _plain(drop: Path) -> pd.DataFrame:
    """The same, encounter by encounter."""
    read = {name: pd.read_csv(drop / f"{name}.csv", dtype={"CODE": str}) for name in FIELDS}
    for table in read.values():
        for column in {"START", "STOP"} & set(table.columns):
            table[column] = pd.to_datetime(table[column], utc=True).dt.tz_localize(None)  # NumPy knows no zone
    parts: list[pd.DataFrame] = []
    for patient, encounters in read["encounters"].groupby("PATIENT"):
        conditions, medications = (
            read[name][read[name]["PATIENT"] == patient] for name in ("conditions", "medications")
        )
        parts.append(_history(encounters, conditions.sort_values("START").drop_duplicates("CODE"), medications))
    return pd.concat(parts).reindex(read["encounters"].index)


def _history(encounters: pd.DataFrame, conditions: pd.DataFrame, medications: pd.DataFrame) -> pd.DataFrame:
    """A patient's history at each of their encounters: every pair of an encounter and a fact is looked at."""
    t = encounters["START"].to_numpy()[:, None]
    start, first = encounters["START"].to_numpy()[None, :], conditions["START"].to_numpy()[None, :]
    begin, end = medications["START"].to_numpy()[None, :], medications["STOP"].to_numpy()[None, :]
    columns: dict[str, object] = {"encounter_id": encounters["Id"]}
    for when in BOUNDS:
        seen, known, begun = (x <= t if when == "until" else x < t for x in (start, first, begin))
        lasts = np.isnat(end) | (end > t if when == "until" else end >= t)
        last = np.where(seen, start, np.datetime64("NaT")).astype("datetime64[ns]")
        age = (t[:, 0] - pd.DataFrame(last).max(axis=1).to_numpy()) / np.timedelta64(1, "D")
        columns |= {
            f"encounters_{when}": seen.sum(axis=1),
            f"days_{when}": age,
            f"conditions_{when}": known.sum(axis=1),
            f"medications_{when}": (begun & lasts).sum(axis=1),
        }
    return pd.DataFrame(columns, index=encounters.index)


def _compared(drop: Path, folder: Path) -> Found:
    """Asserts that every cell agrees."""
    got, expected = _joined(drop, folder), _plain(drop)
    assert got["encounter_id"].tolist() == expected["encounter_id"].tolist()
    found = pd.DataFrame({"encounter_id": got["encounter_id"]})
    for when in BOUNDS:
        # no row is seen before the first change
        found[f"encounters_{when}"] = got[f"encounters_{when}__encounter_count"].fillna(0).astype("int64")
        age = got["event_timestamp"] - got[f"encounters_{when}__last_encounter"]
        found[f"days_{when}"] = age / pd.Timedelta(days=1)
        found[f"conditions_{when}"] = got[f"conditions_{when}__condition_count"].fillna(0).astype("int64")
        found[f"medications_{when}"] = got[f"medications_{when}__active_medications"].fillna(0).astype("int64")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    differs = [found[f"{name}_until"] != found[f"{name}_before"] for name in ("conditions", "medications")]
    return Found(found, *(int(column.sum()) for column in differs))


def test_history_at_each_encounter_of_a_synthea_export_is_that_of_plain_pandas(tmp_path: Path) -> None:
    found = _compared(shared_synthea("synthea_ne_2023"), tmp_path)
    assert (found.rows["encounters_until"] > found.rows["encounters_before"]).all()  # each sees itself, or not
    assert found.differing_medications > 0.05 * len(found.rows)  # one ends, or begins, with the encounter


def test_history_at_each_encounter_of_a_small_drop_is_that_of_plain_pandas(tmp_path: Path) -> None:
    """Encounters at one moment, prescriptions that end or begin at it, and conditions of its midnight are the rule."""
    chance = random.Random(3)  # noqa: S311 - test data
    hours = [f"2024-03-0{day}T{hour:02}:00:00Z" for day in (1, 2, 3) for hour in (0, 12)]
    drop = tmp_path / "drop"
    drop.mkdir()

    def write(name: str, columns: str, rows: list[list[str]]) -> None:
        lines = [columns, *(",".join(row) for row in rows)]
        (drop / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    visits = [[f"e{i}", chance.choice(hours), chance.choice("abcd"), "1"] for i in range(40)]
    write("encounters", "Id,START,PATIENT,CODE", visits)
    write(
        "conditions",
        "START,PATIENT,CODE",
        [[chance.choice(hours)[:10], chance.choice("abc"), f"{chance.randrange(6)}"] for _ in range(30)],
    )
    spans = [sorted(chance.choices(hours, k=2)) for _ in range(40)]
    write(
        "medications",
        "START,STOP,PATIENT,CODE",
        [[begin, end if chance.random() < 0.8 else "", chance.choice("abd"), "7"] for begin, end in spans],
    )
    found = _compared(drop, tmp_path)
    assert found.differing_conditions > 0
    assert found.differing_medications > 0
