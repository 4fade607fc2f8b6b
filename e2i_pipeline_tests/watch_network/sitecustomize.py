"""Notes every attempt of a Python process to reach beyond this machine. Tests only.

Python imports a module of this name at start-up where it finds one; `offline` puts this folder on PYTHONPATH. Each
attempt is one line of JSON in the file that `E2I_NETWORK_LOG` names: what was tried, and who asked for it.
"""

import ipaddress
import json
import os
import sys
from typing import Any

_LOG = os.environ.get("E2I_NETWORK_LOG")
_FRAMES = 12


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path, for a socket of this machine; or none
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode(errors="replace") if isinstance(host, bytes) else host
    if host and not _is_here(str(host)):
        _note(event, str(host))


def _is_here(host: str) -> bool:
    """Whether a host is this machine: its loopback addresses, and the address that stands for any."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _note(event: str, host: str) -> None:
    frame, who = sys._getframe(2), []
    while frame and len(who) < _FRAMES:
        who.append(f"{frame.f_globals.get('__name__')}:{frame.f_lineno}")
        frame = frame.f_back
    line = json.dumps({"event": event, "host": host, "process": sys.orig_argv[:6], "who": who})
    file = os.open(_LOG or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


if _LOG is not None:
    sys.addaudithook(_hook)
