"""Kills `e2i run` at random moments, starts it again, and compares what is there then with an undisturbed run's.

    python -m e2i_pipeline_tests.kill_runs --kills 20 --seed 7 --folder /tmp/kills

Moments are drawn evenly over the undisturbed run: over its time, or with `--changes` over the lasting changes it makes,
since most of the time nothing lasting happens. Because a machine is not equally fast at all times, a moment in time is
kept as a line of the run's progress and the seconds after it: the killed run gets there, whenever that is.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from e2i_pipeline_tests.end_state import State, differences, end_state, scratch
from e2i_pipeline_tests.processes import Product

BRAND = "Kisqali"
SETTINGS = {
    "E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND": "1500",
    "E2I__BRANDS": f"[{BRAND}]",
    "E2I__OPTUNA__SEARCH__N_TRIALS": "8",
    # with each folder's own key its pseudonyms, and so its tables, would be its own
    "E2I_PSEUDONYM_KEY": "a key of tests, the same in each folder",
}
KILL_AT = Path(__file__).with_name("kill_at")


class Moment(NamedTuple):
    """When to kill.

    Attributes:
        lines: So many lines of progress were seen ...
        seconds: ... and so many seconds have passed since.
        change: Instead of both: right before this lasting change, from 1.
    """

    lines: int = 0
    seconds: float = 0.0
    change: int = 0

    def __str__(self) -> str:
        return f"before change {self.change}" if self.change else f"{self.seconds:.1f} s after line {self.lines}"


class Undisturbed(NamedTuple):
    """An undisturbed run: its end state, when each line of progress came (seconds; at last, the end), its changes."""

    state: State
    times: list[float]
    changes: int


class Outcome(NamedTuple):
    """One kill, and what came of it.

    Attributes:
        moment: When it was meant to happen.
        last_line: The last line of progress before.
        status: Exit status of the run that followed.
        problems: What then differs from the undisturbed run; what the second run said where it failed.
        leftovers: What was begun, never finished and not cleaned up.
    """

    moment: Moment
    last_line: str
    status: int
    problems: tuple[str, ...]
    leftovers: tuple[str, ...]


def undisturbed(state: Path) -> Undisturbed:
    """Runs to the end."""
    began = time.monotonic()
    times: list[float] = []
    said: list[str] = []
    counted = state.with_suffix(".changes")
    with _started(state, E2I_KILL_AT="0", E2I_KILL_COUNT=str(counted)) as process:
        for line in process.stderr or ():
            said.append(line)
            times.append(time.monotonic() - began)
    if process.returncode:
        raise RuntimeError("".join(said))
    return Undisturbed(end_state(state), [*times, time.monotonic() - began], int(counted.read_text(encoding="utf-8")))


def moments(run: Undisturbed, count: int, seed: int, in_changes: bool = False) -> list[Moment]:
    """Moments spread over a run: one drawn by chance from each of `count` equal parts of it."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    drawn = [(part + chance.random()) / count for part in range(count)]
    if in_changes:
        return [Moment(change=1 + int(share * run.changes)) for share in drawn]
    return [_moment_at(share * run.times[-1], run.times) for share in drawn]


def kill_and_resume(state: Path, moment: Moment, expected: State) -> Outcome:
    """Kills a run at a moment, runs again to the end, and compares."""
    shutil.rmtree(state, ignore_errors=True)
    with _started(state, **({"E2I_KILL_AT": str(moment.change)} if moment.change else {})) as process:
        seen: list[str] = []
        for line in process.stderr or ():
            seen.append(line.strip())
            if not moment.change and len(seen) >= moment.lines:
                break
        if not moment.change:
            time.sleep(moment.seconds)
            os.killpg(process.pid, signal.SIGKILL)
    second = Product(state, **SETTINGS).e2i("run", "--brand", BRAND)
    problems = differences(expected, end_state(state)) if second.status == 0 else [second.text[-3000:]]
    if not process.returncode:
        problems.append("the first run had ended before")
    return Outcome(moment, seen[-1] if seen else "", second.status, tuple(problems), tuple(scratch(state)))


def _moment_at(at: float, times: Sequence[float]) -> Moment:
    before = [t for t in times if t <= at]
    return Moment(len(before), at - max(before, default=0.0))


def _started(state: Path, **environment: str) -> "subprocess.Popen[str]":
    """`e2i run` in a process group of its own."""
    product = Product(state, **SETTINGS)
    paths = [str(KILL_AT), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        [sys.executable, "-m", "e2i_pipeline.cli", "run", "--brand", BRAND],
        env={**product.environment, **environment, "DAGSTER_HOME": str(product.dagster_home)},
        cwd=state.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def main() -> int:
    """Says one line per kill.

    Returns:
        The number of kills after which the end state was another one.
    """
    options = _options()
    folder: Path = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    run = undisturbed(folder / "undisturbed")
    _say(f"undisturbed: {run.times[-1]:.0f} s, {len(run.times) - 1} lines, {run.changes} lasting changes")
    _say(f"{len(run.state)} things are compared after each kill")
    drawn = moments(run, options.kills, options.seed, options.changes)

    def one(number: int) -> Outcome:
        state = folder / f"kill-{number:02}"
        outcome = kill_and_resume(state, drawn[number], run.state)
        with (folder / "kills.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(outcome._asdict()) + "\n")
        if not outcome.problems:
            shutil.rmtree(state)
        return outcome

    failed = 0
    with ThreadPoolExecutor(options.side_by_side) as pool:
        for number, outcome in enumerate(pool.map(one, range(options.kills)), 1):
            failed += bool(outcome.problems)
            same = "same end state" if not outcome.problems else f"ANOTHER END STATE ({len(outcome.problems)})"
            _say(f"kill {number:2}: {outcome.moment} [{outcome.last_line}]")
            left = ", ".join(outcome.leftovers) or "none"
            _say(f"         then exit status {outcome.status}, {same}, leftovers: {left}")
    _say(f"{options.kills - failed} of {options.kills} kills ended in the undisturbed run's state")
    return failed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--changes", action="store_true", help="draw moments over lasting changes, not over time")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--side-by-side", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
