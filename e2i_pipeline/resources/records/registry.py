"""What the ledger keeps of a registered model: promotions, changes of stage, rollbacks; and who served when."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from e2i_pipeline.domain.champions import (
    PROMOTION,
    ROLLBACK,
    STAGE_CHANGE,
    WITHDRAWAL,
    Move,
    Standing,
    model_key,
    standing,
)
from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline.resources.records.base import Row
from e2i_pipeline.resources.records.ledger import LEDGER_TURN, LedgerRecords, append_entry, entries_about

KINDS = (PROMOTION, STAGE_CHANGE, ROLLBACK, WITHDRAWAL)

_IN_PAYLOAD = ("name", "version", "from_stage", "to_stage", "is_champion", "champion_before", "is_person")


class RegistryRecords(LedgerRecords):
    """The ledger's entries about registered models."""

    def record_move(self, move: Move, seen: int, run_id: str = "") -> Move:
        """Appends a decision, before the registry is changed: whoever is killed in between is completed by the next.

        Args:
            move: The decision.
            seen: Number of the last entry that it was made in the knowledge of (`Standing.entry`).
            run_id: Dagster run.

        Returns:
            The decision with the number of its entry.

        Raises:
            ToolUnavailable: Somebody else has decided on the same model since: decide anew.
        """
        payload = {"key": model_key(move.name), **{f: getattr(move, f) for f in _IN_PAYLOAD}, **move.facts}
        with self._database().write(turn=LEDGER_TURN) as connection:
            present = standing(_moves(entries_about(connection, model_key(move.name))))
            if present.entry != seen and move.kind != WITHDRAWAL:
                raise ToolUnavailable(
                    f"Another process has decided on {move.name} (ledger entry {present.entry}) while this one did. "
                    "Nothing was recorded or changed; the step decides anew when it is run again."
                )
            subject = f"registry/{move.name}"
            head = append_entry(connection, move.kind, subject, move.actor, move.reason, payload, move.at, run_id)
        self.anchor_ledger()
        return move._replace(entry=head.sequence)

    def moves(self, name: str) -> list[Move]:
        """All decisions on a registered model that the ledger bears out, in order."""
        with self._database().read() as connection:
            return _moves(entries_about(connection, model_key(name)))

    def standing(self, name: str, at: datetime | None = None) -> Standing:
        """What the ledger says of a registered model, now or at an earlier time; see `domain.champions`."""
        return standing(self.moves(name), at)

    def champion_at(self, name: str, at: datetime) -> Move | None:
        """The decision by which the version came to serve that served at a time; None where none served.

        Args:
            name: Registered name.
            at: When; must carry a time zone.

        Raises:
            ValueError: It carries none: the same clock time is another moment elsewhere.
        """
        if at.tzinfo is None:
            raise ValueError(f"{at} names no time zone; say which, e.g. {at.isoformat()}+00:00")
        return self.standing(name, at).champion


def _moves(entries: Iterable[Row]) -> list[Move]:
    return [_move(entry) for entry in entries if entry["kind"] in KINDS]


def _move(entry: Row) -> Move:
    payload: dict[str, Any] = dict(entry["payload"])
    said = {name: payload.pop(name) for name in _IN_PAYLOAD}
    payload.pop("key")
    return Move(
        kind=entry["kind"],
        actor=entry["actor"],
        reason=entry["reason"],
        at=entry["at"],
        facts=payload,
        entry=entry["sequence"],
        **said,
    )
