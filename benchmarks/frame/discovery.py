"""Finds bars by listing their folder, so that a further one is a file and nothing else."""

import importlib.util
import sys
from pathlib import Path

from benchmarks.frame.bar import Bar, BarError


def names_in(folder: Path) -> list[str]:
    """Names of the bars of a folder: its modules, but for those that begin with an underscore."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def bars_in(folder: Path, only: str = "") -> list[Bar]:
    """The bars of a folder, by name.

    Args:
        folder: Folder of the bars.
        only: Name of the one that is wanted; empty for all.

    Raises:
        BarError: There is no such bar, or a module is none.
    """
    names = names_in(folder)
    if only and only not in names:
        raise BarError(f"There is no bar {only!r}. There are: {', '.join(names) or 'none'}.")
    return [_load(folder / f"{name}.py") for name in names if only in ("", name)]


def _load(path: Path) -> Bar:
    name = f"{path.parent.name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BarError(f"{path.name} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    bar = getattr(module, "BAR", None)
    if not isinstance(bar, Bar) or bar.name != path.stem:
        raise BarError(f"{path.name} is no bar: give it a constant BAR, a Bar that is named {path.stem}.")
    return bar
