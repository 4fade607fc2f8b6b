"""Pulls of a PostgreSQL source in processes of their own, some of which are killed: forked from one that only imports.

    echo '{"source": {...}, "table": "treatment_events", "kill": null}' | python -m e2i_pipeline_tests.pulls

A kill is `["after", seconds]`, by a timer whose signal ends the process at once, or `["rename", n]`, right before its
n-th move of a file into place. Tests only.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

from e2i_pipeline.resources.connectors import postgres_increments
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.sources import SourceResource

CLOCK = "(SELECT at FROM sim_clock)"
"""In place of the server's own clock: a table that the test sets."""


class Puller:
    """The process that is forked from."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def pull(self, source: dict[str, Any], table: str, kill: tuple[str, float] | None = None) -> dict[str, Any] | None:
        """Stages a table; gives the reference, or None where it was killed before it was done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"source": source, "table": table, "kill": kill}) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        assert said["status"] in (0, -signal.SIGALRM, -signal.SIGKILL), said
        return said["reference"]

    def end(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def stage(source: dict[str, Any], table: str) -> dict[str, Any]:
    """Stages a table by the simulated clock."""
    postgres_increments.CLOCK = CLOCK
    engine = EngineResource(temp_dir=source["state_dir"] + "-spill", threads=1)
    staged = SourceResource(**source, engine=engine).stage(table, datetime.now(UTC))
    return staged.model_dump(mode="json")


def _serve() -> None:
    for module in ("duckdb", "pyarrow.csv", "pyarrow.compute", "psycopg2", "filelock", "e2i_pipeline.domain.landing"):
        importlib.import_module(module)
    importlib.import_module("e2i_pipeline.resources.connectors.postgres")
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _arm(order["kill"])
            try:
                os.write(writing, json.dumps(stage(order["source"], order["table"])).encode())
            except BaseException as err:
                os.write(2, f"{type(err).__name__}: {err}\n".encode())
                os._exit(1)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        answer = {"status": os.waitstatus_to_exitcode(status), "reference": json.loads(said) if said else None}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _arm(kill: list[Any] | None) -> None:
    if kill is None:
        return
    if kill[0] == "after":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, kill[1])
        return
    left = [int(kill[1])]

    def hook(event: str, _arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    _serve()
