"""The client tells an answer that will not come from one that may come later."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.serving import client


class Canned(BaseHTTPRequestHandler):
    """Answers with the status that the route ends with."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"error": "what the server says"}).encode()
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Canned) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ToolRejected),
        (404, ToolRejected),
        (415, ToolRejected),
        (429, ToolUnavailable),
        (500, ToolUnavailable),
        (503, ToolUnavailable),
        (504, ToolUnavailable),
    ],
)
def test_a_refusal_is_final_and_an_overload_is_not(url: str, status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"answered {status}: .*what the server says"):
        client.predict(f"{url}/{status}", [{}], timeout_s=5)


def test_a_service_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(ToolUnavailable, match="make serve"):
        client.predict("http://127.0.0.1:1", [{}], timeout_s=5)
    with pytest.raises(ToolUnavailable, match="did not answer"):
        client.predict_wire("http://127.0.0.1:1", [[1]], timeout_s=5)
