"""Runs a command with the network cut off, and says what tried to reach it all the same. Tests only.

A network namespace of its own has a loopback interface and nothing else. What tries is seen by an audit hook in every
Python process, and by strace, where that is installed, in every process.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

WATCHER = Path(__file__).parent / "watch_network"
_ADDRESS = re.compile(r'sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"')
_DNS = "53"


def namespace() -> list[str]:
    """The words before a command that take it off the network; empty where this kernel does not allow it."""
    tools = [shutil.which(name) for name in ("unshare", "ip", "sh")]
    if not all(tools):
        return []
    for identity in ([], ["--user", "--map-root-user"]):
        words = ["unshare", *identity, "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:  # noqa: S603 - fixed
            return words
    return []


def tracer(log: Path) -> list[str]:
    """The words before a command that write down its connections; empty where strace is missing or not allowed."""
    if not shutil.which("strace"):
        return []
    words = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-e", "signal=none", "-o"]
    tried = subprocess.run([*words, os.devnull, "true"], capture_output=True, check=False)  # noqa: S603 - fixed
    return [] if tried.returncode else [*words, str(log)]


def watching(log: Path) -> dict[str, str]:
    """The environment that makes every Python process note its attempts in a file."""
    return {"PYTHONPATH": str(WATCHER), "E2I_NETWORK_LOG": str(log)}


def attempts(hook_log: Path, trace_log: Path) -> list[str]:
    """What was tried, one text an attempt: by whom where that is known."""
    noted = hook_log.read_text(encoding="utf-8").splitlines() if hook_log.is_file() else []
    found = [f"{a['event']} {a['host']} by {' < '.join(a['who'])}" for a in map(json.loads, noted)]
    traced = trace_log.read_text(encoding="utf-8", errors="replace").splitlines() if trace_log.is_file() else []
    return [*found, *filter(_is_outward, traced)]


def _is_outward(line: str) -> bool:
    """Whether a traced call goes to another machine, or asks for a name."""
    called = _ADDRESS.search(line)
    return called is not None and (called[1] == _DNS or not _is_loopback(called[2]))


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "0.0.0.0", "::", "::ffff:127.0.0.1")  # noqa: S104 - compared
