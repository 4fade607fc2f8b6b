"""Runs one side in a process of its own, and says how long it took and how much memory it held at most.

What runs in it is the bar's affair. A process that outlives its time, or whose caller is interrupted, is ended with all
that it has started.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.frame.bar import BarError

PROJECT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 3600
"""Longer than the largest bar takes on a slow machine; only a process that hangs gets there."""

_FOREIGN = ("E2I", "DAGSTER", "MLFLOW", "GE_", "GX_", "FEAST", "OPTUNA", "BENTOML", "OPIK", "ENVIRONMENT", "PYTHON")
_QUIET = {"PYTHONWARNINGS": "ignore", "DO_NOT_TRACK": "1", "DAGSTER_DISABLE_TELEMETRY": "1"}
_LOG_TAIL = 3000


class Child(NamedTuple):
    """A process that ended well.

    Attributes:
        seconds: From its start to its end.
        peak_mib: Highest resident memory of it, or of a process that it waited for, MiB. On Linux it is never less than
            what this process held when it started the child, so this one imports nothing heavy.
        out: What it wrote to its standard output.
    """

    seconds: float
    peak_mib: float
    out: str


def run_python(folder: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
    """Runs this interpreter.

    Args:
        folder: Where it is started and its output is kept; made when absent.
        arguments: As after `python`.
        environment: Variables beside those of the user; what the user set for the product or its tools is left out.

    Raises:
        BarError: It failed or took too long; the message ends with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, *arguments],
            env=clean_environment(environment or {}),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            start_new_session=True,
        )
        with _ended(process):
            _, status, usage = os.wait4(process.pid, 0)  # its own usage: that of all children would keep the largest
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
    if process.returncode:
        said = (err.read_text(errors="replace") + out.read_text(errors="replace"))[-_LOG_TAIL:]
        raise BarError(f"`python {' '.join(arguments)}` ended with status {process.returncode}. It said:\n{said}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Child(seconds, round(usage.ru_maxrss / unit, 1), out.read_text(errors="replace"))


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without what is meant for the product or its tools, with the repository and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    path = os.pathsep.join(filter(None, (more.get("PYTHONPATH"), str(PROJECT))))
    return {**kept, **_QUIET, **more, "PYTHONPATH": path}


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    clock = threading.Timer(TIMEOUT_S, _kill, (process,))
    clock.start()
    try:
        yield
    except BaseException:
        _kill(process)
        process.wait()
        raise
    finally:
        clock.cancel()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it may end by itself meanwhile
        family = psutil.Process(process.pid).children(recursive=True)  # servers have sessions of their own
        os.killpg(process.pid, signal.SIGKILL)
        for started in family:
            with suppress(psutil.NoSuchProcess):
                started.kill()
