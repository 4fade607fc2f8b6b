"""What to install where a package is missing."""

from importlib import import_module

import pytest

from e2i_pipeline.packages import missing_package


def problem(module: str) -> str:
    with pytest.raises(ModuleNotFoundError) as caught:
        import_module(module)
    return str(missing_package(caught.value) or "")


@pytest.mark.parametrize(
    ("package", "extra"), [("lightgbm", "lightgbm"), ("econml", "causal"), ("pyspark", "spark"), ("boto3", "aws")]
)
def test_a_package_of_an_extra_names_the_extra_and_the_command(package: str, extra: str) -> None:
    said = str(missing_package(ModuleNotFoundError(f"No module named '{package}.part'", name=f"{package}.part")))

    assert said.startswith(f"The Python package {package} is needed here and is not installed in ")
    assert f"It comes with the extra {extra}." in said
    assert said.endswith(f".venv/bin/uv pip install -c requirements.lock -e '.[{extra}]'")


def test_any_other_package_comes_with_the_product_itself() -> None:
    said = problem("a_package_that_nobody_wrote")

    assert said.startswith("The Python package a_package_that_nobody_wrote is needed here")
    assert "extra" not in said
    assert said.endswith("-e '.'")


def test_a_module_of_ours_that_is_not_there_is_our_mistake() -> None:
    assert problem("e2i_pipeline.no_such_module") == ""


def test_another_error_is_none_of_it() -> None:
    assert missing_package(ImportError("cannot import name 'x'")) is None
    assert missing_package(ValueError("x")) is None
