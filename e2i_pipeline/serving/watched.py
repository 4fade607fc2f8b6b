"""Runs a server for as long as somebody holds the other end of its standard input; started as a script.

A process of its own, because one that is killed can put nothing in order: the system closes its end of the pipe, and
so the server ends with whoever started it, instead of listening for ever.
"""

import os
import signal
import subprocess
import sys
import threading

from e2i_pipeline.serving.local_server import stop


def main(command: list[str]) -> int:
    """Runs a command until it ends by itself, or until standard input or a signal says that it should.

    Returns:
        The command's exit status.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own interpreter, no shell

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns at the end
        stop(process)

    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    threading.Thread(target=watch, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
