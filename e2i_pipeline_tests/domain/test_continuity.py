"""What is said of a table beside its suite: what became of it since it was last published, and what landing met."""

import duckdb
import pytest

from e2i_pipeline.contracts.references import ColumnInfo, DefectCount, TableRef
from e2i_pipeline.domain import continuity

KEY, KNOWN, AGE, RISK = "patient_journey_id", "ingestion_timestamp", "age_at_diagnosis", "risk_score"


def table(
    version: str, rows: int = 100, columns: tuple[str, ...] = (KEY, KNOWN, AGE, RISK), **more: object
) -> TableRef:
    infos = tuple(ColumnInfo(name=name, dtype="VARCHAR") for name in columns)
    return TableRef(key="k", name="patient_journeys", version=version * 16, rows=rows, columns=infos, **more)  # type: ignore[arg-type]


def defect(what: str, treatment: str, of: str = "patient_journeys", rows: int = 3) -> DefectCount:
    return DefectCount(table=of, defect=what, rows=rows, of_rows=100, treatment=treatment)


@pytest.mark.parametrize(("rows", "is_said"), [(80, False), (79, True), (100, False), (0, True), (150, False)])
def test_rows_may_go_up_to_the_limit_without_a_word(rows: int, is_said: bool) -> None:
    said = continuity.shrinkage(table("b", rows), table("a"), 0.2)

    assert len(said) == is_said
    if is_said:
        assert (
            f"patient_journeys: {rows} rows, {100 - rows}% fewer than the 100 of the last published version ("
            in said[0]
        )
        assert "max_row_drop is 0.2. See that the delivery is complete and materialize patient_journeys" in said[0]


def test_a_column_that_is_gone_is_missed_unless_it_is_declared_absent() -> None:
    less = (KEY, KNOWN, AGE)

    [said] = continuity.shrinkage(table("b", columns=less), table("a"), 0.2)

    assert said.startswith("patient_journeys.risk_score: the last published version (aaaaaaaaaaaa) had this column")
    assert "none of the 100 rows has it now" in said
    assert continuity.shrinkage(table("b", columns=less, absent_columns=(RISK,)), table("a"), 0.2) == ()


def test_an_optional_table_that_is_gone_is_missed_unless_it_is_declared_absent() -> None:
    no_input = (defect("no input for this optional table", "left out", rows=0),)

    [said] = continuity.shrinkage(table("b", 0, (), is_absent=True, defects=no_input), table("a"), 0.2)

    assert "there is no input for this optional table, and the last published version (aaaaaaaaaaaa) had 100" in said
    assert continuity.shrinkage(table("b", 0, (), is_absent=True), table("a"), 0.2) == ()
    assert continuity.shrinkage(table("b"), table("a", 0, (), is_absent=True), 0.2) == ()


def test_rows_are_compared_by_what_both_versions_have_beside_their_identity() -> None:
    now = table("b", columns=(KEY, KNOWN, AGE, "known_at", "data_split", "state"))

    assert continuity.comparable(now, table("a", columns=(KEY, KNOWN, AGE, RISK, "known_at", "data_split"))) == (AGE,)
    assert continuity.comparable(table("a"), table("a")) == ()  # the same version
    assert continuity.comparable(table("b", columns=(KEY, AGE)), table("a")) == ()  # nothing to find a row again by
    assert continuity.comparable(table("b").model_copy(update={"name": "training_dataset"}), table("a")) == ()


def test_rewritten_rows_are_counted_by_row_and_by_column() -> None:
    named = f"t({KEY}, {KNOWN}, {AGE}, {RISK})"
    then = f"(FROM (VALUES (1, 1, 50, 0.1), (2, 1, 60, NULL), (3, 1, 70, 0.3), (4, 1, 80, 0.4)) {named})"
    now = f"(FROM (VALUES (1, 1, 50, 0.1), (2, 1, 61, 0.2), (3, 1, 70, NULL), (4, 2, 99, 0.9)) {named})"
    columns = (AGE, RISK)

    [counts] = duckdb.sql(continuity.rewritten_sql(table("b"), columns, now, then)).fetchall()

    assert counts == (2, 1, 2)
    [said] = continuity.rewritten(table("b", 4), table("a", 4), columns, counts)
    assert "2 of 4 rows say something else than in the last published version (aaaaaaaaaaaa)" in said
    assert "same patient_journey_id and ingestion_timestamp (risk_score in 2, age_at_diagnosis in 1)" in said
    assert "Deliver a correction as a further row with its own ingestion_timestamp" in said
    assert continuity.rewritten(table("b"), table("a"), columns, (0, 0, 0)) == ()
    assert continuity.rewritten(table("b"), table("a"), (), ()) == ()


def test_what_landing_gave_up_is_said_once() -> None:
    lost = defect("risk_score: not a finite DOUBLE", "corrected: set to null")
    landed = table(
        "b",
        defects=(lost, defect("zip: not a column of the data dictionary", "left out"), defect("x", "kept", "person")),
    )

    [said] = continuity.landing_warnings(landed)

    assert said.startswith("patient_journeys as it was landed: risk_score: not a finite DOUBLE, in 3 of 100 rows; corr")
    assert said.endswith("Correct it at the source and materialize patient_journeys again.")
    assert continuity.landing_warnings(landed, told=[continuity.landing_sentence(landed, lost)]) == ()
