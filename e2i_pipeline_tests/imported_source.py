"""Which modules of the product a module imports, at its top or within functions, and those in turn. For tests only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import e2i_pipeline

PACKAGE = Path(e2i_pipeline.__file__).parent


def imported_source(*parts: str) -> set[str]:
    """The modules behind some modules, themselves included; imports for types alone are left out.

    Args:
        parts: Paths within the package, e.g. `domain/tuning.py`.
    """
    found: set[str] = set()
    waiting = [PACKAGE / part for part in parts]
    while waiting:
        path = waiting.pop()
        if (name := path.relative_to(PACKAGE).as_posix()) not in found:
            found.add(name)
            waiting += _imports(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _imports(tree: ast.AST) -> Iterator[Path]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE.name:
            yield from filter(
                None, (_path(f"{node.module}.{one.name}") or _path(node.module or "") for one in node.names)
            )
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imports(node)


def _path(module: str) -> Path | None:
    place = PACKAGE.parent.joinpath(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
