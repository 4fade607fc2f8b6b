"""Started as a script, in a process of its own: stores a model and builds the Bento that carries it."""

import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "pandas", "pydantic", "scikit-learn", "skops")


def main(layout: str, files: Path, tag: str) -> None:
    """Builds.

    Args:
        layout: Folder with the service and the code that it needs.
        files: Folder of the model's files.
        tag: Tag of model and Bento.
    """
    import bentoml

    with bentoml.models.create(tag) as stored:
        folder = Path(stored.path_of("files"))
        folder.mkdir()
        for path in files.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    name, _, version = tag.partition(":")
    bentoml.build(
        "service:Plain",
        name=name,
        version=version,
        build_ctx=layout,
        include=["*"],
        models=[tag],
        python={"packages": [f"{p}=={metadata.version(p)}" for p in PACKAGES], "lock_packages": False},
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
