"""What a packaged model carries beside the package itself: an algorithm from outside, and what its algorithm needs.

How such an algorithm is found stands in `domain.outside`; who packages is `packaging` for a Bento and
`resources.mlflow_models` for MLflow.
"""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.domain.algorithms import algorithm, known_algorithms
from e2i_pipeline.domain.outside import outside_algorithms
from e2i_pipeline.errors import ConfigurationError


def installed_algorithms() -> list[str]:
    """The algorithms whose libraries are installed here: which one a model is of, its files say."""
    return [name for name, found in known_algorithms().items() if found.is_installed]


def requirements_of(name: str) -> tuple[str, ...]:
    """The packages that an algorithm needs beyond what every model needs, each pinned to the version installed here.

    Args:
        name: Name of the algorithm.
    """
    wanted = [pinned(*names) for names in algorithm(name).distributions]
    outside = outside_algorithms().get(name)
    if outside is not None and outside.distribution:
        wanted.append(pinned(outside.distribution))
    return tuple(requirement for requirement in wanted if requirement)


def pinned(*names: str) -> str:
    """The requirement for the one of these distributions that is installed; empty where none is."""
    for name in names:
        try:
            return f"{name}=={importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def outside_modules(name: str) -> dict[str, Path]:
    """The source files of an algorithm that is a module of somebody's own: path inside the package to path here.

    Its module, what that imports of the same top-level package, and the packages that these lie in. What it needs of
    others, it says as `distributions`. Empty for an algorithm of ours, or of an installed distribution.

    Args:
        name: Name of the algorithm.

    Raises:
        ConfigurationError: The module has no source file.
    """
    outside = outside_algorithms().get(name)
    if outside is None or outside.distribution:
        return {}
    files = imported_files(outside.reference.partition(":")[0])
    if not files:
        raise ConfigurationError(
            f"{outside.reference} has no source file that a Bento or an MLflow model could carry. Install it as a "
            "distribution with an entry point instead (docs/algorithms.md)."
        )
    return files


def carried_references(name: str) -> str:
    """The content of `domain.outside.CARRIED_FILE` for a model of this algorithm; empty where it needs none."""
    outside = outside_algorithms().get(name)
    return "" if outside is None or outside.distribution else f"{outside.reference}\n"


def outside_key(names: Iterable[str]) -> str:
    """Hash of the code from outside behind some algorithms; empty where all are ours."""
    known = outside_algorithms()
    parts = {
        name: [
            known[name].reference,
            *requirements_of(name),
            *(p.read_text("utf-8") for p in outside_modules(name).values()),
        ]
        for name in sorted(set(names) & set(known))
    }
    return content_key(parts) if parts else ""


def imported_files(module: str) -> dict[str, Path]:
    """The files of a module and of what it imports of its own top-level package, directly or not.

    Args:
        module: Name of the module, e.g. `e2i_pipeline.serving.bento`.

    Returns:
        Path below the folder that holds the top-level package to path here, in order of the former.
    """
    top = module.partition(".")[0]
    root = _folder_of(top)
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _module_file(root, name)
        if path is None or str(path.relative_to(root)) in found:
            continue
        found[str(path.relative_to(root))] = path
        waiting.extend(_parents(name))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting.extend(imported for imported in _imports(path, package) if imported.partition(".")[0] == top)
    return dict(sorted(found.items()))


def _folder_of(top: str) -> Path:
    """The folder on the Python path that holds a top-level module or package."""
    spec = importlib.util.find_spec(top)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if folders:
        return Path(folders[0]).resolve().parent
    return Path(spec.origin if spec and spec.origin else top).resolve().parent


def _module_file(root: Path, name: str) -> Path | None:
    """The file of a module or package; None for a name inside a module, and for a package without a file."""
    path = root.joinpath(*name.split("."))
    if path.is_dir():
        return path / "__init__.py" if (path / "__init__.py").is_file() else None
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imports(path: Path, package: str) -> Iterator[str]:
    """Names that a file of a package imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
