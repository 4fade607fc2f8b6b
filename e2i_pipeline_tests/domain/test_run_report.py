"""The report of a run is well-formed, needs nothing but itself, escapes everything and says what is missing."""

import re
from typing import Any

import pytest

from e2i_pipeline.contracts.quality import Override, Verdict
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain.report_data import Scores
from e2i_pipeline.domain.run_report import run_report
from e2i_pipeline_tests.domain.card_example import FEATURES, NOW
from e2i_pipeline_tests.domain.page_reader import HOSTILE, Reader
from e2i_pipeline_tests.domain.run_example import CARD, other_champion, run_data, run_facts, step

SECTIONS = [
    *("data", "audits", "defects", "splits", "features", "online", "study", "criteria", "gate", "performance"),
    *("groups", "fairness", "limits", "drivers", "bento", "serving", "predictions", "steps", "places", "commands"),
]


def read(**changes: Any) -> Reader:
    return Reader(run_report(run_data(**changes)))


def test_the_page_is_well_formed_and_the_same_for_the_same_data() -> None:
    page = run_report(run_data())

    assert page.startswith("<!doctype html>\n<html lang=")
    assert Reader(page).tags.count("h1") == 1
    assert page == run_report(run_data())


def test_nothing_is_fetched_and_only_the_models_card_is_linked() -> None:
    page = read()

    assert set(page.values("src")) == {run_data().history_plot.join(("data:image/png;base64,", ""))}
    assert {link for link in page.values("href") if not link.startswith("#")} == {run_data().links[CARD]}
    assert not {"script", "iframe", "object", "link", "form", "base"} & set(page.tags)
    assert not {"action", "data", "srcset", "background", "poster"} & {name for name, _ in page.attributes}
    assert "@import" not in page.text
    assert "url(" not in page.text


def test_every_section_is_there_and_reached_from_the_navigation() -> None:
    page = read()

    assert page.values("id") == SECTIONS
    assert [link[1:] for link in page.values("href") if link.startswith("#")] == SECTIONS


@pytest.mark.parametrize(
    "wanted",
    [
        "Kisqali: version 7 serves",
        "3 assets made, 1 found unchanged; 1 of 2 checks passed, 1 only warned.",
        "0394bbed-c94d-416c-b010-2a63e290f684",
        "3 min 20 s",
        "memory at most 1.50 GiB",
        "open journeys scored, 160 flagged",
        "113 of 20,000 rows",  # a warning of the gate
        "end date before start date",  # a defect
        "2,250",  # positives of the train split
        "hcp_profiles is declared absent",  # a feature that was left out
        "2,138 rows per second",
        "61 complete, 37 pruned, 2 failed",
        "seen on 30 June 2026, 12:00 UTC",
        "0.070, 0.245",
        "exact",
        "37.5 ms for all rows",
        "160 (10.2%), at ",
        "By decile",
        "4 steps took 1 min 16 s in all; 2 min 4 s more",
        "+512 MiB",
        "2 attempts",
        "Not part of this run: hcp_features.",
        "make serve BRAND=Kisqali",
        "cards/Kisqali/key/model_card.html",
    ],
)
def test_what_a_reader_looks_for_is_there(wanted: str) -> None:
    assert wanted in read().text


def test_every_feature_has_a_row() -> None:
    assert all(feature.name in read().text for feature in FEATURES)


def test_what_is_new_and_what_is_unchanged_shows_in_data_and_times() -> None:
    page = run_report(run_data())
    data, steps = (page[page.index(f'id="{key}"') :].partition("</section>")[0] for key in ("data", "steps"))

    assert re.search(r"patient_journeys</code></td><td><span class=\"pill fresh\">new<", data)
    assert re.search(r"hcp_profiles</code></td><td><span class=\"pill\">absent<", data)
    assert re.search(r"training_dataset</code></td><td><span class=\"pill\">unchanged<", data)
    assert re.search(r"training_dataset</code> <span class=\"pill\">unchanged<", steps)
    assert steps.count("unchanged") == 1


def test_a_run_that_found_everything_unchanged_says_so() -> None:
    facts = run_facts(made={"bento": False, "deployment": False}, checks=run_facts().checks[:1])

    assert "Nothing new, 2 assets found unchanged; its check passed." in read(run=facts).text


def overridden() -> tuple[Verdict, ...]:
    """The example's verdicts, the first of which refused its table, and a person let it pass."""
    first, *others = run_data().verdicts
    held = Override(
        subject=first.key.subject,
        data_version=first.key.data_version,
        actor="jane.doe@example.com",
        reason="Known and <b>fine</b>",
        failed=("3 of 12 rows.",),
        at=NOW,
        entry=7,
    )
    refused = {"is_passed": False, "reasons": ("3 of 12 rows.",), "override": held}
    return (first.model_copy(update=refused), *others)


def test_an_override_is_seen_among_the_gates_the_verdicts_and_the_limits() -> None:
    page = run_report(run_data(verdicts=overridden()))

    gates = page[page.index('class="gates"') :].partition("</ol>")[0]
    assert re.search(
        r"Data quality</b><span class=\"pill warn\">overridden<.*on the word of jane\.doe@example\.com", gates
    )
    audits, limits = (page[page.index(f'id="{key}"') :].partition("</section>")[0] for key in ("audits", "limits"))
    for section in (audits, limits):
        assert "by an override of jane.doe@example.com on " in section
        assert "ledger entry 7: Known and &lt;b&gt;fine&lt;/b&gt;." in section
    assert '<span class="pill warn">overridden</span>' in audits
    assert "3 of 12 rows." in audits


