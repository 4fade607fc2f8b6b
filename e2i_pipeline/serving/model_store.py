"""A model's files in BentoML's model store: open formats only, put in under a tag and read back by it.

What the files are is `domain.algorithms`' business; `bentoml.xgboost` and `bentoml.sklearn` are not used (the first
fails with the CPU build of XGBoost, the second pickles).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.domain.algorithms import load_model

if TYPE_CHECKING:
    from e2i_pipeline.domain.algorithms import ScoringModel

FILES = "files"
"""Folder inside the stored model that holds what `dump_model` gave."""


def save_to_store(files: Mapping[str, bytes], tag: str, labels: Mapping[str, str]) -> None:
    """Puts a model's files into the store of this process's `BENTOML_HOME`; a model of this tag is left as it is.

    Args:
        files: File names to contents, as `dump_model` gives them.
        tag: `name:version`, unique to the content.
        labels: Shown by `bentoml models list`.
    """
    import bentoml

    try:
        bentoml.models.get(tag)
    except bentoml.exceptions.NotFound:
        with bentoml.models.create(tag, labels=dict(labels)) as stored:
            folder = Path(stored.path_of(FILES))
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)


def load_from_store(stored: Any) -> "ScoringModel":
    """Loads the model that a resolved `bentoml.Model` holds."""
    folder = Path(stored.path_of(FILES))
    return load_model({path.name: path.read_bytes() for path in folder.iterdir()})
