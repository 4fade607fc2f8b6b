"""Kills runs that stage, audit, publish and clean up, right before one of their lasting changes, drawn by chance.

    python -m e2i_pipeline_tests.kill_publications --kills 50 --seed 7 --folder /tmp/publications

One state folder sees one drop after another: good ones, shorter ones, corrupt ones, and ones that were published
before. Each is delivered, a run on it is killed with its process group, and another one goes on to its end. All data is
made to look old before each run, so that the clean-up has something to do each time. After the kill and after the end,
a reader reads everything that is published, to the last row, and every dataset before it that is still there.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from e2i_pipeline.resources.stages.retention import KINDS
from e2i_pipeline_tests.end_state import scratch
from e2i_pipeline_tests.forks import Forks
from e2i_pipeline_tests.marked_drops import CORRUPT, GOOD, SHORTER, Drop, Published, published, read_dataset
from e2i_pipeline_tests.processes import Done, Product

AGAIN = "again"
"""A drop that was published two drops before."""

KINDS_IN_TURN = (GOOD, CORRUPT, SHORTER, GOOD, AGAIN)
SETTINGS = {"E2I__RETENTION__PUBLISHED_DATASETS": "1", "E2I__RETENTION__MINIMUM_AGE_DAYS": "1"}

_OLD = 400 * 86_400.0
_MOST_DATASETS = 3
"""The current one, the one before, and one that a killed run had published."""


class Outcome(NamedTuple):
    """One kill, and what came of it.

    Attributes:
        kind: Kind of the drop.
        change: Before which lasting change the run was killed, from 1.
        where: Where in the product that was; empty where the run had ended before, and was not killed.
        problems: What a reader found wrong, and when.
    """

    kind: str
    change: int
    where: str
    problems: tuple[str, ...]


class Story:
    """A state folder, the drops that it has seen, and who reads it.

    Args:
        folder: An empty folder.
        seed: Decides which changes are drawn.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.drop = Drop(folder / "drop")
        self.product: Product = self.drop.product(folder / "state", **SETTINGS)
        self._forks = Forks(self.product.environment, folder)
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._notes = folder
        self._history: list[tuple[str, str]] = []
        self._changes: dict[str, int] = {}
        for number in range(2):
            self._deliver(GOOD, number)
            done = self._run(E2I_KILL_AT="0", E2I_KILL_COUNT=str(folder / "changes"))
            if done.status:
                raise RuntimeError(done.text)
        self._changes = {**dict.fromkeys(KINDS_IN_TURN, self._counted()), AGAIN: self._counted() // 2}

    def end(self) -> None:
        """Ends the process that runs are forked from."""
        self._forks.end()

    def kill(self, number: int, kind: str) -> Outcome:
        """Delivers a drop, kills a run on it, and lets another one end.

        Args:
            number: Of the kill, from 1.
            kind: Kind of the drop.
        """
        before = published(self.product.state)
        expected = self._deliver(kind, number + 1)
        change = self._chance.randint(1, self._changes[kind])
        where = self._notes / f"where-{number}"
        self._run(E2I_KILL_AT=str(change), E2I_KILL_NOTE=str(where))
        problems = [f"killed: {p}" for p in self._problems({before.mark, expected} if expected else {before.mark})]
        is_killed = where.is_file()
        done = self._run(E2I_KILL_AT="0", E2I_KILL_COUNT=str(self._notes / "changes"))
        if not is_killed:  # it changes less than was thought
            self._changes[kind] = max(1, change - 1)
        else:
            self._changes[kind] = max(self._changes[kind], self._counted())
        if done.status != (0 if expected else 1):
            problems.append(f"then exit status {done.status}: {done.text[-1500:]}")
        problems += [f"then: {p}" for p in self._problems({expected or before.mark})]
        problems += [f"then left over: {name}" for name in scratch(self.product.state)]
        if expected and len(list((self.product.state / "published" / "by-key").glob("*.json"))) > _MOST_DATASETS:
            problems.append("then: old datasets were not cleaned up")
        return Outcome(kind, change, where.read_text(encoding="utf-8") if is_killed else "", tuple(problems))

    def _deliver(self, kind: str, number: int) -> str:
        """Delivers a drop and makes all data look old; gives the mark that is to be published, if any."""
        mark, form = self._history[-2] if kind == AGAIN else (f"drop-{number:03}", kind)
        self.drop.deliver(mark, form)
        if form != CORRUPT:
            self._history.append((mark, form))
        _age(self.product.state)
        return "" if form == CORRUPT else mark

    def _run(self, **environment: str) -> Done:
        """`dagster asset materialize` up to the published dataset, in a process group of its own."""
        command = ("asset", "materialize", "-m", "e2i_pipeline.definitions", "--select", "+validated_dataset")
        return self._forks.dagster(*command, **environment, DAGSTER_HOME=str(self.product.dagster_home))

    def _counted(self) -> int:
        return int((self._notes / "changes").read_text(encoding="utf-8"))

    def _problems(self, marks: set[str]) -> Iterator[str]:
        """What a reader finds wrong; one of these drops must be published as a whole."""
        state = self.product.state
        try:
            found = published(state)
            if found.mark not in marks:
                yield f"{found.mark} is published, and not one of {sorted(marks)}"
            for manifest in sorted((state / "published" / "by-key").glob("*.json")):
                read: Published = read_dataset(manifest)
                if manifest.stem != read.key:
                    yield f"{manifest.name} is of {read.key}"
        except Exception as err:  # whatever a reader meets is what is looked for
            yield f"{type(err).__name__}: {err}"


def _age(state: Path) -> None:
    """Makes all data look as if nobody had used it for more than a year."""
    then = time.time() - _OLD
    for pattern in (*KINDS.values(), "references/runs"):
        for path in state.glob(f"{pattern}/*"):
            os.utime(path, (then, then))


def phase(outcome: Outcome) -> str:
    """What the product was doing when it was killed."""
    for name, place in _PHASES.items():
        if place in outcome.where:
            return name
    return "between" if outcome.where else "had ended"


_PHASES = {
    "clean-up": "stages/retention.py",
    "staging": "resources/sources.py",
    "audit": "stages/gate.py:audit",
    "publication": "stages/publication.py",
    "memory": "storage/results.py",
    "reference": "storage/references.py",
    "trace": "resources/opik",
}


def main() -> int:
    """Says one line per kill.

    Returns:
        The number of kills after which a reader found something wrong.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    story = Story(folder, options.seed)
    outcomes: list[Outcome] = []
    while sum(bool(outcome.where) for outcome in outcomes) < options.kills:
        number = len(outcomes) + 1
        outcome = story.kill(number, KINDS_IN_TURN[number % len(KINDS_IN_TURN)])
        outcomes.append(outcome)
        _say(f"kill {number:2}: {outcome.kind}, before change {outcome.change}, {phase(outcome)}")
        for problem in outcome.problems:
            _say(f"         {problem}")
        with (folder / "kills.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(outcome._asdict()) + "\n")
    story.end()
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    _say(f"killed while: {dict(Counter(map(phase, outcomes)))}")
    _say(f"{options.kills} kills; {failed} of {len(outcomes)} times a reader found something wrong")
    return failed


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
