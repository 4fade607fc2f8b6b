"""Python imports this module at the start of a process that has its folder on the path.

At the end of the process it writes which of the watched modules were imported, one file per process. Nothing else of
the process changes.
"""

import atexit
import json
import os
import sys
from pathlib import Path

FOLDER, WATCHED = "BENCH_WITNESS_FOLDER", "BENCH_WITNESS_MODULES"


def _testify(folder: str, watched: list[str]) -> None:
    seen = [name for name in watched if name in sys.modules]
    Path(folder, f"{os.getpid()}.json").write_text(json.dumps(seen), encoding="utf-8")


if os.environ.get(FOLDER):
    atexit.register(_testify, os.environ[FOLDER], os.environ[WATCHED].split())
