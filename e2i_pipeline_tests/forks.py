"""Processes of Dagster's command line that are there at once: forked from one that has the tools imported. Tests only.

Importing is most of what a small run takes. The process that is forked from does nothing but import, so a fork differs
from a fresh process in nothing that counts here; it has a group of its own and can be killed like any other.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2i_pipeline.resources.audit_run import great_expectations
from e2i_pipeline_tests.processes import Done

KILL_AT = Path(__file__).with_name("kill_at") / "sitecustomize.py"

_LOADED = (
    *("dagster._cli", "duckdb", "pandas", "pyarrow", "sqlalchemy", "alembic.command", "filelock"),
    *("e2i_pipeline.definitions", "e2i_pipeline.metadata.tables", "e2i_pipeline.metadata.migration"),
    *("e2i_pipeline.domain.quality", "e2i_pipeline.domain.splits", "e2i_pipeline.storage.dagster_sqlite"),
)


class Forks:
    """The process that is forked from.

    Args:
        environment: Its environment, and that of its forks.
        started_in: Its working folder.
    """

    def __init__(self, environment: Mapping[str, str], started_in: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-m", __name__],
            env=dict(environment),
            cwd=started_in,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said = started_in / "said"

    def end(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def dagster(self, *arguments: str, **environment: str) -> Done:
        """Runs Dagster's command line to its end, or until it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"arguments": arguments, "environment": environment, "said": str(self._said)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return Done(status, self._said.read_text(encoding="utf-8"), "")


def _serve() -> None:
    for module in _LOADED:
        importlib.import_module(module)
    great_expectations()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _become_dagster(order["arguments"], order["environment"], Path(order["said"]))
        _, status = os.waitpid(child, 0)
        os.write(sys.stdout.fileno(), f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become_dagster(arguments: Sequence[str], environment: Mapping[str, str], said: Path) -> None:
    os.setsid()
    with said.open("w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    os.environ.update(environment)
    sys.argv = ["dagster", *arguments]
    sys.orig_argv = [sys.executable, "-m", "dagster", *arguments]
    runpy.run_path(str(KILL_AT))
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
