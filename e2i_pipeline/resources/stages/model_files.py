"""Keeps artifacts of a training in the state folder: model files, evaluation, attributions, pages.

Everything lies in an open format under a folder named by its key, and is written whole or not at all. What the files
mean stands in `domain/`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from e2i_pipeline.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from e2i_pipeline.domain.algorithms import ScoringModel


class ModelFilesResource(dg.ConfigurableResource):
    """Folders of files under the state folder.

    Attributes:
        state_dir: The state folder.
    """

    state_dir: str

    def keep(self, kind: str, brand: str, key: str, files: Mapping[str, bytes]) -> tuple[Path, str]:
        """Writes files into `<state>/<kind>/<brand>/<key>`, replacing what was there if it was something else.

        Returns:
            The folder, and the SHA-256 over names and contents.
        """
        from filelock import FileLock

        folder = Path(self.state_dir) / kind / brand / key
        lock = Path(self.state_dir) / "locks" / "files.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not folder.is_dir() or self.read(folder) != dict(files):
                _write(folder, files)
        return folder, files_sha256(files)

    def read(self, folder: str | Path) -> dict[str, bytes]:
        """All files of a folder by name."""
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}

    def load(self, folder: str | Path) -> "ScoringModel":
        """The model whose files lie in a folder."""
        from e2i_pipeline.domain.algorithms import load_model

        return load_model(self.read(folder))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder beside its place and moves it there; what was there is moved away first, whole."""
    with scratch_folder(folder.parent) as scratch:
        fresh, before = scratch / "fresh", scratch / "before"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if folder.exists():
            folder.rename(before)
        fresh.rename(folder)


def files_sha256(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the names and contents of files, in order of their names."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
