"""Algorithms from outside: how they are named, found and refused."""

from pathlib import Path

import pytest

from e2i_pipeline.domain.algorithms import algorithm, known_algorithms
from e2i_pipeline.domain.outside import GROUP, VARIABLE, outside_algorithms
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.serving.carried import carried_references, outside_key, outside_modules, requirements_of

MODULE = """
from e2i_pipeline.domain.learners import Ridge, XGBoost

class Steep(Ridge):
    name = "steep"

class Taken(XGBoost):
    pass

class Again(Steep):
    pass

instance = Steep()
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of one's own on the Python path, of a name that no other test uses."""
    name = f"outside_{abs(hash(request.node.nodeid)):x}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_variable_names_a_class_or_an_instance(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for named in ("Steep", "instance"):
        monkeypatch.setenv(VARIABLE, f" {module}:{named} ,")
        assert algorithm("steep").name == "steep"
        assert "steep" in known_algorithms()
        assert outside_algorithms()["steep"].distribution == ""
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigurationError, match="no algorithm 'steep'"):
        algorithm("steep")


def test_a_module_of_ones_own_is_carried_and_its_text_counts(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{module}:Steep")
    [(name, path)] = outside_modules("steep").items()

    assert name == f"{module}.py"
    assert carried_references("steep") == f"{module}:Steep\n"
    before = outside_key(["steep", "ridge"])
    path.write_text(f"{MODULE}\n", encoding="utf-8")
    assert outside_key(["steep"]) not in ("", before)
    assert (outside_modules("ridge"), carried_references("ridge"), outside_key(["ridge"])) == ({}, "", "")


def test_an_installed_distribution_is_asked_for_and_not_carried(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "clinic_forests-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: clinic-forests\nVersion: 1.2\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\nsteep = {module}:Steep\n", encoding="utf-8")
    monkeypatch.setenv(VARIABLE, ",")  # another text than any other test's: what was found is kept by it

    assert outside_algorithms()["steep"].distribution == "clinic-forests"
    assert requirements_of("steep") == ("clinic-forests==1.2",)
    assert (outside_modules("steep"), carried_references("steep")) == ({}, "")
    assert outside_key(["steep"])


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nowhere_at_all:Steep", r"nowhere_at_all:Steep \(E2I_ALGORITHMS.*was not found \(ModuleNotFoundError"),
        ("{module}:Missing", "was not found .AttributeError"),
        ("{module}", "was not found"),
        ("{module}:number", "is no algorithm: make it a class"),
        ("{module}:Steep,{module}:Again", "'steep' is named twice"),
        ("{module}:Taken", "names its algorithm 'xgboost', as one of this product"),
    ],
)
def test_what_cannot_be_had_is_refused(module: str, named: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, named.format(module=module))

    with pytest.raises(ConfigurationError, match=message):
        algorithm("steep")
