"""Synthea exports through the whole graph, as a user starts it: with a model at the end, or with why there is none."""

from pathlib import Path

import pytest

from e2i_pipeline_tests.processes import PROJECT, Done, Product
from e2i_pipeline_tests.resources.connectors.synthea_drop import population, shared_synthea


def product(state: Path, export: Path) -> Product:
    return Product(
        state,
        E2I_CONFIG=str(PROJECT / "examples" / "synthea.yaml"),
        E2I_DATA=str(export),
        E2I__OPTUNA__SEARCH__N_TRIALS="3",
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Product, Done]:
    folder = tmp_path_factory.mktemp("synthea")
    chosen = product(folder / "state", population("older", 900).write(folder / "export"))
    return chosen, chosen.e2i("run")


def test_an_export_of_some_size_ends_with_a_model_and_a_bento(made: tuple[Product, Done]) -> None:
    chosen, done = made
    assert done.status == 0, done.text
    assert "e2i-AcuteCare-conversion version 1" in done.out
    assert list((chosen.state / "bentoml" / "bentos").rglob("bento.yaml"))


def test_what_was_done_about_its_defects_stands_in_the_report(made: tuple[Product, Done]) -> None:
    chosen, _ = made
    (report,) = (chosen.state / "reports" / "AcuteCare").glob("latest.html")
    text = report.read_text(encoding="utf-8")
    assert "SPECIALITY is none that the platform knows" in text
    assert "SSN: a direct identifier" in text
    assert "Canary" not in text
    assert "CANARY" not in text


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("synthea_ne_2023", "93 journeys in all splits, 300 needed; 3 positives in train, 30 needed"),
        ("synthea_ohdsi_seed", "train 1, validation 0, test 0, holdout 0, and 3 of 4 journeys inside the gaps"),
    ],
    ids=["newer", "older"],
)
def test_a_third_party_export_is_too_small_and_says_by_how_much(tmp_path: Path, name: str, counts: str) -> None:
    done = product(tmp_path / "state", shared_synthea(name)).e2i("run")
    assert done.status == 1
    assert counts in done.text.replace("\n", " ")
