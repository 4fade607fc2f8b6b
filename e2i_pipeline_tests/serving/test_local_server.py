"""What must hold before a server is started, and that it ends with whoever started it."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from e2i_pipeline.errors import ConfigurationError, ToolRejected
from e2i_pipeline.serving import local_server, watched
from e2i_pipeline.serving.local_server import read_deployment, require_free_port, require_in_store

FOREVER = "import threading; threading.Event().wait()"


def started(code: str) -> "subprocess.Popen[bytes]":
    """A watched Python process."""
    command = [sys.executable, "-P", str(watched.__file__), sys.executable, "-c", code]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - our own code


def test_a_server_ends_when_the_other_end_of_its_input_closes() -> None:
    with started(FOREVER) as process:
        below = psutil.Process(process.pid).children
        while not below():
            assert process.poll() is None
        [server] = below()
        assert process.stdin is not None
        process.stdin.close()  # as the system does for a process that was killed
        process.wait(60)

        assert not server.is_running()


def test_a_watched_server_ends_by_itself_with_its_own_status() -> None:
    with started("raise SystemExit(3)") as process:
        assert process.wait(60) == 3


def test_a_port_in_use_is_refused_with_a_way_out() -> None:
    with socket.socket() as taken:
        taken.bind((local_server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=rf"port {port} of 127\.0\.0\.1.*PORT="):
            require_free_port(port)

    require_free_port(port)


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no such port"):
        require_free_port(70_000)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"bento_tag": "a:1"}'])
def test_a_deployment_file_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "Kisqali.json"
    file.write_text(text)

    with pytest.raises(ToolRejected, match=r"Kisqali\.json should say what is deployed.*Delete it"):
        read_deployment(file)


def test_a_deployment_file_is_read(tmp_path: Path) -> None:
    said = {"bento_tag": "a:1", "bentoml_home": "/home", "endpoint": "http://127.0.0.1:3000", "previous": None}
    (tmp_path / "it.json").write_text(json.dumps(said))

    assert read_deployment(tmp_path / "it.json") == said


def test_a_bento_that_is_gone_is_refused_before_a_server_starts(tmp_path: Path) -> None:
    with pytest.raises(ToolRejected, match="Materialize `bento`"):
        require_in_store("a:1", str(tmp_path))