def test_without_an_override_a_refused_table_is_blocked_and_a_clean_one_shows_none() -> None:
    refused = tuple(verdict.model_copy(update={"override": None}) for verdict in overridden())

    assert '<span class="pill bad">blocked</span>' in run_report(run_data(verdicts=refused))
    for page in (run_report(run_data(verdicts=refused)), run_report(run_data())):
        assert "overrid" not in page


def test_a_report_that_was_asked_for_alone_says_so() -> None:
    text = read(run=run_facts(made={}, checks=(), steps=())).text

    assert "Only this page was made, from what earlier runs left." in text
    assert text.count("from an earlier run") >= 3


def test_hostile_text_is_shown_and_never_run() -> None:
    base = run_data()
    defect = DefectCount(table=HOSTILE, defect=HOSTILE, rows=1, of_rows=2, treatment=HOSTILE)
    tables = {"patient_journeys": base.dataset.tables["patient_journeys"].model_copy(update={"defects": (defect,)})}
    page = run_report(
        run_data(
            source=HOSTILE,
            dataset=base.dataset.model_copy(update={"tables": tables}),
            version=base.version.model_copy(update={"brand": HOSTILE, "version": HOSTILE}),
            narrative=(HOSTILE,),
            run=run_facts(run_id=HOSTILE, steps=(step(HOSTILE, HOSTILE, HOSTILE, 1.0),), elsewhere=(HOSTILE,)),
            online=base.online.model_copy(update={"rows": {HOSTILE: 1}}),
            deployment=base.deployment.model_copy(update={"bento_tag": HOSTILE, "status": HOSTILE}),
            predictions=base.predictions.model_copy(update={"model_name": HOSTILE}),
            places={HOSTILE: HOSTILE},
            commands={HOSTILE: HOSTILE},
        )
    )

    assert "<script" not in page
    assert Reader(page).text.count(HOSTILE) >= 15


@pytest.mark.parametrize(
    ("champion", "headline", "gate"),
    [
        (None, "Kisqali: no version serves yet", "held back"),
        (other_champion(), "Kisqali: version 6 still serves, not version 7", "kept out"),
    ],
)
def test_the_headline_says_what_serves(champion: Any, headline: str, gate: str) -> None:
    promotion = run_data().promotion
    assert promotion is not None

    text = read(promotion=promotion.model_copy(update={"is_promoted": False, "champion": champion})).text

    assert headline in text
    assert gate in text


def test_what_failed_or_was_not_asked_is_not_shown_as_passed() -> None:
    base = run_data()
    closed = [v.model_copy(update={"is_passed": False, "reasons": ("It is shut.",)}) for v in base.verdicts]
    page = read(
        verdicts=tuple(closed),
        evaluation=base.evaluation.model_copy(update={"is_passed": False, "unmet": ("AUC is too low.",)}),
        deployment=base.deployment.model_copy(update={"bento_tag": None}),
        run=run_facts(checks=()),
    )
    gates = run_report(run_data(verdicts=(), run=run_facts(checks=())))
    strip = page.text

    assert all(said in strip for said in ("0 of 1 table", "no answer", "1 not met", "nothing was promoted"))
    assert "It is shut." in strip
    assert gates.count("not asked") == 3
    assert "not tried" in gates


def test_the_threshold_of_another_version_is_not_told_as_the_champions() -> None:
    older = run_data().predictions.model_copy(update={"model_version": "6"})

    page = run_report(run_data(predictions=older))
    flagged = page[page.index('id="predictions"') :].partition("By decile")[0]

    assert "160 (10.2%)" in flagged
    assert "or above" not in flagged


def test_nothing_is_said_about_too_few_journeys() -> None:
    few = read(scores=Scores(rows=7)).text

    assert "7 journeys" in few
    assert "Too few journeys to be shown by decile." in few
    assert "Flagged" not in few.partition("Batch predictions")[2].partition("Times and memory")[0]


def test_what_is_not_there_is_said_to_be_missing() -> None:
    base = run_data()
    absent = base.predictions.model_copy(update={"is_absent": True})
    text = read(
        predictions=absent,
        scores=None,
        history_plot="",
        summary_plot="",
        curves={},
        slices={},
        run=run_facts(steps=(), are_steps_complete=False),
    ).text

    assert "Nothing was scored: no version has been promoted yet." in text
    assert "No times were recorded for this run" in text
    assert "Curves were not kept" in text
    assert "the outcome of every journey is known" in read(scores=Scores(rows=0)).text
    assert "Some times are missing" in read(run=run_facts(are_steps_complete=False)).text


def test_times_without_memory_are_shown_all_the_same() -> None:
    facts = run_facts(steps=(step("bento", "bento", "serving", 3.0, peak_mib=None, raised_mib=None, is_ok=False),))

    text = read(run=facts).text

    assert "start to report" in text
    assert "bento failed3.0 sn/a" in text


def test_drivers_and_groups_are_in_the_order_of_their_size_however_they_were_stored() -> None:
    base = run_data()
    stored = dict(sorted(base.attribution.importance.items()))
    data = run_data(attribution=base.attribution.model_copy(update={"importance": stored}))

    drivers = run_report(data).partition('id="drivers"')[2]

    names = re.findall(r'<div class="name">(\w+)</div>', drivers)
    assert names == sorted(stored, key=lambda name: -stored[name])
    groups = run_report(data).partition('id="groups"')[2].partition("</section>")[0]
    journeys = [int(n.replace(",", "")) for n in re.findall(r"<tr><td>\w+</td><td class=\"n\">([\d,]+)</td>", groups)]
    assert journeys == sorted(journeys, reverse=True)
    assert len(journeys) > 1
