"""Files with names of their own: what a declared mapping makes of them, and what it refuses or counts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from pydantic import ValidationError

from e2i_pipeline.contracts.mapping import TableMapping
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.connectors.files import FilesConnector

VISITS = """visit,pid,clinic,on,sex,kg,score,result,age,n
10,A,X,05.01.2024,f,180,80,YES,[70-80),2
9,A,X,04.01.2024,M,?,50%,NO,80+,0
2,B,Y,01.02.2024,M,150,10,maybe,unknown,1
2,B,Y,01.02.2024,M,150,10,maybe,unknown,1
1,C,,31.12.2023,,200,None,,[0-10),x
"""


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    (tmp_path / "visits.csv").write_text(VISITS)
    return tmp_path


def connector(drop: Path, text: str, table: str = "patient_journeys", covariates: Sequence[str] = ()) -> FilesConnector:
    mapping = TableMapping.model_validate(yaml.safe_load(text))
    return FilesConnector(drop, tables={table: mapping}, covariates={table: covariates})


def mapped(drop: Path, text: str, table: str = "patient_journeys", **more: Any) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        query = connector(drop, text, table, **more).query(connection, table)
        return connection.execute(f"SELECT * FROM ({query}) ORDER BY ALL").to_arrow_table().to_pylist()


def values(drop: Path, column: str, text: str) -> list[Any]:
    """The values of one column in the order of the file, by its mapping."""
    tail = f"from: visits\nunlisted: drop\ncolumns:\n  patient_journey_id: _row\n  {column}: {text}"
    return [row[column] for row in mapped(drop, tail)]


def defects(drop: Path, text: str, table: str = "patient_journeys") -> dict[str, tuple[int, int, str]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = connector(drop, text, table)
        source.query(connection, table)
        return {d.defect: (d.rows, d.of_rows, d.treatment) for d in source.defects(connection, table)}


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("patient_id", "pid", ["A", "A", "B", "B", "C"]),
        ("patient_id", "{join: [clinic, pid]}", ["X-A", "X-A", "Y-B", "Y-B", None]),
        ("journey_start_date", "{column: 'on', format: '%d.%m.%Y'}", ["05", "04", "01", "01", "31"]),
        ("gender", "{column: sex, codes: {f: female, M: male}}", ["female", "male", "male", "male", None]),
        ("gender", "{column: sex, codes: {f: female}, other: keep}", ["female", "M", "M", "M", None]),
        (
            "gender",
            "{column: sex, codes: {f: female}, other: else, missing: none}",
            [*["female"], *["else"] * 3, "none"],
        ),
        ("brand", "{value: Kisqali}", ["Kisqali"] * 5),
        ("state", "{sql: \"upper(pid) || '!'\"}", ["A!", "A!", "B!", "B!", "C!"]),
        ("disease_severity", "{column: score, scale: 0.1, offset: 1}", [9.0, None, 2.0, 2.0, None]),
        ("risk_score", "{column: score, unit: {from: percent, to: share}}", [0.8, None, 0.1, 0.1, None]),
        ("age_at_diagnosis", "{column: age, band: lower}", [70.0, 80.0, None, None, 0.0]),
        ("age_at_diagnosis", "{column: age, band: middle}", [75.0, 80.0, None, None, 5.0]),
        ("age_at_diagnosis", "{column: age, band: upper}", [80.0, 80.0, None, None, 10.0]),
        ("treatment_initiated", "{column: result, codes: {'YES': 1, 'NO': 0}}", ["1", "0", None, None, None]),
        ("data_source", "score", ["80", "50%", "10", "10", "None"]),
    ],
)
def test_a_column_is_read_as_declared(drop: Path, column: str, text: str, expected: list[Any]) -> None:
    found = values(drop, column, text)
    if "format" in text:
        found = [f"{value:%d}" for value in found]
    assert found == expected


def test_times_without_a_zone_are_of_the_declared_one(tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text("at\n2024-07-01 10:00:00\n2024-01-01 10:00:00\n2024-07-01T10:00:00Z\nsoon\n")
    text = "{column: at, timezone: Europe/Zurich}"
    found = values(tmp_path, "source_timestamp", text)
    assert [None if value is None else f"{value:%Y-%m-%d %H}" for value in found] == [
        *("2024-07-01 08", "2024-01-01 09", "2024-07-01 10"),
        None,
    ]
    with pytest.raises(ConfigurationError, match=r"source_timestamp\.timezone: there is no Mars/Phobos"):
        values(tmp_path, "source_timestamp", "{column: at, timezone: Mars/Phobos}")
    with pytest.raises(ConfigurationError, match="a date has no time zone"):
        values(tmp_path, "journey_start_date", text)


def test_unlisted_columns_pass_under_their_own_names_unless_dropped(drop: Path) -> None:
    text = "from: visits\ncolumns: {patient_id: pid, gender: sex}"
    assert set(mapped(drop, text)[0]) == {
        *("patient_id", "gender", "visit", "clinic", "on", "kg", "score", "result", "age", "n"),
    }
    assert set(mapped(drop, text + "\nunlisted: drop")[0]) == {"patient_id", "gender"}
    with_covariate = mapped(drop, text + "\nunlisted: drop", covariates=["kg", "sex"])[0]
    assert set(with_covariate) == {"patient_id", "gender", "kg", "sex"}


def test_null_markers_are_the_tables_own(drop: Path) -> None:
    text = "from: visits\nunlisted: drop\ncolumns: {patient_journey_id: _row, data_source: kg, state: score}\n"
    assert [row["data_source"] for row in mapped(drop, text)] == ["180", "?", "150", "150", "200"]
    declared = mapped(drop, text + "null_markers: ['?', None, '']")
    assert [row["data_source"] for row in declared] == ["180", None, "150", "150", "200"]
    assert [row["state"] for row in declared] == ["80", "50%", "10", "10", None]


def test_equal_rows_are_data_until_a_key_is_declared(drop: Path) -> None:
    text = "from: visits\nunlisted: drop\ncolumns: {patient_journey_id: visit, patient_id: pid}\n"
    assert len(mapped(drop, text)) == 5
    assert defects(drop, text) == {}
    assert len(mapped(drop, text + "key: patient_journey_id")) == 4
    assert defects(drop, text + "key: patient_journey_id") == {
        "equal to another row throughout": (1, 5, "left out: source.tables declares a key")
    }
    assert defects(drop, text + "key: patient_id") == {
        "equal to another row throughout": (1, 5, "left out: source.tables declares a key"),
        "the key (patient_id) of another row that differs": (
            *(1, 4),
            "kept: which of them holds is not ours to guess",
        ),
    }


def test_a_table_of_professionals_comes_of_a_file_of_visits(drop: Path) -> None:
    text = "from: visits\nunlisted: drop\nkey: hcp_id\nwhere: clinic IS NOT NULL\n"
    text += "columns: {hcp_id: clinic, specialty: {value: other}}"
    assert mapped(drop, text, "hcp_profiles") == [
        {"hcp_id": "X", "specialty": "other"},
        {"hcp_id": "Y", "specialty": "other"},
    ]


@pytest.mark.parametrize(
    ("order", "dates"),
    [
        ("{start: 2024-01-31, every: month}", ["01-31", "02-29", "03-31", "04-30", "05-31"]),
        ("{start: 2024-01-01, every: day, rows: 2}", ["01-01", "01-01", "01-02", "01-02", "01-03"]),
        ("{by: visit, start: 2024-01-01, every: day}", ["01-04", "01-03", "01-02", "01-02", "01-01"]),
        ("{within: pid, by: [visit], start: 2024-01-01, every: week}", ["01-08", "01-01", "01-01", "01-01", "01-01"]),
        ("{within: pid, start: 2024-01-01, every: day}", ["01-01", "01-02", "01-01", "01-02", "01-01"]),
    ],
)
def test_an_order_makes_dates_and_numbers_are_in_the_order_of_numbers(drop: Path, order: str, dates: list[str]) -> None:
    text = f"from: visits\nunlisted: drop\norder: {order}\ncolumns: {{patient_journey_id: _row}}\n"
    assert [f"{row['journey_start_date']:%m-%d}" for row in mapped(drop, text)] == dates
    kept = mapped(drop, f"{text}where: pid <> 'A'")
    assert [f"{row['journey_start_date']:%m-%d}" for row in kept] == dates[2:]


@pytest.mark.parametrize(
    ("one_row", "rows"),
    [
        ("{per: pid}", [1, 3, 5]),
        ("{per: pid, by: visit}", [2, 3, 5]),
        ("{per: pid, by: visit, which: last}", [1, 4, 5]),
        ("{per: [clinic], which: last}", [2, 4, 5]),
    ],
)
def test_one_row_of_several_is_kept(drop: Path, one_row: str, rows: list[int]) -> None:
    text = f"from: visits\nunlisted: drop\none_row: {one_row}\ncolumns: {{patient_journey_id: _row}}"
    assert [row["patient_journey_id"] for row in mapped(drop, text)] == rows


def test_a_count_makes_as_many_rows(drop: Path) -> None:
    text = """
        from: visits
        repeat: n
        unlisted: drop
        order: {start: 2024-01-01, every: day}
        columns: {engagement_event_id: {join: [visit, _row, _repetition]}, hcp_id: clinic, channel: {value: email}}
    """
    rows = mapped(drop, text, "engagement_events")
    assert [row["engagement_event_id"] for row in rows] == ["10-1-1", "10-1-2", "2-3-1", "2-4-1"]
    assert defects(drop, text, "engagement_events") == {
        "n: not a whole number from 0 to 10,000, so that no row is made of it": (1, 5, "left out")
    }


def test_what_does_not_fit_is_counted(drop: Path) -> None:
    text = """
        from: visits
        unlisted: drop
        columns:
          patient_journey_id: _row
          journey_start_date: {column: 'on', format: ['%d.01.%Y', '%d.12.%Y']}
          age_at_diagnosis: {column: age, band: lower}
          disease_severity: {column: score, scale: 0.1}
          treatment_initiated: {column: result, codes: {'YES': 1, 'NO': 0, later: null}}
          gender: {column: sex, codes: {f: female}, other: keep}
    """
    null = "corrected: set to null"
    assert defects(drop, text) == {
        "journey_start_date: not of the form %d.01.%Y or %d.12.%Y": (2, 5, null),
        "age_at_diagnosis: no band of one or two numbers": (2, 5, null),
        "disease_severity: not a number": (2, 5, null),
        "treatment_initiated: no row has the code later": (0, 5, "kept: see that it is right"),
        "treatment_initiated: none of its 3 codes": (2, 5, null),
    }
    assert defects(drop, text + "\n        where: pid = 'A'")["disease_severity: not a number"] == (1, 2, null)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: {gender: {column: sex, codes: {w: female, m: male}}}", r"gender\.codes: none of its 2 codes stands"),
        ("columns: {journey_start_date: {column: 'on', format: '%Y%m%d'}}", "none of the 5 values given could be read"),
        ("columns: {risk_score: {column: pid, scale: 2}}", "none of the 5 values given .* not a number"),
        ("where: pid = 'Z'", "where keeps none of the 5 rows"),
    ],
)
def test_a_mapping_that_nothing_fits_is_an_error_and_quotes_no_value(drop: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        defects(drop, f"from: visits\n{text}")
    assert "05.01.2024" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: {patient_idd: pid}", r"names patient_idd, which is neither .* Did you mean patient_id\?"),
        ("columns: {severity: pid}", "names severity, which is neither in the data dictionary nor the column of a cov"),
        ("order: {to: day, start: 2024-01-01, every: day}", "names day, which is neither"),
        ("columns: {journey_start_date: 'on'}\norder: {start: 2024-01-01, every: day}", "order and columns both make"),
        ("unlisted: drop\nkey: patient_id", "key names patient_id, which columns does not make"),
        ("key: patientid", "key names patientid, which the mapping does not make"),
        ("columns: {patient_id: {join: [pid, _step]}}", "uses _step, which order makes: there is no order"),
        ("columns: {patient_id: {sql: pid || _repetition}}", "uses _repetition, which repeat makes"),
        ("columns: {patient_id: {sql: no_function(pid)}}", r"columns\.patient_id\.sql uses the function no_function"),
        ("columns: {patient_id: {sql: pid + 1}}", r"columns\.patient_id\.sql: the engine does not take it"),
        ("where: (SELECT true)", r"patient_journeys\.where uses a subquery"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(drop: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        mapped(drop, f"from: visits\n{text}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "columns: {patient_id: pidd}",
            r"visits\.csv has no column of\. None of its 10 columns",
        ),
        (
            "columns: {patient_id: pid, brand: {sql: scoree}}",
            r"names scoree, .* is score meant\? Columns found: v",
        ),
        ("columns: {patient_id: pid}\nrepeat: calls", "names calls"),
        ("columns: {patient_id: pid}\none_row: {per: patient}", "names patient"),
        ("columns: {patient_id: pid}\norder: {by: day, start: 2024-01-01, every: day}", "names day"),
    ],
)
def test_an_input_column_that_is_not_there_is_named_with_the_nearest(drop: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        mapped(drop, f"from: visits\n{text}")


def test_a_file_without_a_header_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text("SECRET,1999-01-01\nSECRET2,2000-01-01\n")
    with pytest.raises(SourceError, match="None of its 2 columns has a name of the mapping") as caught:
        mapped(tmp_path, "from: visits\ncolumns: {patient_id: pid}")
    assert "SECRET" not in str(caught.value)


def test_an_input_that_is_not_there_is_named(drop: Path) -> None:
    with pytest.raises(SourceError, match=r"no input for patient_journeys: looked for visit\.csv.* found visits\.csv"):
        mapped(drop, "from: visit")
    with pytest.raises(SourceError, match="no input for engagement_events"):
        mapped(drop, "from: calls", "engagement_events")
    with pytest.raises(ConfigurationError, match=r"names patients, which is no canonical table"):
        FilesConnector(drop, tables={"patients": TableMapping()})


def test_a_value_that_an_expression_cannot_take_is_not_quoted(drop: Path) -> None:
    source = connector(drop, "from: visits\ncolumns: {risk_score: {sql: 'CAST(score AS DOUBLE)'}}")
    with duckdb.connect() as connection:
        query = source.query(connection, "patient_journeys")
        with pytest.raises(duckdb.Error) as caught:
            connection.execute(f"CREATE TABLE landed AS {query}")
    said = source.explain("patient_journeys", caught.value)
    assert "columns.risk_score.sql" in said
    assert "TRY_CAST" in said
    assert "50%" not in said


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"column": "a", "sql": "b"}, "column and sql both say where"),
        ({"column": "a", "format": "%d", "codes": {"x": 1}}, "format and codes both say how"),
        ({"codes": {False: 0}}, "YAML reads NO, yes, on, off and null as no text"),
        ({"column": "a", "other": "keep"}, "there are no codes"),
        ({"value": 1, "scale": 2}, "value is the same in all rows"),
        ({"column": "a", "unit": {"from": "lb", "to": "days"}}, "lb is a mass, and days a time"),
        ({"column": "a", "unit": {"from": "stone", "to": "kg"}}, "stone is no unit known here"),
        ({"colum": "a"}, "Extra inputs are not permitted"),
    ],
)
def test_a_column_that_contradicts_itself_is_no_mapping(column: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TableMapping.model_validate({"columns": {"brand": column}})


@pytest.mark.parametrize(
    ("given", "to", "value", "expected"),
    [
        *(("lb", "kg", 100, 45.359237), ("in", "cm", 10, 25.4), ("weeks", "days", 3, 21), ("years", "months", 1, 12)),
        *(("fahrenheit", "celsius", 212, 100), ("celsius", "fahrenheit", 37, 98.6), ("kelvin", "celsius", 0, -273.15)),
    ],
)
def test_units_convert(tmp_path: Path, given: str, to: str, value: float, expected: float) -> None:
    (tmp_path / "visits.csv").write_text(f"x\n{value}\n")
    text = f"{{column: x, unit: {{from: {given}, to: {to}}}}}"
    assert values(tmp_path, "risk_score", text) == [pytest.approx(expected)]


def test_the_mapping_is_part_of_the_fingerprint(drop: Path) -> None:
    texts = ("from: visits", "from: visits\nwhere: pid IS NOT NULL", "from: visits\ncolumns: {brand: {value: A}}")
    prints = {connector(drop, text).fingerprint("patient_journeys") for text in texts}
    prints |= {connector(drop, texts[0], covariates=["kg"]).fingerprint("patient_journeys")}
    assert len(prints) == 4
    assert connector(drop, texts[0]).fingerprint("patient_journeys") in prints


def test_the_row_of_a_large_file_is_its_place_whatever_the_threads(tmp_path: Path) -> None:
    rows = 400_000
    with duckdb.connect() as connection:
        for part in range(2):
            connection.execute(
                f"COPY (SELECT i + {part * rows} + 1 AS place, hash(i) AS filler "
                f"FROM range({rows}) t(i)) TO '{tmp_path}/visits_{part}.csv'"
            )
    (tmp_path / "visits").mkdir()
    for part in range(2):
        (tmp_path / f"visits_{part}.csv").rename(tmp_path / "visits" / f"{part}.csv")
    text = "from: visits\nunlisted: drop\ncolumns: {patient_journey_id: _row, brand: place}"
    with duckdb.connect(config={"threads": 4}) as connection:
        query = connector(tmp_path, text).query(connection, "patient_journeys")
        found = connection.execute(
            f"SELECT count(*), count_if(patient_journey_id = CAST(brand AS BIGINT)) FROM ({query})"
        ).fetchone()
    assert found == (2 * rows, 2 * rows)


def test_defects_are_of_the_contract(drop: Path) -> None:
    with duckdb.connect() as connection:
        source = connector(drop, "from: visits\ncolumns: {age_at_diagnosis: {column: age, band: lower}}")
        source.query(connection, "patient_journeys")
        (defect,) = source.defects(connection, "patient_journeys")
    assert isinstance(defect, DefectCount)
    assert defect.table == "patient_journeys"
