"""What `make` must be told is what its own rules do not already say."""

from pathlib import Path

import pytest

from e2i_pipeline.config.loader import PROJECT, load_settings
from e2i_pipeline.config.make_arguments import make_arguments

FILES = str(PROJECT / "examples" / "files.yaml")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"E2I_STATE_DIR": str(PROJECT / ".e2i")}, ""),
        ({"E2I_STATE_DIR": "/data/state"}, " E2I_STATE_DIR=/data/state"),
        ({"E2I_STATE_DIR": str(PROJECT / "other")}, " E2I_STATE_DIR=other"),
        (
            {"E2I_STATE_DIR": str(PROJECT / ".e2i-files"), "E2I_CONFIG": FILES, "E2I_DATA": "/data/my drop"},
            " CONFIG=examples/files.yaml DATA='/data/my drop'",
        ),
        (
            {"E2I_STATE_DIR": str(PROJECT / ".e2i"), "E2I_CONFIG": FILES, "E2I_DATA": "/data"},
            " CONFIG=examples/files.yaml DATA=/data E2I_STATE_DIR=.e2i",
        ),
    ],
)
def test_only_what_is_not_the_default_is_said(environment: dict[str, str], expected: str) -> None:
    assert make_arguments(load_settings(environment), environment) == expected


def test_a_path_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"E2I_STATE_DIR": "state"}

    assert make_arguments(load_settings(environment), environment) == f" E2I_STATE_DIR={tmp_path}/state"
