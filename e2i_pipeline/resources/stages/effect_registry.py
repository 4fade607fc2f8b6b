"""What becomes of an effect: its run, its version `e2i-{brand}-effect`, its card, and the decision whether it is used.

The rule stands in `domain/effect_promotion.py`; how a version moves between stages in `stage_moves.py`.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.causal import (
    EffectEvaluationRef,
    EffectFigure,
    EffectModelRef,
    OverlapRef,
    RefutationRef,
    TargetTrialProtocol,
)
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.domain.champions import PROMOTION, Move
from e2i_pipeline.domain.effect_promotion import decide_effect
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.stage_moves import DATASET_VERSION, MODEL_SHA256, StageMovesResource, told
from e2i_pipeline.serving.effect import EFFECT_FILE

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

    from e2i_pipeline.domain.causal.linear_effect import LinearEffect

MODEL_TYPE = "effect"
"""Part of the registered name."""

VERDICT = "e2i.effect"
"""Tag of a version: what the gate says of it, `passed` or `failed`."""

_FIGURES = ("value", "low", "high")


class EffectParts(NamedTuple):
    """What the stage made of one brand's effect."""

    protocol: TargetTrialProtocol
    overlap: OverlapRef
    model: EffectModelRef
    evaluation: EffectEvaluationRef
    refutation: RefutationRef

    @property
    def target(self) -> str:
        """What is estimated, as the metadata tables name it."""
        return f"effect of {self.protocol.treatment} on {self.protocol.outcome}"


class EffectRegistryResource(dg.ConfigurableResource):
    """Registers effects, and decides which is used.

    Attributes:
        mlflow: Keeps run, model and registry.
        metadata: Keeps the `ml_*` rows and the ledger.
        files: Keeps the files of the stage.
        moves: Moves versions, and knows which is used.
        dry_run: Whether a decision is only said.
    """

    mlflow: MlflowResource
    metadata: MetadataResource
    files: ModelFilesResource
    moves: StageMovesResource
    dry_run: bool

    def register(
        self,
        parts: EffectParts,
        scope: ExperimentScope,
        pictures: Mapping[str, bytes],
        run_id: str,
        now: datetime,
    ) -> tuple[ModelVersion, Path]:
        """Registers the effect with its verdict beside it, or finds the version that it has.

        Args:
            parts: What the stage made.
            scope: The brand's scope.
            pictures: PNG by name.
            run_id: Dagster run.
            now: When (UTC).

        Returns:
            The version, and the path of its card.

        Raises:
            ToolRejected: No estimator that can be stored without pickle was asked for.
        """
        protocol, model = parts.protocol, parts.model
        line = self._line(model)
        with self.mlflow.run(
            model.key,
            brand=protocol.brand,
            experiment=f"{protocol.brand}-{MODEL_TYPE}",
            run_name=f"{protocol.brand}-{MODEL_TYPE}-{model.key[:8]}",
            tags={"dagster_run_id": run_id, "e2i.agent": "model_trainer"},
        ) as run:
            self.mlflow.log_batch(run.run_id, params=_parameters(parts), metrics=_metrics(parts))
            self.mlflow.log_pictures(run.run_id, dict(pictures), MODEL_TYPE)
            files = {EFFECT_FILE: (Path(model.location) / EFFECT_FILE).read_bytes()}
            uri = self.mlflow.log_model(run.run_id, files, _example(line), _signature(line))
        version = self.mlflow.register_model(
            brand=protocol.brand,
            model_type=MODEL_TYPE,
            run_id=run.run_id,
            model_uri=uri,
            training_key=model.key,
            tags={
                VERDICT: "passed" if parts.refutation.is_passed else "failed",
                MODEL_SHA256: model.version,
                DATASET_VERSION: protocol.dataset_version,
            },
            description=" ".join(parts.refutation.reasons) or "No rule of the causal stage is broken.",
        )
        self._record(parts, scope, version, run.experiment_id, uri, run_id, now)
        return version, self._card(parts, version, pictures)

    def is_registered(self, version: ModelVersion) -> bool:
        """Whether the version is still in the registry and recorded; MLflow is not imported for its own file."""
        rows = self.metadata.rows("ml_model_registry", name=version.name, version=version.version)
        return bool(rows) and self.mlflow.has_version(version)

    def promote(
        self,
        parts: EffectParts,
        candidate: ModelVersion,
        verdict: Verdict | None,
        actor: str,
        run_id: str,
        now: datetime,
    ) -> PromotionRef:
        """Decides whether the effect is used from now on, and moves the stages accordingly.

        Raises:
            PromotionBlocked: The gate has not answered.
        """
        name, stage = candidate.name, self.moves.stage
        with self.moves.turn(name):
            standing = self.metadata.standing(name) if self.dry_run else self.moves.settle(name, now)
            champion = self.mlflow.get_latest_model_version(name, (stage,))
            if held := standing.held_back(candidate.version):
                return told(candidate, champion, False, held)
            decision = decide_effect(candidate, verdict, parts.evaluation.average, champion, self._average_of(champion))
            is_new = decision.is_promoted and (champion is None or champion.version != candidate.version)
            if is_new and self.dry_run:
                return told(candidate, champion, False, f"Dry run, nothing was changed. {decision.reason}")
            if is_new and verdict is not None:
                move = Move(
                    kind=PROMOTION,
                    name=name,
                    version=candidate.version,
                    from_stage=candidate.stage,
                    to_stage=stage,
                    is_champion=True,
                    champion_before=standing.version or "",
                    actor=actor,
                    is_person=False,
                    reason=decision.reason,
                    at=now,
                    facts=self.moves.facts(candidate, {verdict.gate: verdict.key.digest}, ()),
                )
                champion = self.moves.move(move, standing, run_id)
            return told(candidate, champion, decision.is_promoted, decision.reason)

    def still_stands(self, candidate: ModelVersion, promotion: PromotionRef) -> bool:
        """Whether a decision is still what ledger, record and registry show."""
        held = self.metadata.standing(candidate.name).held_back(candidate.version)
        if held and promotion.reason != held:
            return False
        return self.moves.is_settled(candidate.name, promotion.champion.version if promotion.champion else None)

    def _line(self, model: EffectModelRef) -> "LinearEffect":
        from e2i_pipeline.domain.causal.linear_effect import LinearEffect

        file = Path(model.location) / EFFECT_FILE
        if not file.is_file():
            raise ToolRejected(
                f"The effect of {model.brand} was estimated by {model.estimator} alone, which cannot be stored without "
                "pickle, so nothing was registered. Add linear_dml to causal.estimators."
            )
        return LinearEffect.model_validate_json(file.read_bytes())

    def _record(
        self,
        parts: EffectParts,
        scope: ExperimentScope,
        version: ModelVersion,
        experiment_id: str,
        uri: str,
        run_id: str,
        now: datetime,
    ) -> None:
        """The rows in `ml_experiments`, `ml_training_runs` and `ml_model_registry`."""
        protocol, model = parts.protocol, parts.model
        asked = scope.model_copy(update={"key": protocol.key, "target": parts.target})
        fitted = TrainedModelRef(
            key=model.key,
            brand=model.brand,
            algorithm=model.served,
            location=model.location,
            version=model.version,
            mlflow_run_id=version.mlflow_run_id,
            model_uri=uri,
            fit_rows=model.average.rows,
            seconds=model.seconds,
        )
        judged = {name: getattr(parts.evaluation.average, name) for name in _FIGURES}
        self.metadata.record_experiment(asked, experiment_id, run_id)
        self.metadata.record_training_run(
            fitted,
            run_id,
            status="completed",
            is_best=True,
            compute_type="cpu",
            parameters=_parameters(parts),
            metrics={"evaluation": judged},
            samples={"fit": model.average.rows, "evaluation": parts.evaluation.average.rows},
        )
        self.metadata.record_model(
            version,
            metrics={"evaluation": judged},
            fairness={},
            run_id=run_id,
            algorithm=model.served,
            registered_at=now,
        )

    def _card(self, parts: EffectParts, version: ModelVersion, pictures: Mapping[str, bytes]) -> Path:
        from e2i_pipeline.domain.effect_card import effect_card

        encoded = {name: base64.b64encode(png).decode() for name, png in pictures.items()}
        page = effect_card(f"{version.name} version {version.version}", *parts, encoded).encode()
        key = content_key(version.name, version.version, version.mlflow_run_id, parts.refutation.version)
        folder, _ = self.files.keep("effect_cards", version.brand, key, {"effect_card.html": page})
        self.mlflow.log_files(version.mlflow_run_id, {"effect_card.html": page}, "card")
        return folder / "effect_card.html"

    def _average_of(self, version: ModelVersion | None) -> EffectFigure | None:
        """The recorded average effect of a version."""
        if version is None:
            return None
        rows = self.metadata.rows("ml_model_registry", name=version.name, version=version.version)
        kept: dict[str, Any] = rows[0]["metrics"].get("evaluation", {}) if rows else {}
        if not set(_FIGURES) <= set(kept):
            return None
        return EffectFigure(name="average", **{name: kept[name] for name in _FIGURES}, rows=0)


