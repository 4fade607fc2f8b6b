"""The order in which test modules run: those that run the product as a whole first, pure functions last.

A worker takes one module after the other. Left to pytest-xdist those with the fewest tests come last, which are the
whole graphs: one worker is idle then while the other ends a long one.
"""

from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent
_QUICK = ("domain", "contracts", "config", "metadata")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts modules, never the tests of one."""
    items.sort(key=lambda item: _turn(item.path.parent))


def _turn(folder: Path) -> int:
    if folder == _FOLDER:
        return 0
    return 2 if folder.relative_to(_FOLDER).parts[0] in _QUICK else 1
