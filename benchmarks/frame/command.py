"""The command line: which bars to run, at which sizes; one line for each on standard output, its exit status.

Status 0: all hold. 1: one falls short. 2: one gave no result, or there is no such bar.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.frame import results
from benchmarks.frame.bar import BarError
from benchmarks.frame.discovery import bars_in
from benchmarks.frame.pairs import run_pairs

RESULTS = "results.json"
FALLS_SHORT, NO_RESULT = 1, 2


def main(arguments: Sequence[str], folder: Path) -> int:
    """Runs bars.

    Args:
        arguments: As after `python -m benchmarks`.
        folder: Folder of the bars; results are added to its `results.json`.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Holds the product against its bars.")
    parser.add_argument("--bar", default="", help="run one bar only")
    parser.add_argument("--quick", action="store_true", help="small sizes: a few minutes in all")
    options = parser.parse_args(arguments)
    try:
        bars = bars_in(folder, options.bar)
    except BarError as err:
        _say(str(err))
        return NO_RESULT
    status = 0
    for bar in bars:
        try:
            result = results.judged(bar, run_pairs(bar, options.quick, _say), options.quick)
            results.append(folder / RESULTS, result, datetime.now(UTC))
        except BarError as err:
            _say(f"{bar.name}  no result: {err}")
            status = NO_RESULT
            continue
        _say(result.details)
        print(result.line, flush=True)
        status = max(status, 0 if result.holds else FALLS_SHORT)
    return status


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
