"""Who served when, and why, read off the ledger's entries about one registered model. Pure: entries in, answers out.

The rule on rollbacks: a version that was rolled back is not promoted again without a person. The pipeline leaves it
where it is, whatever its figures; a person who promotes it lifts that.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from e2i_pipeline.contracts.base import content_key

PROMOTION, STAGE_CHANGE, ROLLBACK, WITHDRAWAL = "promotion", "stage_change", "rollback", "withdrawal"
"""Kinds of the ledger's entries about a registered model."""

OUTSIDE = "outside the pipeline"
"""Actor of a change that was found in the registry: somebody made it there, and only the registry's host knows who."""


class Move(NamedTuple):
    """One decision on the stage of one version, as the ledger has it.

    Attributes:
        kind: `promotion`, `stage_change`, `rollback`, or `withdrawal` of a decision that the registry refused.
        name: Registered name.
        version: Version number.
        from_stage: Stage that the version had.
        to_stage: Stage that it gets.
        is_champion: Whether it serves from then on.
        champion_before: Version that served before; empty where none did.
        actor: Who decided: a person, or the pipeline and what launched its run.
        is_person: Whether a person decided.
        reason: Why.
        at: When (UTC).
        facts: What it rests on: `training_key`, `dataset_version`, `model_sha256`, `verdicts`, `overridden`; of a
            withdrawal `withdraws`, the number of the entry.
        entry: Number of the ledger's entry; 0 before it is recorded.
    """

    kind: str
    name: str
    version: str
    from_stage: str
    to_stage: str
    is_champion: bool
    champion_before: str
    actor: str
    is_person: bool
    reason: str
    at: datetime
    facts: Mapping[str, Any] = {}
    entry: int = 0

    @property
    def sentence(self) -> str:
        """The decision in one sentence: what, by whom, when, where it is recorded, and why."""
        what = {PROMOTION: "was promoted", ROLLBACK: "was put back"}.get(self.kind, "was moved")
        return (
            f"{self.name} version {self.version} {what} from {self.from_stage} to {self.to_stage} by {self.actor} on "
            f"{self.at:%Y-%m-%d %H:%M} UTC, ledger entry {self.entry}: {self.reason}"
        )


class Standing(NamedTuple):
    """What the ledger says of a registered model at one time.

    Attributes:
        champion: The decision by which the version that serves came to serve; None where none serves.
        served: Versions in the order in which they came to serve, without those that were rolled back; the last one
            is the champion, or the last that was.
        rolled_back: Per version that was rolled back and not promoted since, the decision that did it.
        last: The last decision that was not withdrawn; None where there is none.
    """

    champion: Move | None = None
    served: tuple[str, ...] = ()
    rolled_back: Mapping[str, Move] = {}
    last: Move | None = None

    @property
    def version(self) -> str | None:
        """The version that serves."""
        return self.champion.version if self.champion else None

    @property
    def entry(self) -> int:
        """Number of the last decision's entry; 0 where there is none."""
        return self.last.entry if self.last else 0

    def held_back(self, version: str) -> str:
        """Why the pipeline may not promote this version; empty where it may."""
        if version not in self.rolled_back:
            return ""
        move = self.rolled_back[version]
        return (
            f"Version {version} was rolled back by {move.actor} on {move.at:%Y-%m-%d %H:%M} UTC (ledger entry "
            f"{move.entry}: {move.reason}), and is not promoted again without a person: e2i models promote {move.name} "
            f"{version} --by <your e-mail address> --reason <why>."
        )


def model_key(name: str) -> str:
    """The digest under which the ledger files entries about a registered model."""
    return content_key("registered model", name)


def standing(moves: Sequence[Move], at: datetime | None = None) -> Standing:
    """What a registered model's decisions come to.

    Args:
        moves: All decisions on it, in the ledger's order.
        at: Only what was decided up to then counts; all of it by default. A decision that was withdrawn never counts.
    """
    champion: Move | None = None
    served: list[str] = []
    rolled_back: dict[str, Move] = {}
    last: Move | None = None
    for move in _carried_out(moves):
        if at is not None and move.at > at:
            continue
        last = move
        if move.is_champion:
            if move.kind == ROLLBACK and served:
                rolled_back[served.pop()] = move
            if not served or served[-1] != move.version:
                served.append(move.version)
            rolled_back.pop(move.version, None)
            champion = move
        elif champion is not None and champion.version == move.version:
            champion = None
    return Standing(champion, tuple(served), rolled_back, last)


def _carried_out(moves: Sequence[Move]) -> Iterable[Move]:
    withdrawn = {move.facts.get("withdraws") for move in moves if move.kind == WITHDRAWAL}
    return (move for move in moves if move.kind != WITHDRAWAL and move.entry not in withdrawn)
