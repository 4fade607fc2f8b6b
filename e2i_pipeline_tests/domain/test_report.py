"""The card is well-formed, needs nothing but itself, escapes everything and says what is missing."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain.report import model_card
from e2i_pipeline.domain.report_data import SliceTable
from e2i_pipeline.domain.report_parts import Html, el, figure, percent, ratio, table
from e2i_pipeline_tests.domain.card_example import FEATURES, card_data
from e2i_pipeline_tests.domain.page_reader import HOSTILE, Reader


def read(**changes: Any) -> Reader:
    return Reader(model_card(card_data(**changes)))


def test_the_page_is_well_formed_and_the_same_for_the_same_data() -> None:
    page = model_card(card_data())
    assert page.startswith("<!doctype html>\n<html lang=")
    assert Reader(page).tags.count("h1") == 1
    assert page == model_card(card_data())


def test_nothing_is_fetched_from_outside() -> None:
    page = read()
    fetched = [v for name, v in page.attributes if name in ("src", "href", "action", "data")]
    assert fetched
    assert all(v.startswith(("#", "data:image/png;base64,")) for v in fetched)
    assert not {"script", "iframe", "object", "link"} & set(page.tags)
    assert "@import" not in page.text
    assert "url(" not in page.text


def test_each_section_is_reached_from_the_navigation() -> None:
    page = read()
    targets = [v[1:] for name, v in page.attributes if name == "href"]
    anchors = [v for name, v in page.attributes if name == "id"]
    assert targets == anchors
    assert len(anchors) == len(set(anchors)) == 16


def test_what_a_reader_looks_for_is_there() -> None:
    text = read().text
    for wanted in (
        "e2i-Kisqali-conversion version 7",
        "treatment_initiated",
        "within 180 days",
        "end date before start date",
        "65,332",
        "hcp_profiles is declared absent",
        "61 complete, 37 pruned, 2 failed",
        "learning_rate",
        "1,204 training labels",
        "113 of 20,000 rows",
        "Version 6 is as good.",
        "curl http://127.0.0.1:3000/predict",
        "models:/e2i-Kisqali-conversion/7",
        "/state/data_docs/index.html",
    ):
        assert wanted in text


def test_hostile_text_is_shown_and_never_run() -> None:
    defect = DefectCount(table=HOSTILE, defect=HOSTILE, rows=1, of_rows=2, treatment=HOSTILE)
    base = card_data()
    tables = {"patient_journeys": base.dataset.tables["patient_journeys"].model_copy(update={"defects": (defect,)})}
    metrics = next(iter(base.slices.values())).metrics
    page = model_card(
        card_data(
            source=HOSTILE,
            dataset=base.dataset.model_copy(update={"tables": tables}),
            scope=base.scope.model_copy(update={"population": HOSTILE, "target": HOSTILE}),
            version=base.version.model_copy(update={"name": HOSTILE, "brand": HOSTILE}),
            narrative=(HOSTILE,),
            slices={HOSTILE: SliceTable(metrics={HOSTILE: metrics["south"]})},
            example={"geographic_region": HOSTILE},
            places={HOSTILE: HOSTILE},
            limitations=(HOSTILE,),
        )
    )
    assert "<script" not in page
    assert Reader(page).text.count(HOSTILE) >= 10


def test_a_quote_in_the_example_does_not_end_the_command() -> None:
    text = read(example={"geographic_region": "O'Brien", "academic_hcp": 1.0}).text
    body = text[text.index("-d '") + 4 :]
    assert "'" not in body[: body.index("]\n}")]
    assert '"academic_hcp": true' in body


def test_what_is_not_there_yet_is_said_to_be_missing() -> None:
    text = read(bento=None, promotion=None, curves={}, slices={}, summary_plot="", reports=(), verdicts=()).text
    assert "packaged after this card" in text
    assert "make serve" in text
    assert "Not yet made when this card was written" in text
    assert "Curves were not kept" in text
    assert "No audit is attached" in text
    assert "By group" not in text
    assert "nan" not in text


def test_criteria_that_are_not_met_are_shown_with_their_figures() -> None:
    base = card_data()
    test = {**base.evaluation.metrics["test"], "auc": 0.51, "fpr": float("nan")}
    unmet = ("AUC is 0.510, below the minimum 0.600.",)
    poor = base.evaluation.model_copy(update={"metrics": {"test": test}, "is_passed": False, "unmet": unmet})
    text = read(evaluation=poor).text
    assert "gate not passed" in text
    assert text.count("not met") >= 2
    assert unmet[0] in text
    assert "The evaluation gate is not passed" in text


def test_small_numbers_of_outcomes_are_neither_shown_nor_trusted() -> None:
    base = card_data()
    metrics = {**next(iter(base.slices.values())).metrics["south"], "rows": 40.0, "positives": 4.0, "base_rate": 0.1234}
    small = SliceTable(metrics={"north": metrics}, suppressed=2, suppressed_rows=None)
    few = base.training.model_copy(update={"positives": {**base.training.positives, "test": 42}})
    text = read(slices={"region": small}, training=few).text
    assert "too few to tell" in text
    assert "12.3%" not in text
    assert "2 smaller groups are not shown." in text
    assert "fewer than 100" in text


def test_synthetic_data_are_called_synthetic() -> None:
    assert "The data are synthetic" in read(source="synthetic").text
    assert "The data are synthetic" not in read(source="omop").text


def test_every_feature_has_a_row() -> None:
    text = read().text
    assert all(feature.name in text for feature in FEATURES)


def test_a_word_or_number_cannot_leave_its_column() -> None:
    page = model_card(card_data())
    tables = re.findall(r"<table>.*?</table>", page, re.DOTALL)
    assert len(tables) >= 9
    assert page.count('class="scroll"') == len(tables)


@given(st.text())
def test_any_text_survives_as_text(text: str) -> None:
    page = Reader(el("p", text, title=text))
    assert page.tags == ["p"]
    clean = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    assert page.text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "") == clean


def test_markup_made_here_is_not_escaped_twice() -> None:
    assert el("p", el("b", "a < b"), None) == "<p><b>a &lt; b</b></p>"
    assert table(("h",), [[Html("<i></i>")]]).count("<i></i>") == 1


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_figure_that_is_missing_is_said_to_be(missing: float | None) -> None:
    assert figure(missing) == percent(missing) == ratio(1, 0) == "n/a"


def test_the_gate_says_what_it_saw_and_what_the_figures_rest_on() -> None:
    text = read().text
    for wanted in (
        "Evaluation gate",
        "holds back promotion",
        "Platt helps on validation",
        "Version 6 on the same 3,000 rows: AUC 0.7",
        "12 times, by 11 candidates, up to then",
        "11 candidates have read these test rows",
        "Decision curve",
        "Faint: before recalibration.",
        "Between groups",
        "Equal opportunity",
        "test, interval",
    ):
        assert wanted in text, wanted


def test_an_evaluation_without_findings_has_no_section_for_them() -> None:
    base = card_data().evaluation
    text = read(evaluation=base.model_copy(update={"findings": (), "fairness": (), "intervals": {}})).text
    assert "Between groups" not in text
    assert "holds back promotion" not in text
