"""What people do with registered versions: promote one, move one between stages, put the champion before back.

Each needs a person and a reason, and goes into the ledger. The stored verdicts hold back a promotion by hand as they
hold back the pipeline's own; how a move is made so that a kill leaves nothing half done stands in `stage_moves.py`.
"""

from datetime import datetime
from typing import NamedTuple, cast

import dagster as dg

from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.domain.champions import PROMOTION, ROLLBACK, STAGE_CHANGE, Move, Standing
from e2i_pipeline.domain.overrides import checked_actor, checked_reason
from e2i_pipeline.domain.promotion import require_verdicts
from e2i_pipeline.errors import ConfigurationError, PromotionBlocked, ToolRejected
from e2i_pipeline.resources.bentoml import BentoResource
from e2i_pipeline.resources.mlflow_registry import EDGES, PRODUCTION
from e2i_pipeline.resources.stages.causal import CausalResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.stage_moves import MODEL_SHA256, StageMovesResource
from e2i_pipeline.storage.references import ReferenceIOManager

_WHY = "why the version should move"


class Moved(NamedTuple):
    """A version after its move.

    Attributes:
        version: The version.
        decision: The ledger's decision on it.
        before: The version that served before; empty for none.
        is_effect: Whether it is an effect, which is loaded and not deployed.
    """

    version: ModelVersion
    decision: Move
    before: str
    is_effect: bool


