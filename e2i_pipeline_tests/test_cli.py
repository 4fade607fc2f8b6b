"""The command line: what it cannot do it says in one message, with exit status 1 and no traceback."""

from pathlib import Path

import pytest

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


def test_help_names_the_commands(product: Product) -> None:
    done = product.e2i("--help")

    assert done.status == 0
    assert all(f"    {command} " in done.out for command in ("run", "summary", "serve"))
