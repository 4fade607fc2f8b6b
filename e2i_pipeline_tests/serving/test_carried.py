"""What of a module of somebody's own a packaged model carries."""

from pathlib import Path

import pytest

from e2i_pipeline.serving.carried import imported_files

FILES = {
    "clinic_a/models/forests.py": "from . import sizes\nfrom .. import texts as said\nimport clinic_a.far.away\n",
    "clinic_a/models/__init__.py": "",
    "clinic_a/models/sizes.py": "def f():\n    from .deep.leaves import LEAVES\n",
    "clinic_a/models/deep/leaves.py": "from ..sizes import f\nimport numpy\n",
    "clinic_a/models/unrelated.py": "",
    "clinic_a/texts.py": "",
    "clinic_a/far/away.py": "",
    "clinic_a_single.py": "import clinic_a.texts\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_imports_of_the_same_package_are_followed_absolute_and_relative(folder: Path) -> None:
    found = imported_files("clinic_a.models.forests")

    assert set(found) == {name for name in FILES if name.startswith("clinic_a/") and "unrelated" not in name}
    assert found["clinic_a/texts.py"] == folder / "clinic_a/texts.py"


def test_another_top_level_package_is_not_carried(folder: Path) -> None:
    assert imported_files("clinic_a_single") == {"clinic_a_single.py": folder / "clinic_a_single.py"}
