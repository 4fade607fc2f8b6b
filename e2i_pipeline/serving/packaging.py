"""Lays out what a Bento carries: the modules that its entry point needs, its settings, a model's files.

The modules are found by following imports from the entry point, so that a Bento's code hash changes when what serves
changes, and not when a chart in the model card does. Building from this layout happens in a process of its own, by
`build`; when to package belongs to `resources.bentoml`.
"""

from collections.abc import Mapping
from pathlib import Path

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.domain.outside import CARRIED_FILE
from e2i_pipeline.serving.build import CONTEXT, MODEL, ORDER_FILE, BuildOrder
from e2i_pipeline.serving.carried import (
    carried_references,
    imported_files,
    outside_key,
    outside_modules,
    pinned,
    requirements_of,
)
from e2i_pipeline.serving.settings import SETTINGS_FILE, ServingSettings

ENTRY = "e2i_pipeline.serving.bento"

DISTRIBUTIONS = ("numpy", "pandas", "pydantic", "scikit-learn", "skops")
"""What the modules import, by distribution, whatever the algorithm; BentoML adds itself."""


def service_modules() -> dict[str, Path]:
    """The files that the entry point imports, directly or not: path inside the Bento to path here, in order."""
    return imported_files(ENTRY)


def code_hash(algorithm: str) -> str:
    """Hash of the modules that a Bento of this algorithm carries and of the packages that it asks for."""
    modules = {name: path.read_text(encoding="utf-8") for name, path in service_modules().items()}
    return content_key(modules, requirements(algorithm), outside_key([algorithm]))


def requirements(*algorithms: str) -> tuple[str, ...]:
    """The packages that serve models of these algorithms, each pinned to the version installed here."""
    found = {pinned(name) for name in DISTRIBUTIONS}
    return tuple(sorted(found.union(*(requirements_of(name) for name in algorithms))))


def lay_out(folder: Path, files: Mapping[str, bytes], settings: ServingSettings, labels: Mapping[str, str]) -> None:
    """Writes everything that `build` needs into an empty folder.

    Args:
        folder: An existing, empty folder.
        files: The model's files, as `dump_model` gives them.
        settings: What the Bento is to know about itself.
        labels: Labels of the Bento and of the model.
    """
    algorithm = settings.manifest.algorithm
    for name, source in {**service_modules(), **outside_modules(algorithm)}.items():
        target = folder / CONTEXT / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    if references := carried_references(algorithm):
        (folder / CONTEXT / "e2i_pipeline" / "domain" / CARRIED_FILE).write_text(references, encoding="utf-8")
    (folder / CONTEXT / SETTINGS_FILE).write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    (folder / MODEL).mkdir()
    for name, content in files.items():
        (folder / MODEL / name).write_bytes(content)
    order = BuildOrder(
        bento_tag=settings.bento_tag,
        model_tag=settings.model_tag,
        service=f"{ENTRY}:service",
        labels=dict(labels),
        requirements=requirements(algorithm),
    )
    (folder / ORDER_FILE).write_text(order.model_dump_json(indent=2), encoding="utf-8")
