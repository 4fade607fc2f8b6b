"""A request is checked against the model's own features, and an error never shows what was sent."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from e2i_pipeline.serving.schema import MAX_ROWS, MAX_TEXT, request_model, row_model
from e2i_pipeline_tests.serving.small_model import FEATURES, ROW, small_model

PERSON = "Jane Doe"


@pytest.fixture(scope="module")
def row() -> type[BaseModel]:
    return row_model(small_model().manifest)


def test_every_feature_is_a_field_and_may_be_unknown(row: type[BaseModel]) -> None:
    assert list(row.model_fields) == [feature.name for feature in FEATURES]
    assert set(row().model_dump().values()) == {None}
    assert row.model_validate(dict.fromkeys(ROW)).model_dump() == dict.fromkeys(ROW)


@pytest.mark.parametrize(("sent", "taken"), [(True, True), (False, False), (1, True), (0, False), (1.0, True)])
def test_a_boolean_may_be_sent_as_a_number(row: type[BaseModel], sent: object, taken: bool) -> None:
    assert row.model_validate({"academic_hcp": sent}).model_dump()["academic_hcp"] is taken


@pytest.mark.parametrize(
    "change",
    [
        {"disease_severity": 10.5},
        {"disease_severity": -0.1},
        {"disease_severity": "3.5"},
        {"disease_severity": True},
        {"disease_severity": float("inf")},
        {"days_since_diagnosis": -1},
        {"academic_hcp": 2},
        {"academic_hcp": "yes"},
        {"geographic_region": 3},
        {"geographic_region": "x" * (MAX_TEXT + 1)},
        {"patient_id": PERSON},
    ],
)
def test_what_is_no_such_feature_is_refused(row: type[BaseModel], change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        row.model_validate({**ROW, **change})


def test_a_range_is_closed_at_both_ends_and_open_where_none_is_declared(row: type[BaseModel]) -> None:
    for value in (0, 10):
        row.model_validate({"disease_severity": value})
    row.model_validate({"days_since_diagnosis": 1e9})


def test_an_unseen_category_is_no_error(row: type[BaseModel]) -> None:
    assert row.model_validate({"geographic_region": "Atlantis"}).model_dump()["geographic_region"] == "Atlantis"


def test_errors_do_not_show_what_was_sent(row: type[BaseModel]) -> None:
    request = request_model(row, "PredictRequest", MAX_ROWS)
    body = json.dumps({"rows": [{"disease_severity": PERSON, "academic_hcp": PERSON, "geographic_region": [PERSON]}]})
    with pytest.raises(ValidationError) as refused:
        request.model_validate_json(body)
    assert PERSON not in str(refused.value)
    assert "disease_severity" in str(refused.value)


@pytest.mark.parametrize("rows", [[], [ROW] * 4])
def test_a_request_has_at_least_one_row_and_not_too_many(row: type[BaseModel], rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        request_model(row, "Request", max_rows=3).model_validate({"rows": rows})


def test_the_schema_describes_ranges_and_known_categories(row: type[BaseModel]) -> None:
    fields = row.model_json_schema()["properties"]
    number, text = fields["disease_severity"]["anyOf"][0], fields["geographic_region"]
    assert (number["minimum"], number["maximum"]) == (0, 10)
    assert text["anyOf"][0]["examples"] == ["other <[1, 2)>", "south", "west"]
    assert "south, west" in text["description"]
