"""The repository's suites are well formed, and their hash follows their meaning, not their wording."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.contracts.tables import KNOWN_AT, TABLES
from e2i_pipeline.domain.quality import DIMENSIONS, suite_parameters
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.audit_plans import VERSIONS
from e2i_pipeline.resources.suites import Suite, parse_suite, read_suite, suite_digest
from e2i_pipeline_tests.resources.audit_tables import GX_ROOT, PARAMETERS

FOLDER = GX_ROOT / "expectations"
SUITES = sorted(path.stem for path in FOLDER.glob("*.json"))
MODELLING = {
    *("patient_journey_id", "patient_id", "hcp_id", "brand", "observation_date", "target", "data_split"),
    *("call_frequency", "first_call_date", "last_call_date"),
}


def content(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_all_suites_of_the_data_dictionary_are_there() -> None:
    assert SUITES == [
        "e2i_classification_suite",
        "e2i_default_suite",
        "e2i_engagement_events",
        "e2i_hcp_profiles",
        "e2i_patient_journeys",
        "e2i_regression_suite",
        "e2i_treatment_events",
    ]


@pytest.mark.parametrize("name", SUITES)
def test_each_expectation_says_what_it_means(name: str) -> None:
    suite = read_suite(FOLDER, name)
    assert suite.content["name"] == name
    for expectation in suite.expectations:
        assert expectation.rule.endswith("."), expectation.name
        assert expectation.severity in ("critical", "warning"), expectation.name
        assert expectation.dimension in DIMENSIONS, expectation.name


@pytest.mark.parametrize("name", SUITES)
def test_each_column_and_parameter_is_known(name: str) -> None:
    suite = read_suite(FOLDER, name)
    table = suite.content["meta"]["table"]
    known = {*TABLES[table].names, KNOWN_AT} if table in TABLES else MODELLING
    for expectation in suite.expectations:
        for column in (*expectation.columns, *expectation.condition_columns):
            assert set(suite.inputs(column)) <= known, expectation.name
    for helper in suite.derived.values():
        for other, columns in helper.references.items():
            assert set(columns) <= set(TABLES[other].names)
            assert f"{{{other}}}" in helper.sql
    assert suite.parameters <= {*suite_parameters(PARAMETERS), *suite.optional_parameters, VERSIONS}


@pytest.mark.parametrize("table", TABLES)
def test_required_columns_are_critical(table: str) -> None:
    by_name = {e.name: e for e in read_suite(FOLDER, f"e2i_{table}").expectations}
    for column in TABLES[table].required:
        assert by_name[f"{column}_exists"].severity == "critical"
        assert by_name[f"{column}_is_not_null"].severity == "critical"


def test_the_suites_open_with_great_expectations_own_tools(tmp_path: Path) -> None:
    import great_expectations as gx

    project = tmp_path / "gx"
    shutil.copytree(GX_ROOT, project)
    context = gx.get_context(mode="file", context_root_dir=str(project))
    found = {suite.name: len(suite.expectations) for suite in context.suites.all()}
    assert found == {name: len(content(name)["expectations"]) for name in SUITES}
    for path in GX_ROOT.rglob("*.*"):
        assert (project / path.relative_to(GX_ROOT)).read_bytes() == path.read_bytes()


def digest(suite: Suite, **parts: Any) -> str:
    return suite_digest(suite, suite_parameters(PARAMETERS | parts.pop("parameters", {})), **parts)


def test_the_hash_follows_the_meaning() -> None:
    name = "e2i_patient_journeys"
    suite = read_suite(FOLDER, name)
    before = digest(suite)
    reworded = copy.deepcopy(suite.content)
    reworded["id"], reworded["notes"] = None, "read again"
    reworded["expectations"][0]["meta"]["rule"] = "Another sentence."
    assert digest(parse_suite(name, reworded)) == before
    for change in (
        lambda c: c["expectations"].pop(),
        lambda c: c["expectations"][0].update(severity="warning"),
        lambda c: c["expectations"][0]["kwargs"].update(min_value=2),
        lambda c: c["meta"]["derived"]["has_known_hcp"].update(sql="TRUE"),
    ):
        tightened = copy.deepcopy(suite.content)
        change(tightened)
        assert digest(parse_suite(name, tightened)) != before


def test_the_hash_follows_what_the_suite_uses() -> None:
    suite = read_suite(FOLDER, "e2i_patient_journeys")
    before = digest(suite)
    assert digest(suite, parameters={"as_of": "2026-01-02"}) != before
    assert digest(suite, parameters={"brands": ["A"]}) != before
    assert digest(suite, parameters={"cohort_unit": "journey"}) != before
    assert digest(suite, parameters={"minimum_rows": 2}) != before
    assert digest(suite, parameters={"specialties": ["x"]}) == before
    assert digest(suite, absent=["hcp_id"]) != before
    profiles = TableRef(key="k", name="hcp_profiles", version="1")
    with_profiles = digest(suite, references={"hcp_profiles": profiles})
    assert with_profiles not in (
        before,
        digest(suite, references={"hcp_profiles": profiles.model_copy(update={"version": "2"})}),
    )


GOOD_ENTRY = {"type": "expect_column_to_exist", "kwargs": {"column": "x"}, "meta": {"name": "x_exists"}}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([GOOD_ENTRY, GOOD_ENTRY], "two expectations named x_exists"),
        ([GOOD_ENTRY | {"meta": {}}], "without a type, or without a meta.name"),
        ([GOOD_ENTRY | {"meta": {"name": "X exists"}}], "lower snake case"),
        ([GOOD_ENTRY | {"type": ""}], "no type"),
    ],
)
def test_a_malformed_suite_is_refused(entries: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_suite("mine", {"expectations": entries})


def test_a_suite_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Name one of: e2i_classification_suite"):
        read_suite(FOLDER, "e2i_nothing")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigurationError, match="is not JSON"):
        read_suite(tmp_path, "broken")
