"""The claim and the key of a state folder: made once, whoever comes first, and refused to anybody else."""

import stat
from pathlib import Path

import pytest

from e2i_pipeline.errors import ConfigurationError, StateFolderConflict
from e2i_pipeline.resources.state_folder import StateFolder
from e2i_pipeline_tests.processes import at_once


def test_a_claim_holds_for_its_source_alone(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.claim("files", "/data/one")
    folder.claim("files", "/data/one")
    with pytest.raises(StateFolderConflict) as caught:
        folder.claim("synthetic", "")
    for part in (str(tmp_path / "state"), "files at /data/one", "synthetic", "E2I_STATE_DIR", "delete"):
        assert part in str(caught.value)
    with pytest.raises(StateFolderConflict, match=r"/data/one.*/data/two"):
        folder.claim("files", "/data/two")


def test_an_unreadable_claim_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"source\.json should say whose"):
        StateFolder(tmp_path).claim("synthetic", "")


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot be written: Not a directory.*E2I_STATE_DIR"):
        StateFolder(tmp_path / "file" / "state").claim("synthetic", "")


def test_the_key_is_kept_and_its_owners_alone(tmp_path: Path) -> None:
    key = StateFolder(tmp_path).pseudonym_key({})
    path = tmp_path / "pseudonym.key"
    assert len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert StateFolder(tmp_path).pseudonym_key({}) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_environment_comes_first(tmp_path: Path) -> None:
    given = {"E2I_PSEUDONYM_KEY": " sixteen letters! \n"}
    assert StateFolder(tmp_path).pseudonym_key(given) == b"sixteen letters!"
    assert not (tmp_path / "pseudonym.key").exists()


def test_a_short_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="E2I_PSEUDONYM_KEY has 6 characters") as caught:
        StateFolder(tmp_path).pseudonym_key({"E2I_PSEUDONYM_KEY": "secret"})
    assert "secret" not in str(caught.value)
    (tmp_path / "pseudonym.key").write_text("")
    with pytest.raises(ConfigurationError, match=r"pseudonym\.key has 0 characters.*Restore it"):
        StateFolder(tmp_path).pseudonym_key({})


def make_key(root: Path) -> bytes:
    return StateFolder(root).pseudonym_key({})


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    assert len(set(at_once(make_key, [(tmp_path,)] * 4))) == 1
