"""The product as a user starts it: in processes of its own, on a state folder of its own. Tests only.

What the test process has in its environment for these tools does not reach them.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 900
"""Long enough for a whole graph on a busy machine; only a process that hangs gets there."""

_OURS = ("E2I", "DAGSTER", "MLFLOW", "GE_", "GX_", "FEAST", "OPTUNA", "BENTOML", "OPIK", "ENVIRONMENT", "PYTEST")


class Done(NamedTuple):
    """A process that has ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it said; for a look at what went wrong too."""
        return f"{self.out}\n{self.err}"


class Product:
    """The command lines over one state folder.

    Args:
        state: The state folder; made when absent.
        within: Words before each command: a program that runs it.
        settings: Further environment variables.
    """

    def __init__(self, state: Path, within: Sequence[str] = (), **settings: str) -> None:
        self.state = state
        self.within = tuple(within)
        self.started_in = state.parent  # not the repository: nothing may depend on where it is started
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
            "E2I_STATE_DIR": str(state),
            "PYTHONWARNINGS": "ignore",
            **settings,
        }
        state.mkdir(parents=True, exist_ok=True)

    @property
    def dagster_home(self) -> Path:
        """Dagster's home, set up as `make` does."""
        home = self.state / "dagster"
        if not home.is_dir():
            home.mkdir()
            yaml = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
            (home / "dagster.yaml").write_text(yaml.replace("config: {}", f'config: {{base_dir: "{home}"}}'))
        return home

    def e2i(self, *arguments: str) -> Done:
        """Runs `e2i`, with Dagster's home as `make` gives it."""
        return self.module("e2i_pipeline.cli", *arguments, DAGSTER_HOME=str(self.dagster_home))

    def materialize(self, select: str, partition: str = "", with_home: bool = True) -> Done:
        """Runs `dagster asset materialize`."""
        command = ["asset", "materialize", "-m", "e2i_pipeline.definitions", "--select", select]
        command += ["--partition", partition] if partition else []
        return self.module("dagster", *command, **({"DAGSTER_HOME": str(self.dagster_home)} if with_home else {}))

    def module(self, name: str, *arguments: str, **environment: str) -> Done:
        """Runs a module of ours, or of Dagster, with this interpreter."""
        return self._end([sys.executable, "-m", name, *arguments], environment)

    def python(self, code: str) -> Done:
        """Runs a few lines of Python."""
        return self._end([sys.executable, "-c", code], {})

    def _end(self, command: list[str], environment: dict[str, str]) -> Done:
        done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
            [*self.within, *command],
            env={**self.environment, **environment},
            cwd=self.started_in,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


def at_once(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Calls a function of a test module in processes that race: one per call, started together.

    No pool: it waits for ever where a worker or one of its own threads is lost.

    Args:
        function: Found again by its name in the child.
        calls: The arguments of each call.

    Returns:
        What each call returned, in order.

    Raises:
        EOFError: A process ended without an answer; its trace is on standard error.
    """
    spawn = multiprocessing.get_context("spawn")
    racing: list[tuple[Any, Connection]] = []
    for call in calls:
        ours, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_answer, args=(theirs, function, call))
        # a child gets our sys.path, at whose head MLflow leaves the code of each model that it has loaded
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(PROJECT)
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        racing.append((process, ours))
    try:
        return [_awaited(ours) for _, ours in racing]
    except EOFError:
        for process, _ in racing:
            process.join(TIMEOUT_S)  # so that its trace is whole
        raise
    finally:
        for process, ours in racing:
            ours.close()
            process.kill()
            process.join()


def _answer(answers: Connection, function: Callable[..., Any], call: tuple[Any, ...]) -> None:
    answers.send(function(*call))


def _awaited(answers: Connection) -> Any:
    if not answers.poll(TIMEOUT_S):
        raise TimeoutError(f"a process gave no answer within {TIMEOUT_S} s")
    return answers.recv()