class RegistryResource(dg.ConfigurableResource):
    """Registered versions in people's hands.

    Attributes:
        moves: Moves versions, and knows who serves.
        gate: Knows the verdicts.
        bentoml: Knows the Bentos.
        causal: Knows the verdicts on effects, which have no Bento.
        people: Who may, by e-mail address or name; empty lets anybody with an e-mail address.
        names: Registered name of the model per brand.
        effect_names: Registered name of the effect per brand.
        state_dir: The state folder.
    """

    moves: StageMovesResource
    gate: GateResource
    bentoml: BentoResource
    causal: CausalResource
    people: list[str]
    names: dict[str, str]
    effect_names: dict[str, str]
    state_dir: str

    def promote(
        self, name: str, number: str, by: str, reason: str, now: datetime, *, is_override: bool = False
    ) -> Moved:
        """Makes a version the champion, where its stored verdicts allow it.

        Args:
            name: Registered name.
            number: Version number.
            by: The person.
            reason: Why.
            now: When (UTC).
            is_override: Whether the person answers for unmet success criteria, or for an effect that was refused. A
                missing verdict, and a Bento that did not answer, cannot be overridden.

        Raises:
            OverrideRefused: No person or no reason is named.
            PromotionBlocked: A verdict holds it back.
            ToolRejected: There is no such version or edge, or it is the champion already.
        """
        person, why = self._identified(by, reason, "promotion")
        with self.moves.turn(name):
            standing = self.moves.settle(name, now)
            version = self.moves.mlflow.describe(name, number).version
            if standing.version == version.version:
                raise ToolRejected(f"{name} version {number} is the champion already: nothing was changed.")
            verdicts = self._verdicts(version)
            overridden = _overridden(version, verdicts[0], is_override, is_effect=self._is_effect(version))
            facts = self.moves.facts(version, {v.gate: v.key.digest for v in verdicts}, overridden)
            move = _decision(PROMOTION, version, self.moves.stage, standing, person, why, now, is_champion=True)
            return self._moved(move._replace(facts=facts), standing)

    def change_stage(self, name: str, number: str, stage: str, by: str, reason: str, now: datetime) -> Moved:
        """Moves a version to a stage along the allowed edges.

        Raises:
            OverrideRefused: No person or no reason is named.
            ToolRejected: There is no such version, stage or edge, or the stage is the one that promotion alone gives.
        """
        person, why = self._identified(by, reason, "stage change")
        if stage not in EDGES:
            raise ToolRejected(f"There is no stage {stage!r}. Stages: {', '.join(EDGES)}.")
        if stage in (self.moves.stage, PRODUCTION):
            raise ToolRejected(
                f"Who is to serve is held back by verdicts, so {stage} is not set by hand: e2i models promote {name} "
                f"{number} --by <your e-mail address> --reason <why> moves it to {self.moves.stage}."
            )
        with self.moves.turn(name):
            standing = self.moves.settle(name, now)
            version = self.moves.mlflow.describe(name, number).version
            if version.stage == stage:
                raise ToolRejected(f"{name} version {number} is in {stage} already: nothing was changed.")
            facts = self.moves.facts(version, {}, ())
            move = _decision(STAGE_CHANGE, version, stage, standing, person, why, now, is_champion=False)
            return self._moved(move._replace(facts=facts), standing)

    def rollback(self, brand: str, by: str, reason: str, now: datetime, *, is_effect: bool = False) -> Moved:
        """Puts the champion before back. Whoever was rolled back is not promoted again without a person.

        Args:
            brand: The brand.
            by: The person.
            reason: Why.
            now: When (UTC).
            is_effect: Whether the brand's effect is meant, and not its model.

        Raises:
            OverrideRefused: No person or no reason is named.
            ToolRejected: No other version served before, or its Bento is gone: nothing was changed.
        """
        person, why = self._identified(by, reason, "rollback")
        name = self.name(brand, is_effect=is_effect)
        with self.moves.turn(name):
            standing = self.moves.settle(name, now)
            if len(standing.served) < 2:
                served = f"only version {standing.served[0]} has" if standing.served else "none has"
                raise ToolRejected(
                    f"{name} has no earlier champion to go back to: of those not rolled back, {served} served. To take "
                    f"it out of service, archive it: e2i models stage {name} <version> archived."
                )
            version = self.moves.mlflow.describe(name, standing.served[-2]).version
            facts = self.moves.facts(version, self._digests(version), ())
            move = _decision(ROLLBACK, version, self.moves.stage, standing, person, why, now, is_champion=True)
            return self._moved(move._replace(facts=facts), standing)

    def champion_at(self, brand: str, at: datetime, *, is_effect: bool = False) -> Move | None:
        """The decision by which the brand's champion of a time came to serve; only the ledger is asked."""
        return self.moves.metadata.champion_at(self.name(brand, is_effect=is_effect), at)

    def name(self, brand: str, *, is_effect: bool = False) -> str:
        """The registered name of a brand's model, or of its effect.

        Raises:
            ConfigurationError: There is no such brand.
        """
        if brand not in self.names:
            raise ConfigurationError(f"There is no brand {brand!r}. Configured brands: {', '.join(self.names)}.")
        return (self.effect_names if is_effect else self.names)[brand]

    def _identified(self, by: str, reason: str, what: str) -> tuple[str, str]:
        return checked_actor(by, self.people, what), checked_reason(reason, what, _WHY)

    def _moved(self, move: Move, standing: Standing) -> Moved:
        version = self.moves.move(move, standing)
        last = self.moves.metadata.standing(move.name).last
        assert last is not None  # noqa: S101 - it was recorded just now
        return Moved(version, last, standing.version or "", self._is_effect(version))

    def _is_effect(self, version: ModelVersion) -> bool:
        return version.name == self.effect_names.get(version.brand)

    def _verdicts(self, version: ModelVersion) -> tuple[Verdict, ...]:
        """The stored verdicts on a version, as `promoted_model` or `promoted_effect` reads them; the first may fail."""
        if self._is_effect(version):
            return (self._effect_verdict(version),)
        scope = ReferenceIOManager(root=f"{self.state_dir}/references").current("experiment_scope", version.brand)
        evaluation = self.gate.verdict_of(self._trained(version), cast(ExperimentScope, scope))
        infrastructure = self.gate.infrastructure_verdict(self.bentoml.built_for(version))
        require_verdicts(version, evaluation, infrastructure)
        assert evaluation is not None and infrastructure is not None  # noqa: PT018, S101 - it has refused that
        return evaluation, infrastructure

    def _effect_verdict(self, version: ModelVersion) -> Verdict:
        found = self.causal.verdict_on(version.brand, self._tags(version).get(MODEL_SHA256, ""))
        if found is None:
            raise PromotionBlocked(
                f"{version.name} version {version.version} has no verdict of the causal gate under the rules of now. "
                f"Materialize refutation for {version.brand}."
            )
        return found

    def _tags(self, version: ModelVersion) -> dict[str, str]:
        return self.moves.mlflow.describe(version.name, version.version).tags

    def _trained(self, version: ModelVersion) -> TrainedModelRef:
        """The trained model behind a version, as far as a verdict on it asks."""
        return TrainedModelRef(
            key=version.key,
            brand=version.brand,
            algorithm="",
            location="",
            version=self._tags(version).get(MODEL_SHA256, ""),
            mlflow_run_id=version.mlflow_run_id,
            model_uri=version.model_uri,
            fit_rows=0,
            seconds=0.0,
        )

    def _digests(self, version: ModelVersion) -> dict[str, str]:
        """The verdict that a version may serve again on: of a model, whose Bento must be there, that on its Bento."""
        if self._is_effect(version):
            found = self.causal.verdict_on(version.brand, self._tags(version).get(MODEL_SHA256, ""))
        else:
            found = self.gate.infrastructure_verdict(self.bentoml.built_for(version))
        return {found.gate: found.key.digest} if found else {}


def _overridden(version: ModelVersion, verdict: Verdict, is_override: bool, *, is_effect: bool) -> tuple[str, ...]:
    """What a person lets pass; nothing where all criteria are met, or no rule of the causal stage is broken.

    Raises:
        PromotionBlocked: Criteria are unmet, or rules broken, and nobody answers for it.
    """
    if verdict.is_passed:
        return ()
    if not is_override:
        lacks = "was refused by the causal gate" if is_effect else "does not meet its success criteria"
        raise PromotionBlocked(
            f"{version.name} version {version.version} {lacks}, so it was not promoted: "
            f"{' '.join(verdict.reasons)} To promote it all the same, answer for it with --override: the ledger "
            "records you and your reason."
        )
    return verdict.reasons


def _decision(
    kind: str,
    version: ModelVersion,
    stage: str,
    standing: Standing,
    person: str,
    why: str,
    now: datetime,
    *,
    is_champion: bool,
) -> Move:
    return Move(
        kind=kind,
        name=version.name,
        version=version.version,
        from_stage=version.stage,
        to_stage=stage,
        is_champion=is_champion,
        champion_before=standing.version or "",
        actor=person,
        is_person=True,
        reason=why,
        at=now,
    )
