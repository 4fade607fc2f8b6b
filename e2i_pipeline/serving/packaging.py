"""Lays out what a Bento carries: the modules that its entry point needs, its settings, a model's files.

The modules are found by following imports from the entry point, so that a Bento's code hash changes when what serves
changes, and not when a chart in the model card does. Building from this layout happens in a process of its own, by
`build`; when to package belongs to `resources.bentoml`.
"""

import ast
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.serving.build import CONTEXT, MODEL, ORDER_FILE, BuildOrder
from e2i_pipeline.serving.settings import SETTINGS_FILE, ServingSettings

PACKAGE = "e2i_pipeline"
ENTRY = "e2i_pipeline.serving.bento"
ROOT = Path(__file__).resolve().parents[2]

DISTRIBUTIONS = ("numpy", "pandas", "pydantic", "scikit-learn", "skops")
"""What the modules import, by distribution; BentoML adds itself, XGBoost has two names."""

XGBOOST_BUILDS = ("xgboost-cpu", "xgboost")


def service_modules() -> dict[str, Path]:
    """The files that the entry point imports, directly or not: path inside the Bento to path here, in order."""
    found: dict[str, Path] = {}
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        path = _module_file(name)
        if path is None or str(path.relative_to(ROOT)) in found:
            continue
        found[str(path.relative_to(ROOT))] = path
        waiting.extend(_parents(name))
        waiting.extend(_imports(path))
    return dict(sorted(found.items()))


def code_hash() -> str:
    """Hash of the modules that a Bento carries and of the packages that it asks for."""
    return content_key(
        {name: path.read_text(encoding="utf-8") for name, path in service_modules().items()}, requirements()
    )


def requirements() -> tuple[str, ...]:
    """The packages that serve a model, each pinned to the version installed here, which made and checked it."""
    installed = {d: importlib.metadata.version(d) for d in DISTRIBUTIONS}
    for build in XGBOOST_BUILDS:
        try:
            installed[build] = importlib.metadata.version(build)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(f"{name}=={version}" for name, version in sorted(installed.items()))


def lay_out(folder: Path, files: Mapping[str, bytes], settings: ServingSettings, labels: Mapping[str, str]) -> None:
    """Writes everything that `build` needs into an empty folder.

    Args:
        folder: An existing, empty folder.
        files: The model's files, as `dump_model` gives them.
        settings: What the Bento is to know about itself.
        labels: Labels of the Bento and of the model.
    """
    for name, source in service_modules().items():
        target = folder / CONTEXT / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (folder / CONTEXT / SETTINGS_FILE).write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    (folder / MODEL).mkdir()
    for name, content in files.items():
        (folder / MODEL / name).write_bytes(content)
    order = BuildOrder(
        bento_tag=settings.bento_tag,
        model_tag=settings.model_tag,
        service=f"{ENTRY}:service",
        labels=dict(labels),
        requirements=requirements(),
    )
    (folder / ORDER_FILE).write_text(order.model_dump_json(indent=2), encoding="utf-8")


def _module_file(name: str) -> Path | None:
    """The file of a module or package of ours; None for a name inside a module."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imports(path: Path) -> Iterator[str]:
    """Names of ours that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
