"""Keeps artifacts of a training in the state folder: model files, evaluation, attributions, pages.

Everything lies in an open format under a folder named by its key, and is written whole or not at all. What the files
mean stands in `domain/`.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from e2i_pipeline.domain.algorithms import ScoringModel


class ModelFilesResource(dg.ConfigurableResource):
    """Folders of files under the state folder.

    Attributes:
        state_dir: The state folder.
    """

    state_dir: str

    def keep(self, kind: str, brand: str, key: str, files: Mapping[str, bytes]) -> tuple[Path, str]:
        """Writes files into `<state>/<kind>/<brand>/<key>`, replacing what was there.

        Returns:
            The folder, and the SHA-256 over names and contents.
        """
        folder = Path(self.state_dir) / kind / brand / key
        scratch = folder.with_name(f".{key}-{uuid.uuid4().hex}")
        scratch.mkdir(parents=True)
        for name, content in files.items():
            (scratch / name).write_bytes(content)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(scratch, folder)  # noqa: PTH105 - atomic by definition
        return folder, files_sha256(files)

    def read(self, folder: str | Path) -> dict[str, bytes]:
        """All files of a folder by name."""
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}

    def load(self, folder: str | Path) -> "ScoringModel":
        """The model whose files lie in a folder."""
        from e2i_pipeline.domain.algorithms import load_model

        return load_model(self.read(folder))


def files_sha256(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the names and contents of files, in order of their names."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
