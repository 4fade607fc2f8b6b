"""The ledger's head as a tag of the training's experiment: an anchor outside the metadata database and the folder.

It is set where MLflow is in use anyway; MLflow is never imported for it. How an anchor moves, and the file beside it,
stand in `ledger_anchor.py`.
"""

from typing import TYPE_CHECKING

from e2i_pipeline.resources.ledger_anchor import Holds, head_text, next_anchor, parse_head
from e2i_pipeline.resources.mlflow_connection import MlflowConnection

if TYPE_CHECKING:
    from e2i_pipeline.metadata.ledger import LedgerHead

LEDGER_HEAD = "e2i.ledger_head"
"""Tag of an experiment: `<sequence>:<hash>` of the ledger's head when it was set."""


class MlflowLedger(MlflowConnection):
    """Anchors of the ledger in experiments."""

    def anchor_ledger(self, run_id: str, head: "LedgerHead", holds: Holds) -> "LedgerHead | None":
        """Notes a head on the experiment of a run, unless a later one is noted there.

        Args:
            run_id: A run of the experiment.
            head: The ledger's head, committed.
            holds: Whether a noted head is still an entry of the ledger.

        Returns:
            What the tag says now; None where it was left alone, since the ledger no longer holds what it says.

        Raises:
            ToolUnavailable: MLflow does not answer.
            ToolRejected: It refuses, or the tag says no head.
        """
        with self._client(f"note the ledger's entry {head.sequence}") as client, self._locked("ledger"):
            experiment = client.get_experiment(client.get_run(run_id).info.experiment_id)
            place = experiment_place(experiment.name)
            text = experiment.tags.get(LEDGER_HEAD)
            noted = parse_head(text, place) if text else None
            if next_anchor(noted, head, holds):
                client.set_experiment_tag(experiment.experiment_id, LEDGER_HEAD, head_text(head))
                return head
            return noted if noted is None or holds(noted) else None


def experiment_place(name: str) -> str:
    """How an anchor on an experiment is called in messages."""
    return f"the tag {LEDGER_HEAD} of MLflow's experiment {name}"
