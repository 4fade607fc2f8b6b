"""What a terminal shows last: tried in processes that are taken for the Dagster command line, or are not."""

import subprocess
import sys
from pathlib import Path

import pytest

FAILS = """
import sys
from e2i_pipeline.last_words import forget, remember
sys.argv = [sys.argv[1], *sys.argv[2:]]
remember("one", "The first message.")
remember("two", "A message of an attempt that was tried again, and went well.")
forget("two")
forget("one")
remember("one", "The message of its last attempt.\\nIn two lines.")
remember("three", "The same for two steps.")
remember("four", "The same for two steps.")
sys.stderr.write("a trace\\n")
sys.exit(1)
"""
SAID = "\nWhy it failed:\n  The message of its last attempt.\n  In two lines.\n  The same for two steps.\n"


def said(*arguments: str) -> str:
    command = [sys.executable, "-c", FAILS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 1
    return done.stderr.removeprefix("a trace\n")


@pytest.mark.parametrize("program", ["/bin/dagster", "/lib/site-packages/dagster/__main__.py"])
def test_dagsters_command_line_ends_with_our_messages(program: str) -> None:
    assert said(program, "asset", "materialize") == SAID


@pytest.mark.parametrize(
    "arguments", [("/bin/dagster", "api", "grpc"), ("/bin/pytest",), (str(Path("/lib/pytest/__main__.py")),)]
)
def test_any_other_process_has_an_end_of_its_own(arguments: tuple[str, ...]) -> None:
    assert said(*arguments) == ""
