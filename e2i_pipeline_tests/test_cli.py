"""The command line: what it cannot do it says in one message, with exit status 1 and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from e2i_pipeline.domain.privacy import pseudonym
from e2i_pipeline.resources.state_folder import StateFolder
from e2i_pipeline_tests.processes import Done, Product


def refused(done: Done) -> str:
    """The message of a command that was refused, and nothing but the message."""
    assert done.status == 1, done.text
    assert done.out == ""
    assert "Traceback" not in done.err
    return done.err.strip()


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return Product(tmp_path / "state", E2I__BRANDS="[Kisqali, Fabhalta]")


@pytest.mark.parametrize("command", ["run", "summary", "serve"])
def test_an_unknown_brand_is_refused_with_the_known_ones(product: Product, command: str) -> None:
    message = refused(product.e2i(command, "--brand", "Kisquali"))

    assert message == "ConfigurationError: There is no brand 'Kisquali'. Configured brands: Kisqali, Fabhalta."
    assert [path.name for path in product.state.iterdir()] == ["dagster"]


def test_nothing_to_serve_says_what_to_run_first(product: Product) -> None:
    message = refused(product.e2i("serve"))

    assert message.startswith("Nothing is deployed for Kisqali: run `make run BRAND=Kisqali` first.")


def test_nothing_to_summarize_says_what_to_materialize_first(product: Product) -> None:
    message = refused(product.e2i("summary", "--brand", "Fabhalta"))

    assert message.startswith("ReferenceNotFound: validated_dataset has not been materialized in this state folder.")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"E2I__SPLITS__GAP_DAY": "3"}, "splits.gap_day: unknown key. Did you mean splits.gap_days?"),
        ({"E2I__OPTUNA__SEARCH__N_TRIALS": "many"}, "optuna.search.n_trials"),
        ({"E2I__SOURCE__KIND": "files"}, "source.location (or E2I_DATA) must say where the files lie"),
        ({"E2I_CONFIG": "no/such.yaml"}, "The configuration no/such.yaml cannot be read"),
        ({"E2I_PROFILE": "moon"}, "E2I_PROFILE=moon: there is no such profile. Profiles:"),
        ({"E2I__BRANDS": "[Kisqali, Kisqali]"}, "brands: a brand is named twice"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_a_wrong_configuration_is_one_message(tmp_path: Path, environment: dict[str, str], expected: str) -> None:
    message = refused(Product(tmp_path / "state", **environment).e2i("run"))

    assert message.startswith("ConfigurationError: ")
    assert expected in message


@pytest.mark.parametrize("arguments", [(), ("fly",), ("run", "--brnd", "Kisqali")])
def test_a_command_that_is_none_shows_how_they_are_written(product: Product, arguments: tuple[str, ...]) -> None:
    done = product.e2i(*arguments)

    assert done.status == 2
    assert done.err.startswith("usage: e2i")
    assert "Traceback" not in done.err


def hashed(product: Product, given: str, *arguments: str) -> Done:
    """`e2i pseudonym` with something on its standard input."""
    command = [sys.executable, "-m", "e2i_pipeline.cli", "pseudonym", *arguments]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command, env=product.environment, input=given, capture_output=True, text=True, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_pseudonym_is_the_one_of_landing_and_comes_line_by_line(product: Product) -> None:
    key = StateFolder(product.state).pseudonym_key({})

    done = hashed(product, "P53\n\nP 54\r\n", "--namespace", "patient")

    assert done.status == 0, done.text
    expected = [pseudonym(key, "patient", "P53"), "", pseudonym(key, "patient", "P 54")]
    assert done.out.splitlines() == expected
    assert "P53" not in done.text


def test_a_kind_of_thing_that_has_no_pseudonyms_is_refused(product: Product) -> None:
    done = hashed(product, "P53\n", "--namespace", "patients")

    assert done.status == 2
    assert "invalid choice: 'patients'" in done.err
    assert all(namespace in done.err for namespace in ("patient", "hcp", "journey", "event", "touch", "rep"))


def test_without_a_key_none_is_made(product: Product) -> None:
    message = refused(hashed(product, "P53\n", "--namespace", "patient"))

    assert message.startswith("ConfigurationError: There is no pseudonym key in ")
    assert not (product.state / "pseudonym.key").exists()


def test_help_names_the_commands(product: Product) -> None:
    done = product.e2i("--help")

    assert done.status == 0
    assert all(f"    {command} " in done.out for command in ("run", "summary", "serve", "clean"))


def test_there_is_nothing_to_clean_at_first(product: Product) -> None:
    dry, done = product.e2i("clean", "--dry-run"), product.e2i("clean")

    assert (dry.status, dry.out) == (0, "Would remove 0 things, 0.000 MiB.\n")
    assert (done.status, done.out) == (0, "Removed 0 things, 0.000 MiB.\n")
    assert [path.name for path in product.state.iterdir()] == ["dagster"]
