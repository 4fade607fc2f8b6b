"""Files of a training: whole or not at all, hashed by name and content, and a model that scores as it did."""

from pathlib import Path

import numpy as np
import pytest

from e2i_pipeline.domain.algorithms import dump_model
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.stages.model_files import ModelFilesResource, files_sha256
from e2i_pipeline_tests.processes import at_once
from e2i_pipeline_tests.serving.small_model import journeys, small_model

FILES = {"evaluation.json": b"{}", "curve.png": b"\x89PNG"}


def files(folder: Path) -> ModelFilesResource:
    return ModelFilesResource(state_dir=str(folder))


def keep(folder: Path, content: dict[str, bytes]) -> tuple[Path, str]:
    return files(folder).keep("models", "Kisqali", "key", content)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    folder, version = keep(tmp_path, FILES)

    assert folder == tmp_path / "models" / "Kisqali" / "key"
    assert files(tmp_path).read(folder) == FILES
    assert version == files_sha256(FILES)


def test_the_hash_is_of_names_and_contents_in_any_order() -> None:
    hashes = [
        files_sha256(given)
        for given in (
            FILES,
            {"evaluation.json": b"{}", "curve.png": b"\x89PNG2"},
            {"evaluation.json": b"{}", "other.png": b"\x89PNG"},
            {"evaluation.json": b"{}"},
            {"a": b"bc"},
            {"ab": b"c"},
        )
    ]

    assert len(set(hashes)) == len(hashes)
    assert files_sha256(dict(reversed(FILES.items()))) == hashes[0]


def test_keeping_the_same_again_touches_nothing(tmp_path: Path) -> None:
    folder, version = keep(tmp_path, FILES)
    before = folder.stat().st_ino

    assert keep(tmp_path, FILES) == (folder, version)
    assert folder.stat().st_ino == before


def test_other_files_take_the_place_of_all_of_them(tmp_path: Path) -> None:
    keep(tmp_path, FILES)
    folder, version = keep(tmp_path, {"model.json": b"[]"})

    assert left_in(folder) == ["model.json"]
    assert version == files_sha256({"model.json": b"[]"})
    assert left_in(folder.parent) == ["key"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    folder, _ = keep(tmp_path, FILES)

    with pytest.raises(FileNotFoundError):
        keep(tmp_path, {"model.json": b"[]", "no/such/folder": b""})

    assert files(tmp_path).read(folder) == FILES
    assert left_in(folder.parent) == ["key"]


def test_processes_that_write_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    contents = [{name: bytes([i % 2]) * 50_000 for name in ("a", "b", "c")} for i in range(4)]
    kept = at_once(keep, [(tmp_path, content) for content in contents])

    folder = kept[0][0]
    assert files(tmp_path).read(folder) in contents
    assert left_in(folder.parent) == ["key"]


@pytest.mark.parametrize("algorithm", ["xgboost", "logistic_regression"])
def test_a_model_scores_as_it_did_before_it_was_kept(tmp_path: Path, algorithm: str) -> None:
    model = small_model(algorithm)
    frame, _ = journeys(50, seed=9)
    folder, _ = keep(tmp_path, dump_model(model))

    loaded = files(tmp_path).load(folder)

    assert loaded.manifest == model.manifest
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))


def test_a_model_that_lost_a_file_is_refused(tmp_path: Path) -> None:
    folder, _ = keep(tmp_path, dump_model(small_model("xgboost")))
    (folder / "model.json").unlink()

    with pytest.raises(ToolRejected):
        files(tmp_path).load(folder)
