"""Real servers for tests, started on loopback when first asked for and stopped with the test process.

A test module takes one by naming it: `postgres = servers.postgres`. Where the server is not installed, the test is
skipped with the reason.
"""

import atexit
import getpass
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest

_USER, _PASSWORD = "e2i", "a-test's-password"
_START_SECONDS = 60


class Postgres:
    """A running PostgreSQL server.

    Attributes:
        port: Its port on 127.0.0.1.
        password: Password of the user `e2i`, who owns everything.
    """

    def __init__(self, binaries: Path) -> None:
        self.password = _PASSWORD
        self.port = free_port()
        self._count = count(1)
        self._home = Path(tempfile.mkdtemp(prefix="e2i-postgres-"))
        self._as_user = _another_user(self._home)
        self._make(binaries)
        log = (self._home / "log").open("wb")
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*self._as_user, str(binaries / "postgres"), "-D", str(self._home / "data"), *options]
        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._home)  # noqa: S603
        atexit.register(self.stop)
        self._await()

    def _make(self, binaries: Path) -> None:
        secret = self._home / "password"
        secret.write_text(_PASSWORD)
        command = [*self._as_user, str(binaries / "initdb"), "-D", str(self._home / "data"), "-U", _USER]
        options = ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=self._home, check=False)  # noqa: S603
        if done.returncode:
            shutil.rmtree(self._home)
            pytest.fail(f"initdb failed: {done.stderr}")

    def _await(self) -> None:
        for _ in range(_START_SECONDS * 20):
            if self._process.poll() is not None:
                break
            try:
                psycopg2.connect(self.dsn("postgres")).close()
            except psycopg2.OperationalError:
                time.sleep(0.05)
            else:
                return
        pytest.fail(f"PostgreSQL did not start: {(self._home / 'log').read_text()}")

    def dsn(self, database: str) -> str:
        """How psycopg2 reaches one database of the server."""
        where = f"host=127.0.0.1 port={self.port} dbname={database} user={_USER}"
        return where + " password='" + _PASSWORD.replace("'", "\\'") + "'"

    def database(self) -> str:
        """Makes an empty database and gives its URL."""
        name = f"test_{next(self._count)}"
        connection = psycopg2.connect(self.dsn("postgres"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        return f"postgresql://{_USER}:{_PASSWORD.replace(chr(39), '%27')}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Stops the server and removes its files; may be called twice."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # at once; SIGTERM waits for its clients
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture
def postgres() -> Postgres:
    """The test process's PostgreSQL server."""
    if not (binaries := _postgres_binaries()):
        pytest.skip("PostgreSQL's server (initdb, postgres) is not installed")
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("PostgreSQL refuses to run as root, and there is no setpriv to become another user")
    return _postgres(binaries)


def free_port() -> int:
    """A TCP port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@cache
def _postgres(binaries: Path) -> Postgres:
    return Postgres(binaries)


def _postgres_binaries() -> Path | None:
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((c for c in candidates if (c / "initdb").exists() and (c / "postgres").exists()), None)


def _another_user(home: Path) -> list[str]:
    """What to put before a command so that it does not run as root, and ends when this process does."""
    if not shutil.which("setpriv"):
        return []
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "INT", "--"]
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in names), getpass.getuser())
    account = pwd.getpwnam(user)
    os.chown(home, account.pw_uid, account.pw_gid)
    become = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--pdeathsig", "INT"]
    return ["setpriv", *become, "--"]


class Redis:
    """A running Redis server that keeps nothing on disk.

    Attributes:
        port: Its port on 127.0.0.1.
    """

    def __init__(self, binary: str) -> None:
        self.port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="e2i-redis-"))
        ends_with_us = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        settings = {"bind": "127.0.0.1", "port": str(self.port), "save": "", "appendonly": "no", "dir": str(self._home)}
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        log = (self._home / "log").open("wb")
        self._process = subprocess.Popen([*ends_with_us, binary, *options], stdout=log, stderr=log)  # noqa: S603
        atexit.register(self.stop)
        self._await()

    def _await(self) -> None:
        for _ in range(_START_SECONDS * 20):
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(7) == b"+PONG\r\n":
                        return
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"Redis did not start: {(self._home / 'log').read_text()}")

    def stop(self) -> None:
        """Stops the server and removes its files; may be called twice."""
        if self._process.poll() is None:
            self._process.kill()  # it has nothing to keep
            self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture
def redis() -> Redis:
    """The test process's Redis server: what a test writes stays, so each has a project of its own."""
    if not (binary := shutil.which("redis-server")):
        pytest.skip("Redis' server (redis-server) is not installed")
    return _redis(binary)


@cache
def _redis(binary: str) -> Redis:
    return Redis(binary)


class OpikServer:
    """The part of Opik's REST API that an exporter uses, on loopback: it keeps what it is sent.

    It refuses what the real one refuses by its own validation: ids that are not UUIDs of version 7, and blank names.

    Attributes:
        url: Address of its API.
        requests: Method, path, headers and body of each request, in order.
        status: Answer to a request that is in order.
        is_silent: Whether it takes requests and never answers.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []
        self.status = 204
        self.is_silent = False
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def received(self, kind: str) -> list[dict[str, Any]]:
        """The accepted `traces`, `spans` or `scores`, in order."""
        return [item for *_, body in self.requests if body["status"] == 204 for item in body["sent"].get(kind, [])]

    def stop(self) -> None:
        """Stops the server and lets go of whoever waits."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, sent: dict[str, Any]) -> int:
        items = [*sent.get("traces", []), *sent.get("spans", []), *sent.get("scores", [])]
        ids = [item[name] for item in items for name in ("id", "trace_id") if item.get(name)]
        if any(uuid.UUID(i).version != 7 for i in ids) or any(not item["name"].strip() for item in items):
            return 400
        return self.status

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = server._answer(sent)
                body = {"sent": sent, "status": 0 if server.is_silent else status}
                server.requests.append((self.command, self.path, dict(self.headers), body))
                if server.is_silent:
                    server._released.wait()
                    return
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{server.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_POST  # noqa: N815 - the name that http.server looks for

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        return Handler


@pytest.fixture
def opik_server() -> Iterator[OpikServer]:
    """A fresh server for the test."""
    server = OpikServer()
    yield server
    server.stop()


class S3:
    """A real S3 API on loopback, by moto's server: buckets and objects in the memory of this process.

    Attributes:
        url: Its address.
    """

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 needs to reach it, and nothing else."""
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        return {**keys, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def bucket(self) -> str:
        """Makes an empty bucket and gives its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self._client().create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, bytes]:
        """All that a bucket holds, by key."""
        client = self._client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [o["Key"] for page in pages for o in page.get("Contents", ())]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def stop(self) -> None:
        """Stops the server."""
        self._server.stop()

    def _client(self) -> Any:
        import boto3

        given = self.environment
        session = boto3.Session(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
        return session.client("s3", endpoint_url=self.url)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A fresh server, which the environment names; what a process keeps of an earlier one is let go."""
    from e2i_pipeline.resources import data_docs_s3

    server = S3()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    data_docs_s3.client.cache_clear()
    data_docs_s3.circuit.cache_clear()
    yield server
    server.stop()
    data_docs_s3.client.cache_clear()
    data_docs_s3.circuit.cache_clear()
