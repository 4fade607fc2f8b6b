"""What a terminal shows last after a failed run: our messages, below the trace that Dagster prints of them.

The Dagster command line ends with its trace and one line that says only that it failed. Each failure is remembered
here until the process ends, and forgotten where a retry went well. What a message says belongs to whoever raises it.
"""

import atexit
import sys
from pathlib import Path

_COMMAND = "dagster"

_remembered: dict[str, str] = {}


def remember(step: str, message: str) -> None:
    """Keeps the message of a failed step for the end of this process.

    Args:
        step: What failed; a later message of the same step takes the place of an earlier one.
        message: Complete by itself, and free of patients' values.
    """
    atexit.unregister(_say)
    atexit.register(_say)
    _remembered[step] = message


def forget(step: str) -> None:
    """Drops what was kept for a step: it was tried again, and went well."""
    _remembered.pop(step, None)


def _say() -> None:
    if _remembered and _is_dagsters_command():
        messages = "\n".join(dict.fromkeys(_remembered.values()))
        sys.stderr.write(f"\nWhy it failed:\n{_indented(messages)}\n")


def _is_dagsters_command() -> bool:
    """Whether a person started `dagster` or `python -m dagster`; a test or a server has an end of its own."""
    program = Path(sys.argv[0])
    is_dagster = _COMMAND in (program.name, program.parent.name if program.name == "__main__.py" else "")
    return is_dagster and "api" not in sys.argv[1:2]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
