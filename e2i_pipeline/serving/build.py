"""Builds a Bento from what `packaging` laid out; started as a script, in a process of its own.

A process of its own, because BentoML takes its home from the environment once per process and imports the service
that it builds: here that is the copy in the layout (on PYTHONPATH), not the package of the running pipeline.
"""

import sys
from pathlib import Path

from e2i_pipeline.contracts.base import Contract

CONTEXT = "context"
"""Folder of the layout that becomes the Bento's code."""

MODEL = "model"
"""Folder of the layout that holds the model's files."""

ORDER_FILE = "order.json"
"""File of the layout that says what to build."""


class BuildOrder(Contract):
    """What is to be made out of a laid-out folder.

    Attributes:
        bento_tag: Tag of the Bento, `name:version`.
        model_tag: Tag of the model in the store.
        service: Import string of the service.
        labels: Labels of both.
        requirements: Python packages, pinned to what is installed here.
    """

    bento_tag: str
    model_tag: str
    service: str
    labels: dict[str, str]
    requirements: tuple[str, ...]


def main(folder: Path) -> None:
    """Stores the model and builds the Bento of a laid-out folder, both in this process's `BENTOML_HOME`."""
    import bentoml

    from e2i_pipeline.serving.model_store import save_to_store

    order = BuildOrder.model_validate_json((folder / ORDER_FILE).read_bytes())
    files = {path.name: path.read_bytes() for path in (folder / MODEL).iterdir()}
    save_to_store(files, order.model_tag, order.labels)
    name, _, version = order.bento_tag.partition(":")
    bentoml.build(
        order.service,
        name=name,
        version=version,
        labels=order.labels,
        build_ctx=str(folder / CONTEXT),
        include=["*"],
        models=[order.model_tag],
        # Locking asks a package index; the versions are pinned already.
        python={"packages": list(order.requirements), "lock_packages": False},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
