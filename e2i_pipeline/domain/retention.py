"""Which old data may be removed: what nothing refers to any more, and nobody has used for long enough.

Decided by reachability from roots, as a garbage collector does. A reference calls a thing by its name, the first 32
hexadecimal digits of its content hash or key, so whatever text holds that name refers to it. What the roots are, and
how a thing is removed while others read, belongs to `resources/stages/retention.py`.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.base import Contract

_NAME = re.compile(rb"[0-9a-f]{32,}")
_NAME_LENGTH = 32


class Thing(Contract):
    """What may be removed: the folder of one version, or a manifest.

    Attributes:
        place: Path within the state folder.
        name: What references call it by: 32 hexadecimal digits.
        kind: What it is, in words, e.g. `staged snapshot`.
        age_days: Days since it was made or last used, >= 0.
        size: Bytes.
        refers: Names of the things that it needs to be of use.
    """

    place: str
    name: str
    kind: str
    age_days: float
    size: int = 0
    refers: frozenset[str] = frozenset()


class Root(Contract):
    """What is in use whatever its age.

    Attributes:
        what: What it is, in words, to follow "kept by".
        refers: Names of the things that it needs.
    """

    what: str
    refers: frozenset[str]


class Kept(NamedTuple):
    """A thing that stays, and what keeps it."""

    thing: Thing
    by: str


class Decision(NamedTuple):
    """What may be removed, and what keeps the rest."""

    removed: tuple[Thing, ...]
    kept: tuple[Kept, ...]

    @property
    def size(self) -> int:
        """Bytes that are freed."""
        return sum(thing.size for thing in self.removed)


def names_in(text: bytes) -> frozenset[str]:
    """The names that a text holds, be it a path, a hash or a key.

    A text that names too much keeps too much, which does no harm; so it need not be understood.
    """
    return frozenset(found[:_NAME_LENGTH].decode() for found in _NAME.findall(text))


def datasets_to_keep(manifests: Sequence[Thing], current: frozenset[str], published_datasets: int) -> list[Root]:
    """The published datasets that stay readable besides the current one, by when they were last used.

    Args:
        manifests: Manifests of all published datasets.
        current: Names in the published manifest, its own among them.
        published_datasets: How many stay, >= 1.
    """
    others = sorted((m for m in manifests if m.name not in current), key=lambda m: (m.age_days, m.place))
    count = f"{published_datasets} published datasets" if published_datasets > 1 else "published dataset"
    what = f"the last {count} besides the current one"
    return [Root(what=what, refers=frozenset({manifest.name})) for manifest in others[:published_datasets]]


def decide(roots: Iterable[Root], things: Sequence[Thing], minimum_age_days: float) -> Decision:
    """Tells what may be removed from what is in use.

    A thing stays where a root refers to it, directly or through other things, and where it was made or used less than
    `minimum_age_days` ago; such a thing keeps what it refers to.

    Args:
        roots: What is in use; the first one that refers to a thing is told as what keeps it.
        things: All that may be removed.
        minimum_age_days: In days, > 0.

    Returns:
        The decision, in the order of `things`.
    """
    by_name: dict[str, list[Thing]] = {}
    for thing in things:
        by_name.setdefault(thing.name, []).append(thing)
    kept: dict[str, str] = {}
    for root in roots:
        _reach(root.refers, root.what, by_name, kept)
    young = f"use in the last {minimum_age_days:g} days"
    for thing in things:
        if thing.age_days < minimum_age_days:
            kept.setdefault(thing.place, young)
            _reach(thing.refers, f"a {thing.kind} in {young}", by_name, kept)
    return Decision(
        removed=tuple(thing for thing in things if thing.place not in kept),
        kept=tuple(Kept(thing, kept[thing.place]) for thing in things if thing.place in kept),
    )


def _reach(names: Iterable[str], what: str, by_name: dict[str, list[Thing]], kept: dict[str, str]) -> None:
    """Marks what can be reached from some names and is not marked yet."""
    open_names = deque(names)
    while open_names:
        for thing in by_name.get(open_names.popleft(), ()):
            if thing.place not in kept:
                kept[thing.place] = what
                open_names.extend(thing.refers)


def in_words(decision: Decision, is_dry_run: bool) -> str:
    """The decision for a person: each thing that goes with its size and age, and what keeps how much of the rest.

    Args:
        decision: What was decided.
        is_dry_run: Whether nothing was removed yet.
    """
    lines = [f"{'Would remove' if is_dry_run else 'Removed'} {counted(decision.removed)}."]
    lines += [
        f"  {mebibytes(thing.size):>9} MiB  {thing.place} ({thing.kind}, unused for {thing.age_days:.0f} days)"
        for thing in decision.removed
    ]
    by_reason: dict[str, list[Thing]] = {}
    for thing, by in decision.kept:
        by_reason.setdefault(by, []).append(thing)
    lines += [f"Kept by {by}: {counted(things)}." for by, things in by_reason.items()]
    return "\n".join(lines)


def counted(things: Sequence[Thing]) -> str:
    """How many things, and how large they are together."""
    size = mebibytes(sum(thing.size for thing in things))
    return f"{len(things):,} {'thing' if len(things) == 1 else 'things'}, {size} MiB"


def mebibytes(size: int) -> str:
    """Bytes as MiB, with a digit more where there are few."""
    mib = size / 2**20
    return f"{mib:,.1f}" if mib >= 1 else f"{mib:.3f}"