def _parameters(parts: EffectParts) -> dict[str, Any]:
    protocol, model = parts.protocol, parts.model
    return {
        "estimator": model.estimator,
        "served": model.served,
        "treatment": protocol.treatment,
        "treatment_kind": protocol.treatment_kind,
        "outcome": protocol.outcome,
        "protocol": protocol.key,
        "confounders": len(protocol.confounders),
        "modifiers": json.dumps(list(protocol.modifiers)),
        "training_dataset": protocol.dataset_version,
    }


def _metrics(parts: EffectParts) -> dict[str, float]:
    figures = (parts.evaluation.average, *parts.evaluation.ranking)
    return {
        **{f"{one.name.lower()}_{end}": float(getattr(one, end)) for one in figures for end in _FIGURES},
        **{f"r_score_{name}": score for name, score in parts.model.scores.items()},
        "kept_share": parts.overlap.kept / parts.overlap.rows,
        "rules_broken": float(len(parts.refutation.reasons)),
    }


def _example(line: "LinearEffect") -> "pd.DataFrame":
    """A made-up row: the middle of what the effect was fitted on."""
    import pandas as pd

    middle = [(low + high) / 2 for low, high in zip(line.low, line.high, strict=True)]
    return pd.DataFrame([middle], columns=list(line.names), dtype="float64")


def _signature(line: "LinearEffect") -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    answers = {"effect": "double", "effect_low": "double", "effect_high": "double", "is_supported": "boolean"}
    return ModelSignature(
        Schema([ColSpec("double", name) for name in line.names]),
        Schema([ColSpec(kind, name) for name, kind in answers.items()]),
    )
