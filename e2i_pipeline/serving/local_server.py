"""Starts a Bento in a process of its own on this machine, and always ends it: even when this process is killed.

Used where a Bento must answer for as long as a check takes. A deployment that stays is started by an operator; what
must hold before that is asked here too.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable

if TYPE_CHECKING:
    import httpx

HOST = "127.0.0.1"

START_DEADLINE_S = 120
"""Seconds until a Bento must be ready: about 6 on a quiet machine with 2 cores, several times that on a busy one."""

STOP_GRACE_S = 10
"""Seconds that a server gets to end by itself before it is killed with all its workers."""

POLL_S = 0.1

WORKER_FAILED = "Application startup failed"
"""What the web server logs when the service cannot be made. BentoML starts such a worker again, for ever (seen with
1.4.39), so that waiting for the process to end would take until the deadline."""

_WATCHED = Path(__file__).with_name("watched.py")

LOG_TAIL = 3000
"""Characters of a log that an error message quotes."""

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
"""What a child process inherits. Nothing else: passwords and tokens of the pipeline are none of a server's business."""


def clean_environment(home: str, **more: str) -> dict[str, str]:
    """The environment of a BentoML process: of this one `KEPT_VARIABLES` alone, its home, no tracking.

    No bytecode is written, so that a Bento on disk stays as it was built.
    """
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    fixed = {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **fixed, **more}


def serve_command(tag: str, port: int) -> list[str]:
    """The command that serves a Bento of the local store on this machine only."""
    return [sys.executable, "-m", "bentoml", "serve", tag, "--host", HOST, "--port", str(port)]


def read_deployment(file: Path) -> dict[str, Any]:
    """What a brand's deployment file says; see `BentoResource.deploy`.

    Raises:
        ToolRejected: It cannot be read as one.
    """
    try:
        deployed = dict(json.loads(file.read_text(encoding="utf-8")))
        return {**deployed, **{name: str(deployed[name]) for name in ("bento_tag", "bentoml_home", "endpoint")}}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ToolRejected(
            f"The file {file} should say what is deployed and cannot be read ({type(err).__name__}). Delete it, and "
            "materialize `deployment` to write it again: `make run` does."
        ) from err


def require_in_store(tag: str, home: str) -> None:
    """Holds the store against a tag before a server is started on it.

    Raises:
        ToolRejected: The store has no such Bento.
    """
    if not (Path(home) / "bentos" / tag.replace(":", "/") / "bento.yaml").is_file():
        raise ToolRejected(
            f"{tag} is deployed, and the store {home} does not hold it. Materialize `bento` to package it again: "
            "`make run` does."
        )


def require_free_port(port: int) -> None:
    """Tries whether a server can listen on a port of this machine.

    Raises:
        ConfigurationError: It cannot; mostly because something else listens there.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError) as err:
        why = getattr(err, "strerror", None) or "no such port"
        raise ConfigurationError(
            f"Nothing can listen on port {port} of {HOST}: {why}. Stop what is there, or take another port: PORT=3001."
        ) from err


@contextmanager
def serving(tag: str, home: str, log: Path, port: int = 0, deadline_s: float = START_DEADLINE_S) -> Iterator[str]:
    """Serves a Bento for as long as the block runs.

    Args:
        tag: Bento in the store of `home`.
        home: `BENTOML_HOME` of the server.
        log: File for what the server says; overwritten.
        port: Port to listen on; 0 takes a free one.
        deadline_s: Seconds until it must be ready.

    Yields:
        The base URL, ready for requests.

    Raises:
        ToolRejected: The server ended by itself, or its worker cannot start; the message quotes its log.
        ToolUnavailable: It was not ready in time.
    """
    port = port or _free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-P", str(_WATCHED), *serve_command(tag, port)],
            env=clean_environment(home),
            cwd=log.parent,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://{HOST}:{port}"
    try:
        _wait_until_ready(process, url, tag, log, deadline_s)
        yield url
    finally:
        stop(process)
        if process.stdin:
            process.stdin.close()


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends the server and its workers, which have sessions of their own: a group signal alone would miss them."""
    import psutil

    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.terminate()
    try:
        process.wait(STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for worker in psutil.wait_procs(family, timeout=STOP_GRACE_S)[1]:
        worker.kill()


def tail(log: Path) -> str:
    """The end of a log, for an error message."""
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    return text[-LOG_TAIL:] or "(it said nothing)"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, tag: str, log: Path, deadline_s: float) -> None:
    import httpx

    deadline = time.monotonic() + deadline_s
    with httpx.Client(base_url=url, timeout=POLL_S * 20, trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None or WORKER_FAILED in tail(log):
                raise ToolRejected(
                    f"The Bento {tag} does not start: its server ended, or its worker failed to load the model. "
                    f"Package the model again. The end of its log {log}:\n{tail(log)}"
                )
            if _answers(client):
                return
            time.sleep(POLL_S)
    raise ToolUnavailable(
        f"The Bento {tag} was not ready at {url} within {deadline_s:.0f} s. Is the machine overloaded? "
        f"The end of its log {log}:\n{tail(log)}"
    )


def _answers(client: "httpx.Client") -> bool:
    import httpx

    try:
        return client.get("/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
