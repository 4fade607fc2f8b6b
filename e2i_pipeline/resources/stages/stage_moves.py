"""How a version changes its stage: one decision at a time per model, in the ledger first, then in the registry.

The order survives a kill. The ledger's entry is the decision; whoever looks next finds that registry or record do not
show it yet, and completes them. What somebody changed in the registry itself is found too, and goes into the ledger as
such. Who may decide what stands in `promotion.py` and `registry.py`; what the entries come to in `domain/champions.py`.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.domain.champions import OUTSIDE, STAGE_CHANGE, WITHDRAWAL, Move, Standing
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.mlflow_registry import ARCHIVED
from e2i_pipeline.resources.state_folder import StateFolder

MODEL_SHA256, DATASET_VERSION = "e2i.model_sha256", "e2i.training_dataset"
"""Tags of a version: the hash of its model's files, and the version of the rows that it was trained on."""

_log = logging.getLogger(__name__)


class StageMovesResource(dg.ConfigurableResource):
    """Moves versions between stages, and knows who serves.

    Attributes:
        mlflow: Keeps the registry.
        metadata: Keeps the ledger and `ml_model_registry`.
        state_dir: The state folder.
        stage: The stage whose holder serves.
    """

    mlflow: MlflowResource
    metadata: MetadataResource
    state_dir: str
    stage: str

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Keeps other processes of this machine from deciding on a model; those of others are found out by the ledger.

        Reading who serves, deciding and moving belong into one turn.
        """
        with StateFolder(self.state_dir).turn(f"stages-{name}"):
            yield

    def settle(self, name: str, now: datetime) -> Standing:
        """Who serves, after what a killed process left undone was done and what others changed was noted.

        Args:
            name: Registered name; the caller has its turn.
            now: When (UTC).
        """
        standing = self.metadata.standing(name)
        if standing.last is not None and not self._is_recorded(standing.last):
            try:
                self._carry_out(standing.last)
            except ToolRejected as err:
                _log.warning("a decision that was cut short cannot be carried out any more: %s", err)
                standing = self.metadata.standing(name)
        holder = self.mlflow.holder(name, self.stage)
        if holder != standing.version:
            self._note_change_outside(standing, name, holder, now)
            standing = self.metadata.standing(name)
        return standing

    def is_settled(self, name: str, champion: str | None) -> bool:
        """Whether ledger, record and registry all say that this version serves; MLflow is not imported for its file."""
        standing = self.metadata.standing(name)
        if standing.version != champion or (standing.last and not self._is_recorded(standing.last)):
            return False
        return self.mlflow.holder(name, self.stage) == champion

    def move(self, move: Move, seen: Standing, run_id: str = "") -> ModelVersion:
        """Moves a version: in the ledger, in the registry, in the record. The caller has the model's turn.

        Args:
            move: The decision; the stage that the version has is filled in.
            seen: Who served when it was made.
            run_id: Dagster run.

        Returns:
            The version as it is then.

        Raises:
            ToolRejected: There is no such version, or no edge to that stage: nothing was changed.
            ToolUnavailable: MLflow does not answer: what was decided is carried out by the next that looks; or somebody
                else has decided meanwhile.
        """
        version = self.mlflow.check_move(move.name, move.version, move.to_stage)
        self._require_record(version)
        if version.stage == move.to_stage and (seen.version == move.version) == move.is_champion:
            return version
        recorded = self.metadata.record_move(move._replace(from_stage=version.stage), seen.entry, run_id)
        return self._carry_out(recorded)

    def facts(self, version: ModelVersion, verdicts: Mapping[str, str], overridden: tuple[str, ...]) -> dict[str, Any]:
        """What a decision on a version rests on, for the ledger.

        Args:
            version: The version.
            verdicts: Digest of the verdict's key by gate.
            overridden: What a person let pass, one sentence each.
        """
        tags = self.mlflow.describe(version.name, version.version).tags
        return {
            "training_key": version.key,
            "dataset_version": tags.get(DATASET_VERSION, ""),
            "model_sha256": tags.get(MODEL_SHA256, ""),
            "verdicts": dict(verdicts),
            "overridden": list(overridden),
        }

    def _carry_out(self, move: Move) -> ModelVersion:
        try:
            version = self.mlflow.transition_model_stage(move.name, move.version, move.to_stage)
        except ToolRejected as err:
            self._withdraw(move, err)
            raise
        self.metadata.set_stage(move.name, move.version, move.to_stage, is_champion=move.is_champion, at=move.at)
        return version

    def _withdraw(self, move: Move, err: ToolRejected) -> None:
        """A decision that cannot be carried out is taken back by a further entry: the ledger forgets nothing."""
        why = f"The registry refused entry {move.entry}: {err}"
        facts = {"withdraws": move.entry}
        self.metadata.record_move(move._replace(kind=WITHDRAWAL, reason=why, facts=facts), seen=0)

    def _is_recorded(self, move: Move) -> bool:
        rows = self.metadata.rows("ml_model_registry", name=move.name, version=move.version)
        return all((row["stage"], row["is_champion"]) == (move.to_stage, move.is_champion) for row in rows)

    def _require_record(self, version: ModelVersion) -> None:
        if not self.metadata.rows("ml_model_registry", name=version.name, version=version.version):
            raise ToolRejected(
                f"{version.name} version {version.version} is in MLflow's registry and was not registered from this "
                "metadata database, so nothing was changed. Materialize registered_model for "
                f"{version.brand or 'its brand'} first."
            )

    def _note_change_outside(self, standing: Standing, name: str, holder: str | None, now: datetime) -> None:
        """Takes over who serves according to the registry, where somebody changed it there."""
        number = holder or standing.version or ""
        known = {v.version: v for v in self.mlflow.search_models(name) if v.name == name}
        found = known.get(number)
        move = Move(
            kind=STAGE_CHANGE,
            name=name,
            version=number,
            from_stage="unknown" if holder else self.stage,
            to_stage=self.stage if holder else (found.stage if found else ARCHIVED),
            is_champion=bool(holder),
            champion_before=standing.version or "",
            actor=OUTSIDE,
            is_person=False,
            reason=f"Found in MLflow's registry: {f'version {holder}' if holder else 'no version'} holds {self.stage}.",
            at=now,
            facts=self.facts(found, {}, ()) if found else {},
        )
        self.metadata.record_move(move, standing.entry)
        if self.metadata.rows("ml_model_registry", name=name, version=number):
            self.metadata.set_stage(name, number, move.to_stage, is_champion=move.is_champion, at=now)


def told(candidate: ModelVersion, champion: ModelVersion | None, is_promoted: bool, reason: str) -> PromotionRef:
    """A decision on a candidate as a reference.

    Args:
        candidate: The version that was decided on.
        champion: The version that serves after it; None where none does.
        is_promoted: Whether the candidate now serves.
        reason: Why, in words.
    """
    return PromotionRef(
        key=content_key(candidate, champion, is_promoted, reason),
        brand=candidate.brand,
        name=candidate.name,
        is_promoted=is_promoted,
        reason=reason,
        champion=champion,
    )
